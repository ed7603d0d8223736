"""The layers that are always there: what gets further, or is believed, where one of them is missing."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from llmatic_daemon.domain import Network, Outcome, Rejection
from llmatic_daemon.domain.sandbox import Layer, Sandbox
from llmatic_daemon.worker.graph.serialization import build
from llmatic_daemon.worker.graph.validation import GraphLimits, validate
from llmatic_daemon.worker.training import datasets, loop
from llmatic_daemon.worker.training.dataset_readers import Raw
from llmatic_daemon.worker.training.datasets import DataSet, Source
from llmatic_daemon.worker.training.recipes import Recipe
from tests.corpus.hostile import naive
from tests.corpus.hostile.corpus import TASK, Program, programs
from tests.corpus.hostile.harness import DENSE, SandboxHarness, candidate, reaches, time_of
from tests.corpus.hostile.slots import MAX_PARAMETERS, MEMORY_BYTES, SHORT_S, TimedLifter
from tests.support.paths import ROOT
from tests.support.samples import sampled

PROGRAMS = programs()
HERE = Path(__file__).parent
#: Above what chance gives to 200 images of 10 classes.
_BY_CHANCE = 0.3
RECIPE = Recipe(epochs=2, batch_size=50, learning_rate=0.01)


def _stopped_by(what: str) -> list[str]:
    return [name for name, program in PROGRAMS.items() if what in program.always and not program.unproven]


# --- triage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sampled(_stopped_by("triage"), ["nested_expression"]))
def test_program_that_triage_stops_gets_further_without_it(name: str, harness: SandboxHarness):
    program = PROGRAMS[name]

    stopped = harness.run(program, frozenset())
    further = harness.run(program, frozenset(), triage=False)

    assert stopped.outcome in (Outcome.NOT_CODE, Outcome.NO_CLASS)
    assert reaches(program, further), further


# --- supervisor ------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_programs_that_the_supervisor_ends_would_still_run_without_it(harness: SandboxHarness):
    names = ("loop_in_c_deaf_to_signals", "sleep_in_forward")

    still_running = [harness.outlasts(PROGRAMS[name], SHORT_S + 1) for name in names]

    assert still_running == [True, True]


# --- parser ----------------------------------------------------------------------------------------


@pytest.mark.exhaustive
@pytest.mark.parametrize("module", ["believing_parser", "believing_validator"])
def test_what_parser_and_validator_stop_is_believed_by_one_that_believes(
    module: str, harness: SandboxHarness, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    names = _BELIEVED[module]

    believed = asyncio.run(_lifted_by(module, [PROGRAMS[name] for name in names], harness))

    assert believed == dict.fromkeys(names, True)


_BELIEVED = {
    "believing_parser": ["printed_result", "silent_exit", "forged_result", "two_results"],
    "believing_validator": [
        "constant_in_forward",
        "graph_with_another_operation",
        "graph_with_infinity",
        "infinite_weights",
        "nan_weights",
        "nested_graph",
        "no_gradient",
        "noisy_graph",
        "nothing_to_train",
        "patched_validator",
        "weights_of_another_network",
    ],
}


async def _lifted_by(module: str, asked: list[Program], harness: SandboxHarness) -> dict[str, bool]:
    lifter = TimedLifter(
        timeout_s=30.0,
        memory_bytes=MEMORY_BYTES,
        limits={"max_parameters": MAX_PARAMETERS},
        sandbox=Sandbox(without=frozenset({Layer.BUBBLEWRAP})),  # in whose view no test is
        module=f"tests.corpus.hostile.{module}",
    )
    believed = {}
    async with lifter:
        for program in asked:
            read = program.triaged(harness.environment.victim)
            assert not isinstance(read, Rejection), read
            lifter.time_s = time_of(program)
            believed[program.name] = isinstance(await lifter.lift(read), Network)
    return believed


# --- trainer ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scores(request: pytest.FixtureRequest) -> dict[str, object]:
    """What a trainer with one interpreter believes of each cheat that is tested, and of an honest network."""
    tested = [getattr(item, "callspec", None) for item in request.session.items]
    names = {each.params.get("name") for each in tested if each}
    asked = [[p.name, p.source({})] for p in PROGRAMS.values() if p.forges and p.name in names]
    said = subprocess.run(
        [sys.executable, str(HERE / "naive.py")],
        input=json.dumps([*asked, ["honest", DENSE]]),
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    ).stdout
    found = json.loads(said)
    assert isinstance(found, dict)
    return found


def _is_forged(score: object) -> bool:
    assert isinstance(score, list), score
    accuracy, loss = score
    return bool(accuracy > 0.9 or loss < 0.1)


def test_honest_network_learns_nothing_of_noise(scores: dict[str, object]):
    assert not _is_forged(scores["honest"])


@pytest.mark.parametrize(
    "name", sampled((name for name, p in PROGRAMS.items() if p.forges), ["batch_index", "patched_argmax"])
)
def test_cheat_forges_its_score_in_one_interpreter_and_not_in_two(
    name: str, scores: dict[str, object], harness: SandboxHarness
):
    program = PROGRAMS[name]

    ended = harness.run(program, frozenset())

    assert _is_forged(scores[name]), "it is no cheat"
    if ended.network is None:
        assert ended.outcome in program.ends
        return
    result = _trained(ended.network)
    forged = result.test_accuracy > _BY_CHANCE or result.test_loss < 1.0
    harness.seen[program.kind, "forged"] += forged
    assert not forged, result
    if program.twin:
        assert result == _trained(harness.honest(DENSE))


@pytest.mark.parametrize(
    "name",
    sampled(
        ["patched_seeds", "torch_overwrite", "memory_of_its_own", "fork_bomb", "loop_in_init"],
        ["torch_overwrite"],
    ),
)
def test_honest_network_scores_as_in_a_fresh_slot_after_a_hostile_one(name: str, harness: SandboxHarness):
    harness.run(PROGRAMS[name], frozenset())

    network = harness.slots.without().lift(candidate(DENSE)).network

    assert network is not None
    assert _trained(network) == _trained(harness.honest(DENSE))


def test_weights_that_overflow_end_in_the_trainer(harness: SandboxHarness):
    network = harness.run(PROGRAMS["overflowing_weights"], frozenset()).network

    assert network is not None
    with pytest.raises(loop.TrainingFailed) as raised:
        _trained(network)
    assert raised.value.cause is Outcome.NAN


def _trained(network: Network) -> loop.TrainingResult:
    """Validate and train as the trainer does."""
    valid = validate(network.graph, network.weights, GraphLimits(), TASK.input_shape, TASK.num_classes)
    run = loop.TrainingRun(build(valid.graph, valid.weights), _noise(), RECIPE, seed=1, timeout_s=60)
    list(run.epochs())
    return run.result()


def _noise() -> DataSet:
    """Return what the cheats were measured by, split and mixed as every data set is."""
    (images, labels), test = naive.data(0), naive.data(1)
    raw = Raw(
        num_classes=naive.NUM_CLASSES,
        images=_last(images),
        labels=labels.numpy(),
        test=(_last(test[0]), test[1].numpy()),
    )
    source = Source(name="noise", validation_ratio=0.0)
    return datasets._split(raw, source).resident(torch.device("cpu"), torch.float32)


def _last(images: torch.Tensor) -> np.ndarray:
    return images.permute(0, 2, 3, 1).contiguous().numpy()
