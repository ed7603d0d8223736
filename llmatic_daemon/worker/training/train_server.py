"""The trainer process: warm, trusted, one for each device worker; it answers frames.

The first frame in is {"device", "threads", "memory_bytes", "data": {...}, "recipe": {"preset", ...},
"limits": {...}, "initial_weights", "timeout_s"}. The answer is {"ready": {...}}, or {"error": {"kind", "detail"}}
before the process ends.
Each request is {"train": {"seed", "epochs", "keep_weights", "measures", "order", "rung_ratio"}} with the blobs
graph and weights. The answers are an {"epoch": {...}} at the start and after each epoch, and last
{"report": {...}}, with the weights as its blob if they are kept, or {"failure": {"cause", "detail", "cost"}}.
After an epoch with "at_rung" the process waits for {"should_continue": true or false}; false ends the training
with {"stopped": {...}}.
"""

import gc
import os
import queue
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, BinaryIO, TypeVar

import safetensors.torch
import torch

from llmatic_daemon.domain import Epoch, Outcome, frames
from llmatic_daemon.domain.sandbox import forbid_tracing
from llmatic_daemon.worker.graph.serialization import build
from llmatic_daemon.worker.graph.validation import GraphLimits, InvalidNetwork, Validated, validate
from llmatic_daemon.worker.pipes import own_pipes
from llmatic_daemon.worker.training import datasets, loop, memory, recipes
from llmatic_daemon.worker.training import initial_weights as initial

T = TypeVar("T")


class SetupError(Exception):
    """The configuration is invalid; the text is one line for a person."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """Everything that all networks of this process share."""

    device: torch.device
    #: Resident on the device.
    data: datasets.DataSet
    recipe: recipes.Recipe
    limits: GraphLimits
    #: keep or reseed.
    initial_weights: str
    timeout_s: float
    #: Memory limit of the worker; 0: none.
    memory_bytes: int = 0


def set_up(configuration: Mapping[str, Any]) -> Setup:
    """Prepare the process and load the data set.

    Raises:
        SetupError, DataError, RecipeError: a person must change the configuration.
    """
    device = _device(configuration["device"])
    torch.set_num_threads(configuration.get("threads", 1))
    if memory_bytes := configuration.get("memory_bytes"):
        _limit_memory(device, memory_bytes)
    found = datasets.load(_build(datasets.Source, configuration["data"], "data set"))
    overrides = dict(configuration.get("recipe", {}))
    preset = overrides.pop("preset", "fast")
    recipe = recipes.choose(preset, overrides, device, found.input_shape[0])
    torch.backends.cudnn.benchmark = True
    return Setup(
        device=device,
        data=found.resident(device, loop.image_dtype(recipe)),
        recipe=recipe,
        limits=_build(GraphLimits, configuration.get("limits", {}), "limit"),
        initial_weights=configuration.get("initial_weights", "keep"),
        timeout_s=configuration["timeout_s"],
        memory_bytes=configuration.get("memory_bytes") or 0,
    )


def _device(name: str) -> torch.device:
    try:
        return torch.empty(1, device=name).device
    except (RuntimeError, AssertionError) as error:  # no such device; torch was built without it
        reason = str(error).strip().splitlines()[0]
        raise SetupError(f"device {name!r} must be usable here, and is not: {reason}") from error


def _limit_memory(device: torch.device, memory_bytes: int) -> None:
    """Limit memory, so that too large a network fails before the kernel's OOM killer acts."""
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, memory_bytes / total), device)
    else:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


def _build(kind: type[T], values: Mapping[str, Any], what: str) -> T:
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise SetupError(f"unknown {what} setting {name!r}; known are {', '.join(known)}")
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise SetupError(f"the {what} settings cannot be used: {error}") from error


def ready(setup: Setup) -> dict[str, Any]:
    """Return the fields of `domain.Task` for the data set."""
    return {
        "name": setup.data.name,
        "input_shape": list(setup.data.input_shape),
        "num_classes": setup.data.num_classes,
        "num_train": len(setup.data.train),
        "num_validation": len(setup.data.validation),
        "num_test": len(setup.data.test),
    }


# --- one network ----------------------------------------------------------------------------------


def answer(
    setup: Setup,
    request: Mapping[str, Any],
    graph: bytes,
    weights: bytes,
    should_continue: Callable[[], bool],
) -> Iterator[tuple[dict[str, Any], list[bytes]]]:
    """Train one network; yield its frames: the last is a report, a failure, or "stopped".

    Args:
        setup: Shared by all networks.
        request: See the docstring of this module.
        graph: Canonical JSON.
        weights: Safetensors.
        should_continue: Waits for the answer to the last frame.
    """
    recipe = setup.recipe
    if request["epochs"] is not None:
        recipe = replace(recipe, epochs=request["epochs"])
    yield _epoch(None, recipe), []
    num_done = 0
    try:
        for header, blobs in _train(setup, recipe, request, graph, weights, should_continue):
            num_done = header["epoch"]["number"] if "epoch" in header else num_done
            yield header, blobs
    except (InvalidNetwork, loop.TrainingFailed) as error:
        cost = num_done / max(1, recipe.epochs)
        failure = {"cause": error.cause.value, "detail": error.detail, "cost": cost}
    else:
        return
    yield {"failure": failure}, []  # outside of the handler: the exception keeps the network alive


