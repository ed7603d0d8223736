"""A scrape of /metrics: `python -m tests.benchmarks.bench_scrape [--scrapes 200]`.

The metrics of 8 slots, 8 device places and 32 prompts, over real HTTP on loopback; client and server
share one process, so that the client's time is in it. Prints the number of series too.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import time

import aiohttp
from llmatic_daemon.adapters.http import listening
from prometheus_client.parser import text_string_to_metric_families

from tests.large_metrics import large


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def scrape(num_scrapes: int) -> dict[str, float]:
    made, port, times_s = large(), free_port(), []
    async with (
        listening(port, made.exposition, lambda: True),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        cpu_s = time.process_time()
        for _ in range(num_scrapes):
            started = time.perf_counter()
            text = await (await client.get("/metrics")).text()
            times_s.append(time.perf_counter() - started)
        cpu_s = time.process_time() - cpu_s
    families = text_string_to_metric_families(text)
    return {
        "series": sum(len(family.samples) for family in families),
        "kib": len(text) / 1024,
        "median_ms": 1e3 * statistics.median(times_s),
        "cpu_ms": 1e3 * cpu_s / num_scrapes,
        "p99_ms": 1e3 * statistics.quantiles(times_s, n=100)[98],
        "load": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scrapes", type=int, default=200)
    print(json.dumps(asyncio.run(scrape(parser.parse_args().scrapes)), indent=2))


if __name__ == "__main__":
    main()
