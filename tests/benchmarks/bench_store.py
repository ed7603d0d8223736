"""What the store costs: `python tests/benchmarks/bench_store.py [--num 20000] [--old-and-young]`.

Dispatches and commits placements of a plausible search with `synchronous=FULL`, each with a new
source and graph of `--size` bytes, and compares the second half with the first. CPU time is that of
the whole process, so it holds the event loop and the making of the placements too (printed apart).
On a machine where others work as well, `--old-and-young` tells more: a store that was filled before
and a new one take turns, and the medians are compared.
"""

import argparse
import asyncio
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore
from llmatic_daemon.domain import Job
from tests.support.sample_placements import SampleSearch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=4_000)
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--old-and-young", action="store_true")
    arguments = parser.parse_args()
    work = compare if arguments.old_and_young else measure
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        asyncio.run(work(Path(folder), arguments))


async def measure(folder: Path, arguments: argparse.Namespace) -> None:
    search = _search(arguments)
    store = await SQLiteStore.open(folder / "state")
    before_kib = _resident_kib()
    chunks = [
        await commit_some(store, search, arguments.num // 20) for _ in range(20)
    ]  # (CPU ms, wall ms, median ms of a dispatch and commit) for each, per evaluation
    after_kib = _resident_kib()
    making_ms = _making_ms(_search(arguments))
    report(chunks, making_ms)
    print(f"resident: {before_kib / 1024:.1f} MB before, {after_kib / 1024:.1f} MB after")
    await store.close()
    await reopen(folder, arguments.num)


async def compare(folder: Path, arguments: argparse.Namespace) -> None:
    old, young = [await SQLiteStore.open(folder / name) for name in ("old", "young")]
    searches = _search(arguments), _search(arguments)
    await _set(old, "synchronous = OFF")  # only to be old soon
    await commit_some(old, searches[0], arguments.num)
    await _set(old, "synchronous = FULL")
    pairs = []
    for _ in range(60):
        aged, _, _ = await commit_some(old, searches[0], 25)
        fresh, _, _ = await commit_some(young, searches[1], 25)
        pairs.append((aged, fresh))
    aged_ms, fresh_ms = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(
        f"CPU after {arguments.num}: {aged_ms:.3f} ms an evaluation, new: {fresh_ms:.3f} ms, "
        f"median of {len(pairs)} ratios by turns: {statistics.median(a / f for a, f in pairs):.3f}"
    )
    await old.close()
    await young.close()


async def _set(store: SQLiteStore, pragma: str) -> None:
    await store._database.read(lambda c: c.execute(f"PRAGMA {pragma}").fetchall())


def report(chunks: list[tuple[float, float, float]], making_ms: float) -> None:
    half = len(chunks) // 2
    cpu = [chunk[0] - making_ms for chunk in chunks]
    for name, some in (("first", slice(0, half)), ("second", slice(half, None))):
        wall = sum(chunk[1] for chunk in chunks[some]) / half
        print(
            f"{name} half: CPU {statistics.mean(cpu[some]):.3f} ms an evaluation, "
            f"median latency {statistics.median(c[2] for c in chunks[some]):.3f} ms, "
            f"{1000 / wall:.0f} evaluations/s"
        )
    ratio = statistics.mean(cpu[half:]) / statistics.mean(cpu[:half])
    print(f"second half over first: {ratio:.3f} in CPU; making a placement {making_ms:.3f} ms")
    print(f"least disturbed twentieth: CPU {min(cpu):.3f} ms an evaluation")


async def commit_some(store: SQLiteStore, search: SampleSearch, number: int) -> tuple[float, float, float]:
    latencies = []
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(number):
        begin = time.perf_counter()
        placement, artefacts = search.next(await store.dispatch(0))
        await store.commit(placement, artefacts)
        search.settle(placement)
        latencies.append(time.perf_counter() - begin)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return cpu * 1e3 / number, wall * 1e3 / number, statistics.median(latencies) * 1e3


async def reopen(folder: Path, number: int) -> None:
    size = (folder / "state" / "llmatic.db").stat().st_size
    begin = time.perf_counter()
    store = await SQLiteStore.open(folder / "state")
    opened = time.perf_counter()
    count = 0
    async for _ in store.log():
        count += 1
    read = time.perf_counter()
    assert count == number
    print(f"open {size / 1e6:.0f} MB: {opened - begin:.3f} s; log of {count}: {read - opened:.3f} s")
    await store.close()


def _search(arguments: argparse.Namespace) -> SampleSearch:
    return SampleSearch(num_cells=arguments.cells, size=arguments.size, num_epochs=10, keep=False)


def _making_ms(search: SampleSearch, number: int = 1000) -> float:
    cpu = time.process_time()
    for count in range(1, number + 1):
        placement, _ = search.next(Job(number=count, attempt=1))
        search.settle(placement)
    return (time.process_time() - cpu) * 1e3 / number


def _resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


if __name__ == "__main__":
    main()
