"""A lifter that says that it is ready, and answers nothing; it ends when its input is closed."""

import sys

from llmatic_daemon.domain import frames

sys.stdout.buffer.write(frames.encode({"ready": True, "missing": {}}))
sys.stdout.buffer.flush()
sys.stdin.buffer.read()
