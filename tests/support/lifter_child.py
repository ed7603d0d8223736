"""A lifter that never says that it is ready; it ends when its input is closed."""

import sys

sys.stdin.read()
