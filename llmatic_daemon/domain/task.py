"""The task: the data set that networks are searched for."""

import hashlib
from dataclasses import dataclass


def digest(content: bytes) -> str:
    """Return the SHA-256 of content, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """The data set that networks are searched for, as reported by the trainers."""

    name: str
    #: (channels, height, width) of one image.
    input_shape: tuple[int, int, int]
    num_classes: int
    num_train: int
    #: 0 if the test split selects, as in the paper.
    num_validation: int
    num_test: int
