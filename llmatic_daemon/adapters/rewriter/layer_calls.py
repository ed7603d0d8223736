"""Parser for layer constructors such as `nn.Conv2d(3, 16, 3)`."""

import ast
from collections.abc import Callable
from dataclasses import replace

from llmatic_daemon.adapters.rewriter import steps
from llmatic_daemon.adapters.rewriter.literals import Arguments, Numbers, Unreadable, dotted

#: Layers of `torch.nn` and the equivalent functions of `torch.nn.functional`.
ACTIVATIONS = {
    "ReLU": "relu",
    "ReLU6": "relu6",
    "GELU": "gelu",
    "SiLU": "silu",
    "ELU": "elu",
    "LeakyReLU": "leaky_relu",
    "Hardswish": "hardswish",
    "Mish": "mish",
    "SELU": "selu",
    "Softplus": "softplus",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
}


def read(call: ast.Call, numbers: Numbers, name: str = "") -> steps.Chain:
    """Parse the constructor call of a layer, or of a `Sequential` of layers.

    Raises:
        Unreadable: the layer or its arguments are not supported.
    """
    kind = dotted(call.func).split(".")[-1]
    if kind == "Identity":
        return ()
    if kind == "Sequential":
        return _sequential(call, numbers)
    if kind in ACTIVATIONS:
        # Slopes and approximations are ignored, because they matter little to a rewrite.
        return (steps.Activation(name=name, function=ACTIVATIONS[kind]),)
    reader = _READERS.get(kind.removeprefix("Lazy"))
    if reader is None:
        raise Unreadable(f"nn.{kind} is not a supported layer")
    return (replace(reader(call, numbers, kind), name=name),)


def _sequential(call: ast.Call, numbers: Numbers) -> steps.Chain:
    chain: steps.Chain = ()
    for argument in call.args:
        if not isinstance(argument, ast.Call):
            raise Unreadable("a Sequential must contain plain layers only")
        chain += read(argument, numbers)
    return chain


def _parameters(kind: str, first: str, *others: str) -> tuple[str, ...]:
    """Return the parameters of a layer, without the input size if it is a lazy one."""
    return others if kind.startswith("Lazy") else (first, *others)


def _conv(call: ast.Call, numbers: Numbers, kind: str) -> steps.Step:
    others = ("out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias")
    arguments = Arguments(call, _parameters(kind, "in_channels", *others), numbers)
    kernel, dilation = arguments.integer("kernel_size"), arguments.integer("dilation", 1)
    out, groups = arguments.integer("out_channels"), arguments.integer("groups", 1)
    padding = arguments.value("padding", 0)
    if padding == "same":
        padding = dilation * (kernel - 1) // 2
    elif padding != "valid":
        padding = arguments.integer("padding", 0, smallest=0)
    depthwise = groups > 1 and groups == out == arguments.integer("in_channels", 0)
    return steps.Conv(
        out=out,
        kernel=kernel,
        stride=arguments.integer("stride", 1),
        padding=padding if isinstance(padding, int) else 0,
        dilation=dilation,
        groups=1 if depthwise else groups,
        depthwise=depthwise,
        bias=bool(arguments.value("bias", True)),
    )


def _dense(call: ast.Call, numbers: Numbers, kind: str) -> steps.Step:
    parameters = _parameters(kind, "in_features", "out_features", "bias")
    arguments = Arguments(call, parameters, numbers)
    return steps.Dense(out=arguments.integer("out_features"), bias=bool(arguments.value("bias", True)))


def _recurrent(call: ast.Call, numbers: Numbers, kind: str) -> steps.Step:
    names = ("input_size", "hidden_size", "num_layers", "bias", "batch_first")
    arguments = Arguments(call, names, numbers)
    if arguments.integer("num_layers", 1) != 1 or not arguments.value("batch_first", False):
        raise Unreadable("a recurrent layer must have one level and the batch first")
    return steps.Recurrent(kind=kind, out=arguments.integer("hidden_size"))


def _dropout(call: ast.Call, numbers: Numbers, kind: str) -> steps.Step:
    return dropout(kind == "Dropout2d", Arguments(call, ("p", "inplace"), numbers))


def dropout(channels: bool, arguments: Arguments) -> steps.Dropout:
    """Parse the arguments of a dropout layer or function.

    Raises:
        Unreadable: the probability is not a number.
    """
    p = arguments.value("p", 0.5)
    if not isinstance(p, int | float):
        raise Unreadable("the probability of a dropout must be a number")
    return steps.Dropout(p=float(p), channels=channels)


def _pool(call: ast.Call, numbers: Numbers, kind: str) -> steps.Step:
    return pool("max" if kind == "MaxPool2d" else "avg", call, numbers)


def pool(kind: str, call: ast.Call, numbers: Numbers, *leading: str) -> steps.Pool:
    """Parse the arguments of a pooling layer, or of its function, which has `leading` ones.

    Raises:
        Unreadable: the arguments are not supported.
    """
    arguments = Arguments(call, (*leading, "kernel_size", "stride", "padding"), numbers)
    kernel = arguments.integer("kernel_size")
    stride, padding = (arguments.integer("stride", kernel), arguments.integer("padding", 0, smallest=0))
    return steps.Pool(kind=kind, kernel=kernel, stride=stride, padding=padding)


def _global_pool(call: ast.Call, numbers: Numbers, _kind: str) -> steps.Step:
    return steps.GlobalPool(size=Arguments(call, ("output_size",), numbers).integer("output_size"))


_Reader = Callable[[ast.Call, Numbers, str], steps.Step]
_READERS: dict[str, _Reader] = {
    "Conv2d": _conv,
    "Linear": _dense,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "Dropout": _dropout,
    "Dropout2d": _dropout,
    "MaxPool2d": _pool,
    "AvgPool2d": _pool,
    "AdaptiveAvgPool2d": _global_pool,
    "BatchNorm1d": lambda _call, _numbers, _kind: steps.Norm(kind="batch"),
    "BatchNorm2d": lambda _call, _numbers, _kind: steps.Norm(kind="batch"),
    "LayerNorm": lambda _call, _numbers, _kind: steps.Norm(kind="layer"),
    "GroupNorm": lambda _call, _numbers, _kind: steps.Norm(kind="group"),
    "Flatten": lambda _call, _numbers, _kind: steps.Flatten(),
}
