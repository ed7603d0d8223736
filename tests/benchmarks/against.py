"""A benchmark by this version against another commit: `python tests/benchmarks/against.py COMMIT bench_lift [OPTION ...]`.

Both versions run the benchmark in turns, `--rounds` times each, so that a noisy machine hits both alike. Each
number that both print in the same place is compared: its median over the rounds by either, and their ratio.

    python tests/benchmarks/against.py v0.5.0 --rounds 3 bench_archive --cells 100 --check 1000
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")

#: The text of a line, its numbers left out, and which number of it.
Figure = tuple[str, int]


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare a benchmark by this version and another commit.")
    parser.add_argument("commit")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("benchmark", help="name of a module here, such as bench_lift")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="handed to the benchmark")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        other = check_out(asked.commit, Path(folder))
        found = {root: defaultdict[Figure, list[float]](list) for root in (other, ROOT)}
        for number in range(asked.rounds):
            for root in (other, ROOT) if number % 2 else (ROOT, other):
                for figure, value in figures(run(root, asked.benchmark, asked.options)):
                    found[root][figure].append(value)
        report(found[other], found[ROOT])


def check_out(commit: str, folder: Path) -> Path:
    archive = subprocess.run(["git", "-C", ROOT, "archive", commit], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
    return folder


def run(root: Path, benchmark: str, options: list[str]) -> str:
    command = [sys.executable, f"tests/benchmarks/{benchmark}.py", *options]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def figures(output: str) -> Iterator[tuple[Figure, float]]:
    for line in output.splitlines():
        text = " ".join(_NUMBER.sub("#", line).split())
        for position, number in enumerate(_NUMBER.findall(line)):
            yield (text, position), float(number.replace(",", ""))


def report(before: dict[Figure, list[float]], now: dict[Figure, list[float]]) -> None:
    print(f"{'other':>12} {'this':>12} {'ratio':>7}  figure (the one in brackets)")
    for text, position in (figure for figure in now if figure in before):
        old, new = (statistics.median(found[text, position]) for found in (before, now))
        shown = iter(range(text.count("#")))
        marked = re.sub("#", lambda _, at=position, shown=shown: "[#]" if next(shown) == at else "#", text)
        ratio = f"{new / old:7.3f}" if old else f"{'-':>7}"
        print(f"{old:12.5g} {new:12.5g} {ratio}  {marked}")


if __name__ == "__main__":
    main()
