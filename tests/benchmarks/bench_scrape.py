"""A scrape of /metrics: `python -m tests.benchmarks.bench_scrape [--scrapes 200]`.

The metrics of 8 slots, 8 device places and 32 prompts, over real HTTP on loopback; client and server
share one process, so that the client's time is in it. Prints the number of series too.
"""

import argparse
import asyncio
import json
import os
import statistics
import time
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from llmatic_daemon.adapters.http.server import listening
from llmatic_daemon.domain.events import EventBus
from tests.support.metrics import large
from tests.support.web import free_port, table

#: Scrapes that follow each other faster share an exposition.
APART_S = 0.06


async def scrape(num_scrapes: int) -> dict[str, float]:
    made, port, times_s, spent_s = large(), free_port(), [], 0.0
    routes = table(Path("nowhere"), made.exposition)
    events = EventBus()
    events.subscribe(made.receive)
    async with (
        listening(port, routes, setting="metrics.port", events=events),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        for _ in range(num_scrapes):
            await asyncio.sleep(APART_S)
            cpu_s, started = time.process_time(), time.perf_counter()
            text = await (await client.get("/metrics")).text()
            times_s.append(time.perf_counter() - started)
            spent_s += time.process_time() - cpu_s
    families = text_string_to_metric_families(text)
    return {
        "series": sum(len(family.samples) for family in families),
        "kib": len(text) / 1024,
        "median_ms": 1e3 * statistics.median(times_s),
        "cpu_ms": 1e3 * spent_s / num_scrapes,
        "p99_ms": 1e3 * statistics.quantiles(times_s, n=100)[98],
        "load": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scrapes", type=int, default=200)
    print(json.dumps(asyncio.run(scrape(parser.parse_args().scrapes)), indent=2))


if __name__ == "__main__":
    main()
