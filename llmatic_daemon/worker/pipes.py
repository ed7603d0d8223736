"""The pipes of the frames, taken away from stdin and stdout: a stray print cannot disturb them."""

import os
from typing import BinaryIO


def own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Return what was stdin and stdout; from now on stdin is empty and stdout goes to stderr.

    What comes in is not buffered, so that a poll of its descriptor tells the truth.
    """
    incoming = os.fdopen(os.dup(0), "rb", buffering=0)
    outgoing = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return incoming, outgoing
