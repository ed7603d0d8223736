"""How soon an edit is used: `python tests/benchmarks/bench_prompts.py [--times 30] [--folder DIR]`.

From the moment at which the editor's last call returns (close, rename or unlink, by the way of
saving) until the first candidate is proposed with the new text. The true daemon as a process of its
own with default settings (`settle_s = 0.2`), its store on `--folder`'s disk, fakes for writer,
lifter and trainer; one slot that is idle every 10 ms, and one prompt for mutation, so that the next
proposal uses it. Both ends are read from the clock that all processes share (CLOCK_MONOTONIC).
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.daemon import RunningDaemon, running_daemon, write_prompts
from tests.support.prompt_editor import STYLES, File, save

OPTIONS = ("--slots", "1", "--pause-s", "0.01", "--mutation-ratio", "1.0", "--tell-requests")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=30, help="for each way of saving")
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        prompts = Path(folder) / "prompts"
        write_prompts(prompts)
        with running_daemon(Path(folder) / "state", prompts, *OPTIONS) as daemon:
            print(f"{'way of saving':<14} {'median':>8} {'max':>8}   of {arguments.times}")
            for style in STYLES:
                measured = [seconds(daemon, prompts, style) for _ in range(arguments.times)]
                print(
                    f"{style:<14} {statistics.median(measured) * 1000:>5.0f} ms "
                    f"{max(measured) * 1000:>5.0f} ms"
                )


def seconds(daemon: RunningDaemon, prompts: Path, style: str) -> float:
    """Save once, and return the time until the first proposal that uses it."""
    time.sleep(0.3 + 0.3 * random.random())  # at any moment of its loops
    text = f"Widen it in way {time.monotonic_ns()}.\nAnd that is all."
    save(style, prompts / "widen.md", File(text=text).content)
    saved = time.monotonic()
    return float(daemon.wait_for("asked", text=text)["at"]) - saved


if __name__ == "__main__":
    main()
