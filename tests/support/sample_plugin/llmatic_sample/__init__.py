"""Extensions of llmatic-daemon by another package; each module notes which process imports it."""

import os
import sys
from pathlib import Path


def note(module: str) -> None:
    """Add a line to the file of imports that lies beside this package: the module, and who imports it."""
    with Path(__file__).parents[1].joinpath("imports.log").open("a") as log:
        command = Path(f"/proc/{os.getpid()}/cmdline").read_text().replace("\0", " ")
        log.write(f"{module.rpartition('.')[2]} {'trainer' if 'train_server' in command else sys.argv[1]}\n")
