"""Export a candidate's source to a graph, inside its process: import, build, trace, translate, compare.

This code runs in one process with untrusted code, so nothing that it returns is trusted: `validate` decides.
An exception of the candidate's code becomes one line for a person.
"""

import linecache
import sys
import types
import warnings
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.nn.parameter import UninitializedParameter

from llmatic_daemon.worker.graph.avoided_kernels import AvoidingMode, may_be_run_by
from llmatic_daemon.worker.graph.nodes import ordered
from llmatic_daemon.worker.graph.serialization import build, dumps, weight_name
from llmatic_daemon.worker.lifting.canonicalize import TranslationError
from llmatic_daemon.worker.lifting.translate import Translation, Translator

#: Name of the candidate's source in tracebacks.
FILE_NAME = "<candidate>"
#: Number of images that the program is traced with; the graph works for any number.
_BATCH = 4
#: Largest difference between the graph and the module, relative to the largest number.
_TOLERANCE = 1e-3

#: Replacements for messages of torch.export that fill pages.
_SHORT_MESSAGES = {
    "GuardOnDataDependentSymNode": "forward must not branch on the values of a tensor",
    "UserError": "forward must work for any batch size, and not depend on the values of a tensor",
}


class ExportError(Exception):
    """The candidate cannot be lifted; one line for a person."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedNetwork:
    """A graph and its weights by name."""

    graph: bytes
    weights: dict[str, torch.Tensor]
    #: Order in which the source computes the operations; empty: as they are numbered.
    order: tuple[int, ...]


def export(source: str, class_name: str, input_shape: tuple[int, ...], num_classes: int) -> ExportedNetwork:
    """Build a network from source and export it as a graph; seed the generators first.

    Args:
        source: Untrusted code.
        class_name: Class of the network.
        input_shape: (channels, height, width).
        num_classes: Width of the output.

    Raises:
        ExportError: the source has no network that can be lifted.
        Exception: whatever the candidate's code raises.
    """
    network = _instantiate(_load(source), class_name)
    images = torch.randn(_BATCH, *input_shape)
    _try_forward(network, images, num_classes)
    program = _trace(network, images)
    try:
        translation = Translator(program).translate()
    except TranslationError as error:
        raise ExportError(str(error)) from error
    exported = ExportedNetwork(
        graph=dumps(translation.graph),
        weights={
            weight_name(number): tensor.detach().clone(memory_format=torch.contiguous_format)
            for number, tensor in enumerate(translation.tensors)
        },
        order=translation.order,
    )
    # A kernel that kills this process would be taken for a fault of the candidate. The mode costs time.
    with AvoidingMode() if may_be_run_by(translation.graph) else nullcontext():
        _compare(network, translation, exported, images)
    return exported


def _load(source: str) -> types.ModuleType:
    """Execute the source as a module; its lines stay readable for tracebacks."""
    module = types.ModuleType("candidate")
    module.__file__ = FILE_NAME
    sys.modules["candidate"] = module
    linecache.cache[FILE_NAME] = (len(source), None, source.splitlines(keepends=True), FILE_NAME)
    exec(compile(source, FILE_NAME, "exec"), module.__dict__)
    return module


def _instantiate(module: types.ModuleType, class_name: str) -> nn.Module:
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ExportError(f"{class_name!r} must be a class that inherits from nn.Module")
    return found().to(device="cpu").train()


def _try_forward(network: nn.Module, images: torch.Tensor, num_classes: int) -> None:
    """Run forward once: lazy layers get their shapes, and a wrong output gets a clear message."""
    network.eval()  # so that no running statistics change
    with torch.no_grad():
        output = network(images)
    network.train()
    if not isinstance(output, torch.Tensor):
        raise ExportError(f"forward must return one tensor, got {type(output).__name__}")
    expected = (len(images), num_classes)
    if tuple(output.shape) != expected:
        raise ExportError(
            f"forward must return (batch, {num_classes}), "
            f"got {tuple(output.shape)} for a batch of {len(images)}"
        )
    if any(isinstance(each, UninitializedParameter) for each in network.parameters()):
        raise ExportError("a lazy layer is never used")


def _trace(network: nn.Module, images: torch.Tensor) -> ExportedProgram:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about weights that a recurrent layer keeps twice
        return torch.export.export(
            network, (images,), dynamic_shapes=({0: Dim("batch", min=2)},), strict=False
        )


# --- comparison of the graph with the module -------------------------------------------------------


def _compare(
    network: nn.Module, translation: Translation, exported: ExportedNetwork, images: torch.Tensor
) -> None:
    """Compare one forward and backward pass of the graph with the module.

    First in training mode with the same seed. If the graph leaves out a dropout without effect, the other
    dropouts draw other numbers; the two must still agree in evaluation.
    """
    rebuilt = build(ordered(translation.graph, translation.order), exported.weights)
    theirs = dict(network.named_parameters(remove_duplicate=False))
    pairs = {
        weight_name(number): theirs[name]
        for number, name in enumerate(translation.names)
        if translation.graph.weights[number].trainable
    }
    if not any(each.requires_grad for each in pairs.values()):
        raise ExportError("no parameter that is used can be trained")
    mistake = _difference(network, rebuilt, pairs, images)
    if mistake is not None and _draws_often(translation):
        mistake = _difference(network.eval(), rebuilt.eval(), pairs, images)
    if mistake is not None:
        raise ExportError(f"the lifted graph does not compute what the module does: {mistake}")


def _draws_often(translation: Translation) -> bool:
    random = ("dropout", "attention", "lstm", "gru", "rnn")
    return any(any(word in node.op for word in random) for node in translation.graph.nodes)


def _difference(
    network: nn.Module, rebuilt: nn.Module, pairs: dict[str, nn.Parameter], images: torch.Tensor
) -> str | None:
    ours = _outputs_and_gradients(rebuilt, [rebuilt.get_parameter(n) for n in pairs], images)
    theirs = _outputs_and_gradients(network, list(pairs.values()), images)
    for name, mine, other in zip(("output", *pairs), ours, theirs, strict=True):
        if not _close(mine, other):
            return "another output" if name == "output" else "another gradient"
    return None


def _outputs_and_gradients(
    module: nn.Module, parameters: list[nn.Parameter], images: torch.Tensor
) -> list[torch.Tensor]:
    torch.manual_seed(0)
    output = module(images)
    weights = torch.linspace(-1, 1, output.numel()).reshape(output.shape)
    used = [each for each in parameters if each.requires_grad]
    gradients = torch.autograd.grad((output * weights).sum(), used, allow_unused=True, materialize_grads=True)
    return [output.detach(), *gradients]


def _close(mine: torch.Tensor, other: torch.Tensor) -> bool:
    finite = other[other.isfinite()].abs()
    scale = max(float(finite.max()), 1e-3) if finite.numel() else 1.0
    return bool(torch.allclose(mine, other, rtol=0.0, atol=_TOLERANCE * scale, equal_nan=True))


def candidate_line(error: BaseException) -> int | None:
    """Return the last line of the candidate's source in a traceback, or None."""
    line, frame = None, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == FILE_NAME:
            line = frame.tb_lineno
        frame = frame.tb_next
    if line is None and isinstance(error, SyntaxError) and error.filename == FILE_NAME:
        return error.lineno
    return line


def describe(error: BaseException) -> str:
    """Describe in one line what the candidate raised, and where in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, ExportError):
        text = lines[0]
    elif type(error).__name__ in _SHORT_MESSAGES:
        text = _SHORT_MESSAGES[type(error).__name__]
    else:
        text = type(error).__name__ + (f": {lines[0]}" if lines else "")
    line = candidate_line(error)
    where = "" if line is None or isinstance(error, SyntaxError) else f" (line {line})"
    return text[:400] + where
