"""How much memory a training will take, told before a device is asked for it.

An estimate, to refuse what cannot fit: the allocator's own limit stays behind it. It counts weights, gradients,
momentum and low-precision copies; all results of a batch, which the backward pass needs; its working
space, which the largest result rules; and what evaluation holds at once.
"""

from pathlib import Path

import torch

from llmatic_daemon.worker.graph.validation import Validated
from llmatic_daemon.worker.training.recipes import Recipe

#: Gradients of results, and buffers of a kernel, in units of the largest result, or weight.
_WORKING_SPACE = 2
#: What allocator and kernels take on top of results; by tests/benchmarks/bench_memory.py.
_OVERHEAD = 1.25


def needed_bytes(valid: Validated, recipe: Recipe, at_once: int) -> int:
    """Estimate what a training takes beyond the images and the process itself.

    Args:
        valid: The network.
        recipe: Its batch size, momentum and precision.
        at_once: Images of one batch of a measurement.
    """
    results = max(
        recipe.batch_size * (valid.activation_bytes + _WORKING_SPACE * valid.largest_bytes),
        at_once * (valid.live_bytes + valid.largest_bytes),
    )
    return weight_bytes(valid, recipe) + int(_OVERHEAD * results)


def weight_bytes(valid: Validated, recipe: Recipe) -> int:
    """Count weights as read and as trained, gradients, momentum, copies, and a kernel's own."""
    all_weights = sum(tensor.numel() for tensor in valid.weights.values())
    trained = valid.measures.num_parameters
    largest = max((tensor.numel() for tensor in valid.weights.values()), default=0)
    copies = 2 * all_weights if recipe.precision == "bfloat16" else 0
    per_trained = 8 if recipe.momentum else 4
    return 4 * (2 * all_weights + _WORKING_SPACE * largest) + per_trained * trained + copies


def free_bytes(device: torch.device, limit: int) -> int:
    """Say how much of a place's memory is left, what it already holds taken off."""
    if device.type == "cuda":
        return limit - torch.cuda.memory_allocated(device)
    return limit - _data_bytes()


def _data_bytes() -> int:
    """Read the size of what RLIMIT_DATA counts; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    sizes = [line.split()[1] for line in lines if line.startswith("VmData:")]
    return int(sizes[0]) << 10 if sizes else 0
