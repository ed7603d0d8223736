"""The checks of `doctor`: all that a long search needs, one by one."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from llmatic_daemon.adapters.llm.endpoint import Endpoint
from llmatic_daemon.adapters.prompts.prompt_files import read_prompts
from llmatic_daemon.adapters.storage.state_folder import database_path, holder
from llmatic_daemon.bootstrap import build, build_writers
from llmatic_daemon.commands import sandbox_test
from llmatic_daemon.commands.doctor_kernels import try_once
from llmatic_daemon.commands.prompts_try import single_proposal
from llmatic_daemon.commands.sandbox_test import ProbeResult
from llmatic_daemon.commands.verify import verify
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain import Candidate, Completion, Network, Prompt, PromptKind, Task, TooLong
from llmatic_daemon.domain.errors import LLMaticError, first_error
from llmatic_daemon.domain.sandbox import Layer
from llmatic_daemon.search.candidates.representation import representation_of
from llmatic_daemon.search.prompt_book import EMPTY_BOOK

#: Below the first the results of a night may not fit; below the second a start may fail.
_LITTLE_SPACE_BYTES = 5 << 30
_NO_SPACE_BYTES = 200 << 20


class CheckResult(StrEnum):
    """Result of a check."""

    OK = "ok"
    #: It works, with a limitation.
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One check with its result."""

    name: str
    verdict: CheckResult
    #: One line: the finding and the remedy.
    detail: str


CheckOutcome = tuple[CheckResult, str]


async def examine(settings: Settings) -> AsyncIterator[Check]:
    """Run all checks and yield each as it ends; none changes the search.

    Args:
        settings: Of the search to check.
    """
    for name, check in (
        ("state folder", _state),
        ("disk", _disk),
        ("prompts", _prompts),
        ("metrics port", _port),
    ):
        yield await _tried(name, check(settings))
    loaded: list[Task] = []
    yield await _tried("data and devices", _devices(settings, loaded))
    task = loaded[0] if loaded else _SOME_TASK
    yield await _tried("lifter", _lifter(settings, task))
    yield await _tried("sandbox", _sandbox(settings))
    yield await _tried("kernels", _kernels(settings))
    async for check_ in _writers(settings, task):
        yield check_


#: For checks that need a task if the data set cannot be loaded.
_SOME_TASK = Task(
    name="some", input_shape=(1, 8, 8), num_classes=10, num_train=0, num_validation=0, num_test=0
)


async def _tried(name: str, finding: Awaitable[CheckOutcome]) -> Check:
    try:
        verdict, detail = await finding
    except* LLMaticError as errors:
        verdict, detail = CheckResult.FAILED, str(first_error(errors))
    return Check(name=name, verdict=verdict, detail=detail)


# --- the machine ---------------------------------------------------------------------------------


async def _state(settings: Settings) -> CheckOutcome:
    folder = settings.state_dir
    running = holder(folder) if folder.exists() else None
    if running is not None:
        return CheckResult.WARNING, f"{folder}: in use by a daemon, {running}"
    if not database_path(folder).exists():
        place = _existing(folder)
        if not os.access(place, os.W_OK):
            return (
                CheckResult.FAILED,
                f"expected {place} to be writable; change its owner or the state folder",
            )
        return CheckResult.OK, f"{folder}: new"
    report = await asyncio.to_thread(verify, folder)
    if report.faults:
        return CheckResult.FAILED, f"{folder}: log and archives differ: {report.faults[0]}"
    return CheckResult.OK, f"{folder}: {report.num_evaluations} evaluations, verified"


