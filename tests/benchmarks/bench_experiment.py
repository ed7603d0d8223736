"""What a search in memory costs: `python -m tests.benchmarks.bench_experiment TABLE`.

CPU seconds of this process, the table read and the cells made before: for 2,000 settled candidates of the
preset nasbench201, and until 2,000 full trainings are used, by the default and by the paper's numbers.
"""

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any

from llmatic_daemon import config
from llmatic_daemon.commands.experiment.simulation import Simulation, cached_adapters, cells, simulate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("table", type=Path)
    table = parser.parse_args().table
    timed(table, 100)  # whatever is imported and cached the first time
    done, spent_s = timed(table, 2000)
    timed(table, 2000, duplicates="train", tournament_size=1, train_initial=False)
    timed(table, 2000, variant="random-search")
    print(f"2,000 settled candidates: {2000 * spent_s / len(done.placements):.2f} s; must be below 4 s")


def timed(table: Path, num_trainings: int, **search: Any) -> tuple[Simulation, float]:
    """Run a search; return it and the CPU seconds that it took."""
    settings = config.load(
        preset="nasbench201",
        environment={},
        overrides={
            "data": {"folder": str(table)},
            "search": search,
            "budget": {"max_evaluations": 0, "max_trainings": num_trainings},
        },
    )
    cached_adapters(settings)
    cells(settings)
    started = time.process_time()
    done = asyncio.run(simulate(settings, max_idle=1000))
    spent_s = time.process_time() - started
    print(
        f"{num_trainings} full trainings {search or ''}: {spent_s:.2f} s of CPU for "
        f"{len(done.placements)} settled candidates, {1000 * spent_s / len(done.placements):.2f} ms each"
    )
    return done, spent_s


if __name__ == "__main__":
    main()
