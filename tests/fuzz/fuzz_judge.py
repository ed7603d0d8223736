"""Fuzz the judge: the reader of results, the reader of graphs, the validator.

    PYTHONPATH=. python tests/fuzz/fuzz_judge.py 1000000 [--first 0] [--memory-mib 1024] [--seconds 0]

Each input has a number, from --first on, which names it for good (as long as the mutations stay the same). A
finding is an exception that is not ours, 2 s of CPU, or memory beyond the cap; it is printed with its number, and
the run goes on. Every 10,000 inputs it says how far it is: go on from there after an interruption.
"""

import argparse
import collections
import resource
import signal
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.fuzz.judging import judge

CPU_S = 2.0
#: Resident memory that a single input may add to all that was ever in use.
GROWTH_KIB = 256 << 10


class Hang(BaseException):
    """An input took too long; no `except Exception` may swallow it."""


def _hang(*_: object) -> None:
    raise Hang


def run_one(number: int, counts: collections.Counter[str]) -> str:
    """Judge one input within its limits; a finding is told, else the answer is empty."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_PROF, CPU_S)
    try:
        counts[judge(number)] += 1
    except (Exception, Hang):
        return traceback.format_exc(limit=-4)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return f"took {grown >> 10} MiB\n" if grown > GROWTH_KIB else ""


def limit_memory(mebibytes: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    cap = pages * resource.getpagesize() + (mebibytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (cap, cap))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--memory-mib", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=0, help="stop after so long; 0: never")
    asked = parser.parse_args()
    judge(-1)
    limit_memory(asked.memory_mib)
    signal.signal(signal.SIGPROF, _hang)
    counts: collections.Counter[str] = collections.Counter()
    started, findings = time.monotonic(), 0
    for done, number in enumerate(range(asked.first, asked.first + asked.count), 1):
        finding = run_one(number, counts)
        if finding:
            findings += 1
            print(f"input {number}: {finding}", flush=True)
        late = bool(asked.seconds) and time.monotonic() - started > asked.seconds
        if done % 10_000 == 0 or late or done == asked.count:
            spent = time.monotonic() - started
            print(
                f"{done} inputs, the last {number}, {findings} findings, {dict(counts)}, {spent:.0f} s",
                flush=True,
            )
        if late:
            break
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
