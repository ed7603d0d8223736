"""Exec until ready: `python tests/benchmarks/bench_start.py [--evaluations 2000] [--starts 7]`.

Makes a state folder with fake trainings, then starts the real daemon on it, again and again, with its
real lifter and trainers, and times it until it says that jobs can be dispatched. Also prints its resident
memory at that moment, and which large libraries it has loaded.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
LARGE = ("libtorch", "/sklearn/", "/scipy/", "matplotlib", "pandas")


def make_state(state: Path, num_evaluations: int) -> None:
    command = [sys.executable, "-m", "tests.support.fake_daemon", str(state), str(num_evaluations)]
    subprocess.run(command, check=True, env=ENVIRONMENT, cwd=ROOT, capture_output=True)


def start(state: Path) -> tuple[float, float, list[str]]:
    """Start the daemon once: seconds until ready, resident MB, large libraries in its memory."""
    command = [
        sys.executable,
        "-c",
        "from llmatic_daemon.cli import main; main()",
        "run",
        "--preset",
        "demo",
        "--state",
        str(state),
    ]
    environment = {**ENVIRONMENT, "LLMATIC_BUDGET__MAX_EVALUATIONS": "1000000"}
    began = time.perf_counter()
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        said = next(line for line in process.stderr if "ready: " in line or "llmatic" in line)
        took_s = time.perf_counter() - began
        assert "ready: " in said, said
        status = Path(f"/proc/{process.pid}/status").read_text()
        mapped = Path(f"/proc/{process.pid}/maps").read_text()
        for _ in range(2):  # drain, and at once
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        process.communicate()
    resident_mb = int(status.split("VmRSS:")[1].split()[0]) / 1024
    return took_s, resident_mb, [name for name in LARGE if name in mapped]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--evaluations", type=int, default=2000)
    parser.add_argument("--starts", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_state(Path(folder) / "state", options.evaluations)
        starts = [start(Path(folder) / "state") for _ in range(options.starts)]
    result = {
        "evaluations": options.evaluations,
        "ready_s_median": statistics.median(took for took, _, _ in starts),
        "ready_s_max": max(took for took, _, _ in starts),
        "resident_mb": max(resident for _, resident, _ in starts),
        "large_libraries": starts[-1][2],
        "load": os.getloadavg()[0],
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
