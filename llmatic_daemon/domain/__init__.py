"""The nouns of the search, frozen, in the order of a candidate's life.

Task, Prompt -> Job -> Proposal -> Request -> Completion -> Candidate -> Network -> Report -> Placement.
The log of a search holds its placements, and between them the editions of its prompts, its audits and the
deaths of trainers.
Units end names (`_s`, `_bytes`, `_ratio`); counts are `num_...`.
"""

from llmatic_daemon.domain.audits import Accuracies, Audit, Contender, Verdict
from llmatic_daemon.domain.completions import Call, CallOutcome, Completion, EndpointState, Request, TooLong
from llmatic_daemon.domain.jobs import Job, Operator, Proposal
from llmatic_daemon.domain.networks import Candidate, Duplicate, Measures, Network, Outcome, Rejection
from llmatic_daemon.domain.placements import (
    AddStatus,
    Arm,
    Artefacts,
    CommitResult,
    Durations,
    Elite,
    Placement,
    PromptElite,
    PromptOffer,
    Trial,
)
from llmatic_daemon.domain.prompts import (
    CHANGE_PROMPT_ID,
    PLACEHOLDERS,
    SAMPLE_PROMPT_ID,
    Edition,
    Prompt,
    PromptKind,
    PromptSet,
)
from llmatic_daemon.domain.states import Checkpoint, Identity, SavedSearch, SearchStatus, Tessellation
from llmatic_daemon.domain.task import Task, digest
from llmatic_daemon.domain.trainer_deaths import TrainerDeath
from llmatic_daemon.domain.trainings import (
    DevicePhase,
    Epoch,
    Failure,
    Progress,
    Report,
    RestartReason,
    Rung,
    StoppedEarly,
    Training,
)
from llmatic_daemon.domain.uplift import (
    OBJECTIVE_UNITS,
    ArmFigures,
    ArmTally,
    Comparison,
    Difference,
    Finding,
    Uplift,
)