def _train(
    setup: Setup,
    recipe: recipes.Recipe,
    request: Mapping[str, Any],
    graph: bytes,
    weights: bytes,
    should_continue: Callable[[], bool],
) -> Iterator[tuple[dict[str, Any], list[bytes]]]:
    started = time.monotonic()
    # The trainer trusts neither the lifter nor the wire.
    shape, num_classes = setup.data.input_shape, setup.data.num_classes
    valid = validate(graph, weights, setup.limits, shape, num_classes, request["order"])
    if request["measures"] != asdict(valid.measures):
        raise InvalidNetwork(f"its measures are {valid.measures}, not {request['measures']}")
    _check_memory(setup, recipe, valid)
    weights_used = initial.begin(valid, request["seed"], reseed=setup.initial_weights == "reseed")
    with loop.failures_named():
        network = build(valid.graph, weights_used)
        network.to(setup.device).to(memory_format=torch.channels_last)
    run = loop.TrainingRun(
        network,
        setup.data,
        recipe,
        seed=request["seed"],
        timeout_s=setup.timeout_s,
        activation_bytes=valid.activation_bytes,
    )
    rung = _rung_epoch(request["rung_ratio"], recipe.epochs)
    rung_accuracy = None
    for epoch in run.epochs():
        header = _epoch(epoch, recipe)
        if epoch.number != rung:
            yield header, []
            continue
        rung_accuracy = epoch.accuracy
        yield {**header, "at_rung": True}, []
        if not should_continue():
            yield {"stopped": {"rung_accuracy": rung_accuracy, "cost": epoch.number / recipe.epochs}}, []
            return
    result = run.result()
    report = {
        "objective": result.objective,
        "test_accuracy": result.test_accuracy,
        "test_loss": result.test_loss,
        "curve": [[e.number, e.train_loss, e.accuracy] for e in result.curve],
        "train_s": time.monotonic() - started,
        "rung_accuracy": rung_accuracy,
    }
    if not request["keep_weights"]:
        yield {"report": report}, []
        return
    yield {"report": {**report, "normalisation": setup.data.normalisation}}, [_saved(network)]


def _rung_epoch(ratio: float | None, num_epochs: int) -> int | None:
    """Return the epoch of the rung; None if there is none, or if it would be the last epoch."""
    if ratio is None:
        return None
    number = max(1, round(ratio * num_epochs))
    return number if number < num_epochs else None


def _check_memory(setup: Setup, recipe: recipes.Recipe, valid: Validated) -> None:
    """Reject a network that would not fit, before it reaches the device."""
    if not setup.memory_bytes:
        return
    at_once = loop.at_once(setup.device.type, recipe, valid.activation_bytes)
    needed = memory.needed_bytes(valid, recipe, at_once)
    free = memory.free_bytes(setup.device, setup.memory_bytes)
    if needed > free:
        raise loop.TrainingFailed(
            Outcome.OOM,
            f"training it in batches of {recipe.batch_size} would take about {needed >> 20} MiB, "
            f"and this device has {free >> 20} of {setup.memory_bytes >> 20} MiB left",
        )


def _epoch(epoch: Epoch | None, recipe: recipes.Recipe) -> dict[str, Any]:
    return {
        "epoch": {
            "number": epoch.number if epoch else 0,
            "num_epochs": recipe.epochs,
            "train_loss": epoch.train_loss if epoch else None,
            "accuracy": epoch.accuracy if epoch else None,
        }
    }


def _saved(network: torch.nn.Module) -> bytes:
    state = network.state_dict()
    return safetensors.torch.save({name: state[name].cpu().contiguous() for name in state})


# --- the process ----------------------------------------------------------------------------------


def _requests(file: BinaryIO) -> Iterator[frames.Frame]:
    """Read frames in a thread, so that this process ends at once with the daemon."""
    waiting: queue.SimpleQueue[frames.Frame] = queue.SimpleQueue()

    def read() -> None:
        try:
            while True:
                waiting.put(frames.read_file(file))
        except (EOFError, OSError):
            os._exit(0)  # no daemon is left to read the result
        except frames.FrameError as error:
            print(f"the daemon sent a bad frame: {error}", file=sys.stderr, flush=True)
            os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield waiting.get()


def _warm_up() -> None:
    """Do once what would slow the first network, and a part of every network."""
    # The first optimizer imports torch._dynamo and sympy: 1.4 s.
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    # A collection then scans one network instead of all of torch: 0.3 ms instead of 140.
    gc.collect()
    gc.freeze()


def main() -> None:
    """Answer requests until the daemon closes the pipe."""
    forbid_tracing()  # labels of the test split are in this process's memory
    incoming, outgoing = own_pipes()

    def send(header: dict[str, Any], *blobs: bytes) -> None:
        outgoing.write(frames.encode(header, *blobs))
        outgoing.flush()

    requests = _requests(incoming)
    configuration, _ = next(requests)
    try:
        setup = set_up(configuration)
    except (SetupError, datasets.DataError, recipes.RecipeError) as error:
        send({"error": {"kind": "configuration", "detail": str(error)}})
        sys.exit(78)

    def should_continue() -> bool:
        return bool(next(requests)[0]["should_continue"])

    _warm_up()
    send({"ready": ready(setup)})
    for header, (graph, weights) in requests:
        for frame, blobs in answer(setup, header["train"], graph, weights, should_continue):
            send(frame, *blobs)
        loop.free_memory()


if __name__ == "__main__":
    main()
