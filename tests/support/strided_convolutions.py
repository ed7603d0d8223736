"""Trains on strided 1x1 convolutions in a process of its own, which a wrong kernel of torch may kill.

`python -m tests.support.strided_convolutions avoiding|plain THREADS CHANNELS...` prints the largest difference of an output or
gradient from that in float64, which oneDNN does not compute, relative to the largest number. `... both`
prints how many outputs, gradients and losses of two training steps differ between the two, in any bit.
"""

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from llmatic_daemon.worker.graph import avoided_kernels

_LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}


@dataclass(frozen=True)
class Case:
    """A strided 1x1 convolution; the channels are those that its kernels take in blocks."""

    dimensions: int
    channels: int
    stride: int
    channels_last: bool
    is_transposed: bool

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images and weight of small integers, of which float32 holds every sum exactly."""
        ones, size = [1] * self.dimensions, [8 * self.stride if self.dimensions < 3 else 4] * self.dimensions
        if self.is_transposed:
            shapes = (9, 12, *size), (12, self.channels, *ones)
        else:
            shapes = (9, self.channels, *size), (12, self.channels, *ones)
        images, weight = (torch.randint(-3, 4, shape).float() for shape in shapes)
        if self.channels_last:
            layout = _LAYOUTS[self.dimensions]
            images, weight = images.contiguous(memory_format=layout), weight.contiguous(memory_format=layout)
        return images.requires_grad_(), weight.requires_grad_()

    def function(self, kind: str) -> Callable[..., torch.Tensor]:
        """Return torch's function, or what is called in its place."""
        base = f"conv_transpose{self.dimensions}d" if self.is_transposed else f"conv{self.dimensions}d"
        plain: Callable[..., torch.Tensor] = getattr(torch, base)
        overload = "input" if self.is_transposed and self.dimensions > 1 else "default"
        return plain if kind == "plain" else avoided_kernels.avoiding(f"{base}.{overload}", plain)

    def passes(self, kind: str, images: torch.Tensor, weight: torch.Tensor) -> list[torch.Tensor]:
        """Return the output and the gradients of images and weight."""
        output = self.function(kind)(images, weight, None, self.stride)
        gradient = (torch.arange(output.numel()) % 7 - 3).to(output.dtype).reshape(output.shape)
        return [output.detach(), *torch.autograd.grad((output * gradient).sum(), (images, weight))]


def cases(channels: Iterable[int]) -> Iterator[Case]:
    """Yield the cases with these channels."""
    for dimensions, number, stride, transposed in itertools.product(
        (1, 2, 3), channels, (2, 3, 4), (False, True)
    ):
        for last in (False, True)[:dimensions]:
            yield Case(dimensions, number, stride, last, transposed)


def _largest_difference(kind: str, channels: Iterable[int]) -> float:
    largest = 0.0
    for case in cases(channels):
        images, weight = case.tensors()
        for _ in range(4):  # some damage shows later
            ours = case.passes(kind, images, weight)
        theirs = case.passes("plain", *(each.detach().double().requires_grad_() for each in (images, weight)))
        for mine, other in zip(ours, theirs, strict=True):
            largest = max(largest, float((mine - other).abs().max() / other.abs().max()))
    return largest


def _num_different(channels: Iterable[int]) -> int:
    number = 0
    for case in cases(channels):
        tensors = [(each.detach() * 0.37).sin().requires_grad_() for each in case.tensors()]
        both = [case.passes(kind, *tensors) for kind in ("avoiding", "plain")]
        number += sum(not torch.equal(mine, other) for mine, other in zip(*both, strict=True))
    for each in channels:
        with avoided_kernels.AvoidingMode():
            mine = _losses(each)
        number += mine != _losses(each)
    return number


def _losses(channels: int) -> list[float]:
    """Train a network with strided 1x1 convolutions for two steps; return the losses before and after."""
    torch.manual_seed(channels)
    layers = nn.Conv2d(channels, 6, 1, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 24, 1, 2), nn.ReLU()
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10)
    network = nn.Sequential(*layers, *head).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    images = torch.randn(16, channels, 16, 16).contiguous(memory_format=torch.channels_last)
    losses = []
    for _ in range(3):
        loss = nn.functional.cross_entropy(network(images), torch.arange(16) % 10)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main(kind: str, num_threads: str, *channels: str) -> None:
    """Run all cases."""
    torch.set_num_threads(int(num_threads))
    torch.manual_seed(0)
    chosen = list(map(int, channels))
    print(_num_different(chosen) if kind == "both" else _largest_difference(kind, chosen))


if __name__ == "__main__":
    main(*sys.argv[1:])
