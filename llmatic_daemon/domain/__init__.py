"""The nouns of the search, frozen, in the order of a candidate's life.

Task, Prompt -> Job -> Request -> Proposal -> Completion -> Candidate -> Network -> Report -> Placement.
The log of a search holds its placements, and between them the editions of its prompts and its audits.
Units end names (`_s`, `_bytes`, `_ratio`); counts are `num_...`.
"""

from llmatic_daemon.domain.audits import Audit, Figures, Verdict
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
from llmatic_daemon.domain.prompts import AFRESH, ANYHOW, PLACEHOLDERS, Edition, Prompt, PromptKind, PromptSet
from llmatic_daemon.domain.states import Identity, Milestone, Snapshot, Tessellation
from llmatic_daemon.domain.task import Task, digest
from llmatic_daemon.domain.trainings import (
    Epoch,
    Failure,
    Look,
    PlacePhase,
    Progress,
    Report,
    RestartReason,
    Stopped,
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

__all__ = [
    "AFRESH",
    "ANYHOW",
    "OBJECTIVE_UNITS",
    "PLACEHOLDERS",
    "AddStatus",
    "Arm",
    "ArmFigures",
    "ArmTally",
    "Artefacts",
    "Audit",
    "Call",
    "CallOutcome",
    "Candidate",
    "CommitResult",
    "Comparison",
    "Completion",
    "Difference",
    "Duplicate",
    "Durations",
    "Edition",
    "Elite",
    "EndpointState",
    "Epoch",
    "Failure",
    "Figures",
    "Finding",
    "Identity",
    "Job",
    "Look",
    "Measures",
    "Milestone",
    "Network",
    "Operator",
    "Outcome",
    "PlacePhase",
    "Placement",
    "Progress",
    "Prompt",
    "PromptElite",
    "PromptKind",
    "PromptOffer",
    "PromptSet",
    "Proposal",
    "Rejection",
    "Report",
    "Request",
    "RestartReason",
    "Snapshot",
    "Stopped",
    "Task",
    "Tessellation",
    "TooLong",
    "Training",
    "Trial",
    "Uplift",
    "Verdict",
    "digest",
]
