"""Multiply-adds of thirteen networks: ours, ptflops' two backends, torch's counter, and by hand.

python tests/benchmarks/bench_flops.py
"""

import contextlib
import io
import sys
import warnings
from pathlib import Path

import safetensors.torch
import torch
from ptflops import get_model_complexity_info
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[2]))
from llmatic_daemon.worker.graph.validation import GraphLimits, validate
from llmatic_daemon.worker.lifting.export import export
from tests.support.flop_battery import BATTERY

SHAPE = (3, 32, 32)


def eager(source: str) -> nn.Module:
    names: dict[str, type[nn.Module]] = {}
    exec(source, names)
    return names["Net"]().eval()


def ours(source: str) -> int:
    exported = export(source, "Net", SHAPE, 10)
    weights = safetensors.torch.save(exported.weights)
    return validate(exported.graph, weights, GraphLimits(), SHAPE, 10).measures.flops


def by_ptflops(source: str, backend: str) -> int | None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        counted, _ = get_model_complexity_info(
            eager(source), SHAPE, as_strings=False, print_per_layer_stat=False, backend=backend
        )
    return counted


def by_torch(source: str) -> int:
    """Count as torch does on an eager network, MHA's fast path and mkldnn off."""
    torch.backends.mha.set_fastpath_enabled(False)
    counter = FlopCounterMode(display=False)
    with torch.backends.mkldnn.flags(enabled=False), counter:
        eager(source)(torch.randn(1, *SHAPE))
    return counter.get_total_flops() // 2  # torch counts a multiply-add as two


def main() -> None:
    warnings.simplefilter("ignore")
    columns = ("by hand", "ours", "ptflops pytorch", "ptflops aten", "FlopCounterMode")
    print(f"{'network':24}" + "".join(f"{column:>17}" for column in columns))
    right = dict.fromkeys(columns, 0)
    for name, (source, exact) in BATTERY.items():
        figures = (
            exact,
            ours(source),
            by_ptflops(source, "pytorch"),
            by_ptflops(source, "aten"),
            by_torch(source),
        )
        for column, figure in zip(columns, figures, strict=True):
            right[column] += figure == exact
        print(f"{name:24}" + "".join(f"{figure!s:>17}" for figure in figures))
    print(f"{'exact':24}" + "".join(f"{f'{n} of {len(BATTERY)}':>17}" for n in right.values()))


if __name__ == "__main__":
    main()
