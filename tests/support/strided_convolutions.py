"""Trains on strided 1x1 convolutions in a process of its own, which a wrong kernel of torch may kill.

`python -m tests.support.strided_convolutions avoiding|plain` prints the largest difference of an output or
gradient from that in float64, which oneDNN does not compute, relative to the largest number. `... both`
prints how many outputs, gradients and losses of two training steps differ between the two, in any bit.
"""

import itertools
import sys
from collections.abc import Callable, Iterator

import torch
from torch import nn

from llmatic_daemon.worker.graph import avoided_kernels

_LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}


def cases() -> Iterator[tuple[int, int, int, bool]]:
    """Yield the dimensions, the input channels, the stride, and whether channels come last."""
    for dimensions, channels, stride in itertools.product((1, 2, 3), range(1, 17), (2, 3, 4)):
        for last in (False, True)[:dimensions]:
            yield dimensions, channels, stride, last


def tensors(dimensions: int, channels: int, stride: int, last: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images whose sides the stride divides, and a weight of 12 output channels.

    Nothing is negative, so that no sum loses digits.
    """
    images = torch.rand(4, channels, *[4 * stride] * dimensions)
    weight = torch.rand(12, channels, *[1] * dimensions)
    if last:
        layout = _LAYOUTS[dimensions]
        images, weight = images.contiguous(memory_format=layout), weight.contiguous(memory_format=layout)
    return images.requires_grad_(), weight.requires_grad_()


def passes(
    convolution: Callable[..., torch.Tensor], images: torch.Tensor, weight: torch.Tensor, stride: int
) -> list[torch.Tensor]:
    """Return the output and the gradients of images and weight after a forward and a backward pass."""
    output = convolution(images, weight, None, stride)
    gradient = torch.linspace(0.5, 1.5, output.numel(), dtype=output.dtype).reshape(output.shape)
    return [output.detach(), *torch.autograd.grad((output * gradient).sum(), (images, weight))]


def _function(kind: str, dimensions: int) -> Callable[..., torch.Tensor]:
    plain: Callable[..., torch.Tensor] = getattr(torch, f"conv{dimensions}d")
    if kind == "plain":
        return plain
    return avoided_kernels.avoiding(f"conv{dimensions}d.default", plain)


def _largest_difference(kind: str) -> float:
    largest = 0.0
    for dimensions, channels, stride, last in cases():
        images, weight = tensors(dimensions, channels, stride, last)
        for _ in range(6):  # some damage shows later
            ours = passes(_function(kind, dimensions), images, weight, stride)
        exact = (each.detach().double().requires_grad_() for each in (images, weight))
        theirs = passes(_function("plain", dimensions), *exact, stride)
        for mine, other in zip(ours, theirs, strict=True):
            largest = max(largest, float((mine - other).abs().max() / other.abs().max()))
    return largest


def _num_different() -> int:
    number = 0
    for dimensions, channels, stride, last in cases():
        images, weight = tensors(dimensions, channels, stride, last)
        both = [passes(_function(each, dimensions), images, weight, stride) for each in ("avoiding", "plain")]
        number += sum(not torch.equal(mine, other) for mine, other in zip(*both, strict=True))
    for channels in range(1, 17):
        with avoided_kernels.AvoidingMode():
            mine = _losses(channels)
        number += mine != _losses(channels)
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


def main(kind: str) -> None:
    """Run all cases."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(_num_different() if kind == "both" else _largest_difference(kind))


if __name__ == "__main__":
    main(sys.argv[1])
