"""Take the frames' pipes away from stdin and stdout, so that a stray print cannot disturb them."""

import os
from typing import BinaryIO


def own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Return the former stdin and stdout; stdin is empty from now on, and stdout goes to stderr.

    The input is not buffered, so a poll of its descriptor sees every byte.
    """
    incoming = os.fdopen(os.dup(0), "rb", buffering=0)
    outgoing = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return incoming, outgoing
