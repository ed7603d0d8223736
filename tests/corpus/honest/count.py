"""Figures of a network, counted on the module itself: nothing of the lifter's is used here.

`python -m tests.corpus.honest.count NAME ...` prints what belongs into the headers of networks/NAME.py.

Multiply-adds are those of torch's FlopCounterMode. It is blind to fused kernels, so oneDNN and fused attention are
switched off: then a recurrent layer and an attention are the products that they consist of. It knows neither
nn.Bilinear nor a product with a vector, and it also counts what the output does not need; there, figures are
counted by hand, and the header says so.

Layers are the products of which one factor is a parameter or a view of one. A recurrent layer counts by what its
module says of itself.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

_aten = torch.ops.aten
#: Products, and the place of their output features.
_FEATURES = {
    _aten.convolution.default: 1,
    _aten.addmm.default: -1,
    _aten.mm.default: -1,
    _aten.bmm.default: -1,
    _aten.baddbmm.default: -1,
}


@dataclass(frozen=True, kw_only=True)
class Accuracies:
    """What the header of a network gives."""

    multiply_adds: int
    width: int
    depth: int
    parameters: int


class _Layers(TorchDispatchMode):
    """Collects the output features of every layer that a forward pass meets."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.features: list[int] = []
        self._inside_recurrent = 0
        self._weights = {_storage(each) for each in network.parameters()}
        for module in network.modules():
            if isinstance(module, nn.RNNBase | nn.RNNCellBase):
                module.register_forward_pre_hook(self._enter)
                module.register_forward_hook(self._leave)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _FEATURES and not self._inside_recurrent and self._has_weight(func, args):
            self.features.append(result.shape[_FEATURES[func]])
        return result

    def _has_weight(self, func: Any, args: tuple[Any, ...]) -> bool:
        is_plain = func in (_aten.mm.default, _aten.bmm.default, _aten.convolution.default)
        factors = args[:2] if is_plain else args[1:3]
        return any(_storage(factor) in self._weights for factor in factors)

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._inside_recurrent += 1

    def _leave(self, module: Any, args: Any, output: Any) -> None:
        self._inside_recurrent -= 1
        directions = 2 if getattr(module, "bidirectional", False) else 1
        self.features += [module.hidden_size * directions] * getattr(module, "num_layers", 1)


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@contextmanager
def _nothing_fused() -> Iterator[None]:
    """Switch oneDNN off, by the setter that does not warn, and fused attention."""
    before = torch.backends.mkldnn.enabled
    torch._C._set_mkldnn_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch._C._set_mkldnn_enabled(before)


def count(make: Callable[[], nn.Module], input_shape: tuple[int, ...]) -> Accuracies:
    """Count a network that is made anew for each of two batch sizes."""
    products: dict[int, int] = {}
    for batch in (2, 4):
        network, images = make(), torch.randn(batch, *input_shape)
        layers, flops = _Layers(network), FlopCounterMode(display=False)
        with _nothing_fused(), layers, flops:
            output = network(images)
        products[batch] = flops.get_total_flops() // 2
    output.square().sum().backward()
    slope = (products[4] - products[2]) // 2
    return Accuracies(
        multiply_adds=slope + products[2] - 2 * slope,
        width=max(layers.features),
        depth=len(layers.features),
        parameters=sum(p.numel() for p in network.parameters() if p.grad is not None),
    )


def main(names: list[str]) -> None:
    """Print the figures of networks as their headers give them."""
    from tests.corpus.honest.proof import read

    for name in names:
        honest = read(name)
        figures = count(honest.make, honest.input_shape)
        print(f"{name}\n# multiply-adds: {figures.multiply_adds}\n# width: {figures.width}")
        print(f"# depth: {figures.depth}\n# parameters: {figures.parameters}")


if __name__ == "__main__":
    main(sys.argv[1:])
