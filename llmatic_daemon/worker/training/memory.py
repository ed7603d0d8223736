"""Estimate the memory of a training before it starts, to reject networks that cannot fit.

The allocator's own limit still applies. The estimate counts weights, gradients, momentum and low-precision
copies; all results of a batch, which the backward pass needs; working space by the largest result; and the
peak of evaluation.
"""

from pathlib import Path

import torch

from llmatic_daemon.worker.graph.validation import Validated
from llmatic_daemon.worker.training.recipes import Recipe

#: Gradients of results, and buffers of a kernel, in units of the largest result, or weight.
_WORKING_SPACE = 2
#: Factor for allocator and kernels on top of results; by tests/benchmarks/bench_memory.py.
_OVERHEAD = 1.25


def needed_bytes(valid: Validated, recipe: Recipe, at_once: int) -> int:
    """Estimate the memory of a training, without the images and the process itself.

    Args:
        valid: The network.
        recipe: Gives batch size, momentum and precision.
        at_once: Batch size of measurements.
    """
    results = max(
        recipe.batch_size * (valid.activation_bytes + _WORKING_SPACE * valid.largest_bytes),
        at_once * (valid.live_bytes + valid.largest_bytes),
    )
    return weight_bytes(valid, recipe) + int(_OVERHEAD * results)


def weight_bytes(valid: Validated, recipe: Recipe) -> int:
    """Count weights as read and as trained, gradients, momentum, copies, and buffers of kernels."""
    all_weights = sum(tensor.numel() for tensor in valid.weights.values())
    trained = valid.measures.num_parameters
    largest = max((tensor.numel() for tensor in valid.weights.values()), default=0)
    copies = 2 * all_weights if recipe.precision == "bfloat16" else 0
    per_trained = 8 if recipe.momentum else 4
    return 4 * (2 * all_weights + _WORKING_SPACE * largest) + per_trained * trained + copies


def free_bytes(device: torch.device, limit: int) -> int:
    """Return how much of a device's memory limit this process has left."""
    if device.type == "cuda":
        return limit - torch.cuda.memory_allocated(device)
    return limit - _data_bytes()


def _data_bytes() -> int:
    """Return the size that RLIMIT_DATA limits; 0 if the system does not report it."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    sizes = [line.split()[1] for line in lines if line.startswith("VmData:")]
    return int(sizes[0]) << 10 if sizes else 0
