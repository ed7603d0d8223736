"""The allow-list: the operations that a graph may use, and the types of their arguments.

Every operation is pure. `export` replaces in-place operations and aliases, so that a network has one
canonical form: `relu_` becomes `relu`; `view`, `flatten` and `squeeze` become `reshape`; `zeros` becomes
`new_full`. No operation reads a file, a clock, or random numbers other than dropout's.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import BuiltinFunctionType
from typing import Any, TypeVar

import torch
from torch._ops import OpOverload

T = TypeVar("T")

_CONVOLUTIONS = """
conv1d.default conv1d.padding conv2d.default conv2d.padding
conv_transpose1d.default conv_transpose2d.input
"""
_PRODUCTS = """
linear.default matmul.default mm.default bmm.default mv.default dot.default addmm.default
baddbmm.default einsum.default bilinear.default scaled_dot_product_attention.default
"""
_RECURRENT = "lstm.input gru.input rnn_tanh.input rnn_relu.input"
_CELLS = "lstm_cell.default gru_cell.default rnn_tanh_cell.default rnn_relu_cell.default"
_POOLINGS = """
max_pool1d.default max_pool2d.default avg_pool1d.default avg_pool2d.default avg_pool3d.default
adaptive_avg_pool1d.default adaptive_avg_pool2d.default
adaptive_max_pool1d.default adaptive_max_pool2d.default max_pool2d_with_indices.default
"""
_NORMS = """
batch_norm.default layer_norm.default group_norm.default instance_norm.default rms_norm.default
linalg_vector_norm.default norm.ScalarOpt_dim _weight_norm.default
"""
_ACTIVATIONS = """
relu.default relu6.default leaky_relu.default elu.default selu.default celu.default gelu.default
silu.default mish.default hardtanh.default hardswish.default hardsigmoid.default sigmoid.default
log_sigmoid.default tanh.default softplus.default softshrink.default hardshrink.default
threshold.default prelu.default glu.default softmax.int log_softmax.int
"""
_DROPOUTS = "dropout.default feature_dropout.default alpha_dropout.default feature_alpha_dropout.default"
_SHAPES = """
reshape.default permute.default transpose.int contiguous.default expand.default cat.default
stack.default split.Tensor split_with_sizes.default chunk.default unbind.int slice.Tensor select.int
narrow.default pad.default constant_pad_nd.default repeat.default tile.default flip.default
roll.default pixel_shuffle.default pixel_unshuffle.default channel_shuffle.default unfold.default
im2col.default upsample_nearest1d.vec upsample_nearest2d.vec upsample_bilinear2d.vec
upsample_linear1d.vec upsample_bicubic2d.vec new_full.default detach.default
repeat_interleave.self_int affine_grid_generator.default grid_sampler.default
"""
_ARITHMETIC = """
add.Tensor add.Scalar sub.Tensor sub.Scalar rsub.Scalar rsub.Tensor mul.Tensor mul.Scalar div.Tensor
div.Scalar neg.default abs.default exp.default expm1.default log.default log1p.default log2.default
sqrt.default rsqrt.default square.default reciprocal.default sin.default cos.default erf.default
atan.default sign.default pow.Tensor_Scalar pow.Tensor_Tensor pow.Scalar clamp.default
clamp.Tensor clamp_min.default clamp_max.default maximum.default minimum.default addcmul.default
addcdiv.default lerp.Scalar lerp.Tensor mean.default mean.dim sum.default sum.dim_IntList amax.default
amin.default max.dim min.dim max.other min.other var.correction std.correction var.dim std.dim
logsumexp.default cumsum.default prod.dim_int where.self where.ScalarSelf where.ScalarOther
gt.Scalar gt.Tensor ge.Scalar ge.Tensor lt.Scalar lt.Tensor le.Scalar le.Tensor
eq.Scalar eq.Tensor ne.Scalar ne.Tensor logical_not.default bitwise_not.default
masked_fill.Scalar tril.default triu.default argmax.default
"""
_ALL = " ".join(
    (
        _CONVOLUTIONS,
        _PRODUCTS,
        _RECURRENT,
        _CELLS,
        _POOLINGS,
        _NORMS,
        _ACTIVATIONS,
        _DROPOUTS,
        _SHAPES,
        _ARITHMETIC,
    )
)


def names(text: str) -> frozenset[str]:
    """Return the names of operations in a text."""
    return frozenset(text.split())


def for_each(text: str, value: T) -> dict[str, T]:
    """Return a table with the same value for each operation named in a text."""
    return dict.fromkeys(text.split(), value)


CONVOLUTIONS = names(_CONVOLUTIONS)
#: Stacks of recurrent layers, and single steps of them.
RECURRENT = names(_RECURRENT)
RECURRENT_CELLS = names(_CELLS)

#: Position of the literal that follows `module.training`. If it is False at export it stays False.
TRAINING_FLAG: Mapping[str, int] = {
    "batch_norm.default": 5,
    "instance_norm.default": 5,
    "dropout.default": 2,
    "feature_dropout.default": 2,
    "alpha_dropout.default": 2,
    "feature_alpha_dropout.default": 2,
    "lstm.input": 6,
    "gru.input": 6,
    "rnn_tanh.input": 6,
    "rnn_relu.input": 6,
}
#: Position of the running mean and variance: the only weights that a graph may change.
RUNNING_STATISTICS: Mapping[str, tuple[int, int]] = {
    "batch_norm.default": (3, 4),
    "instance_norm.default": (3, 4),
}
#: Position of a dropout probability that is 0 in evaluation.
TRAINING_PROBABILITY: Mapping[str, int] = {"scaled_dot_product_attention.default": 4}

#: Arguments that a graph may not set: they choose a device, a type or a random generator.
_UNSET = frozenset({"dtype", "layout", "device", "pin_memory", "memory_format", "generator"})
#: Arguments that only choose a kernel, which the trainer decides; always True.
_KERNEL_CHOICE = frozenset({"cudnn_enabled", "cudnn_enable"})

#: Python bindings of these modules parse their arguments in C, and save 1 to 3 us a call.
_BOUND = (torch, torch._C._nn)


@dataclass(frozen=True, kw_only=True, slots=True)
class Argument:
    """One argument of an operation."""

    name: str
    #: As in torch's schemas: Tensor, int, float, bool, str, number, List[...], Optional[...].
    type: str
    keyword_only: bool
    has_default: bool
    default: Any
    #: Left out of the graph.
    unset: bool
    #: Always True.
    kernel_choice: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """An operation of the allow-list."""

    name: str
    overload: OpOverload[..., Any]
    arguments: tuple[Argument, ...]
    #: 1 for a tensor, None for a list, else the length of the tuple.
    num_outputs: int | None


def _argument(argument: Any) -> Argument:
    default = argument.default_value
    return Argument(
        name=argument.name,
        type=str(argument.type).replace("List[bool]", "List[int]"),
        keyword_only=argument.kwarg_only,
        has_default=argument.has_default_value(),
        default=tuple(default) if isinstance(default, list) else default,
        unset=argument.name in _UNSET,
        kernel_choice=argument.name in _KERNEL_CHOICE,
    )


def _operation(name: str) -> Operation | None:
    base, _, overload_name = name.partition(".")
    packet = getattr(torch.ops.aten, base, None)
    if packet is None or overload_name not in packet.overloads():
        return None  # this version of torch decomposes it before export
    overload = getattr(packet, overload_name)
    schema = overload._schema
    lists = any(str(result.type).startswith("List") for result in schema.returns)
    return Operation(
        name=name,
        overload=overload,
        arguments=tuple(map(_argument, schema.arguments)),
        num_outputs=None if lists else len(schema.returns),
    )


@functools.cache
def table() -> Mapping[str, Operation]:
    """Return the operations that this version of torch knows, by `name.overload`."""
    return {op.name: op for op in map(_operation, _ALL.split()) if op is not None}


def split_arguments(name: str, args: Sequence[Any]) -> tuple[Sequence[Any], dict[str, Any]]:
    """Split the arguments of a call into positional and keyword ones, as the schema does."""
    arguments = table()[name].arguments
    count = sum(not argument.keyword_only for argument in arguments)
    keywords = [argument.name for argument in arguments[count:]]
    return args[:count], dict(zip(keywords, args[count:], strict=False))


@functools.cache
def function(name: str) -> Callable[..., Any]:
    """Return the fastest callable for an operation.

    A Python binding chooses an overload by the types of its arguments. It is used only if the operation
    has a single signature on tensors.
    """
    operation = table()[name]
    base, _, overload_name = name.partition(".")
    if overload_name in ("default", "Tensor") and not any(a.unset for a in operation.arguments):
        for home in _BOUND:
            if isinstance(bound := getattr(home, base, None), BuiltinFunctionType):
                return bound
    return operation.overload
