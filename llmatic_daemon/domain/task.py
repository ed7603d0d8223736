"""The task: the data set that networks are searched for."""

import hashlib
from dataclasses import dataclass


def digest(content: bytes) -> str:
    """Name content by its SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


# --- what is searched ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """The data set that networks are made for, as the trainers see it."""

    name: str
    #: (channels, height, width) of one image.
    input_shape: tuple[int, int, int]
    num_classes: int
    num_train: int
    #: 0 when the test split selects (the paper's way).
    num_validation: int
    num_test: int
