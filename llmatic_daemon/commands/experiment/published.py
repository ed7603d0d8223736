"""Published results on the same tasks, listed and drawn beside ours."""

import tomllib
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A published test accuracy."""

    name: str
    #: Mean and standard deviation, in [0, 1].
    mean: float
    sd: float | None = None


LLMATIC = "LLMatic (published)"
_FILE = resources.files("llmatic_daemon.commands.experiment").joinpath("published.toml")
#: By data set.
PUBLISHED = {
    data_set: tuple(Published(**each) for each in found)
    for data_set, found in tomllib.loads(_FILE.read_text("utf-8")).items()
}
#: Evaluations behind LLMatic's published numbers.
NUM_EVALUATIONS = 2000


def of(data_set: str) -> tuple[Published, ...]:
    """Return the published results on a data set."""
    return PUBLISHED.get(data_set, ())


def llmatic_mean(data_set: str) -> float | None:
    """Return LLMatic's published mean test accuracy on a data set, in [0, 1], or None."""
    return next((each.mean for each in of(data_set) if each.name == LLMATIC), None)