def _existing(folder: Path) -> Path:
    """Return the folder itself, or its nearest existing parent."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())


async def _disk(settings: Settings) -> CheckOutcome:
    place = _existing(settings.state_dir)
    free = shutil.disk_usage(place).free
    detail = f"{place}: {free / 2**30:.1f} GiB free"
    if free < _NO_SPACE_BYTES:
        return CheckResult.FAILED, f"{detail}; free some space"
    few = free < _LITTLE_SPACE_BYTES
    return (CheckResult.WARNING, f"{detail}; this is low") if few else (CheckResult.OK, detail)


async def _prompts(settings: Settings) -> CheckOutcome:
    folder = build.prompt_path(settings)
    taken = EMPTY_BOOK.numbered(read_prompts(folder), settings.archives.prompt_axis_size)
    shipped = "" if settings.prompts.folder else " (shipped prompts)"
    return CheckResult.OK, f"{folder}{shipped}: {len(taken.all)} prompts"


async def _port(settings: Settings) -> CheckOutcome:
    port = settings.metrics.port
    if not port:
        return CheckResult.WARNING, "metrics.port is 0: no metrics and no API"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            why = error.strerror or error
            return CheckResult.FAILED, f"metrics.port: expected a free port on 127.0.0.1, got {port} ({why})"
    return CheckResult.OK, f"127.0.0.1:{port} is free"


# --- the children --------------------------------------------------------------------------------


async def _devices(settings: Settings, loaded: list[Task]) -> CheckOutcome:
    """Load the data set on the devices, and append its description to `loaded`."""
    async with build.build_adapters(settings).trainer as trainer:
        task = await trainer.task()
    loaded.append(task)
    shape = "x".join(map(str, task.input_shape))
    split = f"{task.num_train} + {task.num_validation} + {task.num_test} images of {shape}"
    devices = ", ".join(settings.training.devices)
    where = "a table" if settings.is_benchmark else f"devices {devices}"
    return CheckResult.OK, f"{task.name}: {split}, {task.num_classes} classes, loaded; {where}"


async def _lifter(settings: Settings, task: Task) -> CheckOutcome:
    language = representation_of(task)
    source = language.initial(task)
    candidate = Candidate(source=source, class_name=language.name_of(source), seed=1, task=task)
    async with build.build_adapters(settings).lifter as lifter:
        network = await lifter.lift(candidate)
    if not isinstance(network, Network):
        return CheckResult.FAILED, f"expected the initial network to lift, got: {network.detail}"
    return CheckResult.OK, f"the initial network lifts in {network.lift_s:.2f} s"


async def _sandbox(settings: Settings) -> CheckOutcome:
    rows = [row async for row in sandbox_test.try_out(settings)]
    broken = [row for row in rows if row.found is ProbeResult.BROKEN]
    if broken:
        first = broken[0]
        return CheckResult.FAILED, f"{first.layer} failed: {first.attempt}: {first.detail}"
    missing = {row.layer: row.detail for row in rows if row.found is ProbeResult.MISSING}
    held = f"{len(rows) - len(missing)} probes were blocked"
    lacks = "; ".join(f"{layer} ({why})" for layer, why in missing.items())
    # Without bubblewrap a candidate sees the file system; only the other layers protect it.
    grave = Layer.BUBBLEWRAP in missing or Layer.SECCOMP in missing
    return (
        CheckResult.WARNING if grave else CheckResult.OK,
        f"{held}; {f'lacks {lacks}' if lacks else 'lacks nothing'}",
    )


async def _kernels(settings: Settings) -> CheckOutcome:
    """Try the processor's kernels, if it or torch is new to this state folder."""
    if settings.is_benchmark:
        return CheckResult.OK, "not tried: a table needs no training"
    done = await try_once(settings.state_dir)
    where = f"{done.processor}, torch {done.torch}"
    if done.is_earlier:
        return CheckResult.OK, f"{where}: {done.num_cells} cells were right before"
    if not done.unexplained:
        return CheckResult.OK, f"{where}: {done.num_cells} cells are right, or the trainer avoids them"
    first = done.unexplained[0]
    remedy = f"set {first.remedy}" if first.remedy else "use another version of torch"
    return (
        CheckResult.FAILED,
        f"{where}: expected every kernel to be right, got {first.cell}: {first.fault.value}, "
        f"{first.detail}; {remedy}, and run doctor --kernels",
    )


# --- the LLM -------------------------------------------------------------------------------------


async def _writers(settings: Settings, task: Task) -> AsyncIterator[Check]:
    once = settings.writer.model_copy(update={"max_tries": 1, "breaker_failures": 1})
    made: list[Endpoint] = []

    async def make() -> CheckOutcome:
        made.extend(build_writers.endpoints(once))
        if not made:
            async with build_writers.writer(settings):
                pass  # a missing recording is an error
        return CheckResult.OK, f"{once.kind}, calls no LLM"

    check = await _tried("writer", make())
    if check.verdict is CheckResult.FAILED or not made:
        yield check
    for endpoint in made:
        yield await _tried(f"endpoint {endpoint.name}", _endpoint(endpoint, settings, task))
        await endpoint.close()


async def _endpoint(endpoint: Endpoint, settings: Settings, task: Task) -> CheckOutcome:
    served = await endpoint.describe()
    language = representation_of(task)
    text, initial = language.instruction, language.initial(task)
    prompt = Prompt(id="doctor", kind=PromptKind.MUTATION, text=text, version=1)
    proposal = single_proposal(prompt, 0.2, 1)
    answer = await endpoint.complete(language.ask(proposal, [initial], task))
    about = f"{served.model} {served.version[:12]}".strip()
    limits = f"{served.max_input_tokens or '?'} tokens in, {endpoint.state.limit} concurrent calls"
    if isinstance(answer, TooLong):
        return CheckResult.FAILED, f"{about}, {limits}: even the initial network is too long: {answer}"
    outcome = language.read(answer, proposal, (initial,), task)
    found = "a network" if isinstance(outcome, Candidate) else f"no network ({outcome.detail})"
    return CheckResult.OK, f"{about}, {limits}; {_rate(answer)}: {found}"


def _rate(answer: Completion) -> str:
    spent = max(answer.duration_s, 1e-9)
    return (
        f"one completion of {answer.num_tokens} tokens took {answer.duration_s:.2f} s "
        f"({answer.num_tokens / spent:.0f} tokens/s)"
    )
