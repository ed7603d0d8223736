"""Published results on the same tasks, listed and drawn beside ours."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A published test accuracy."""

    name: str
    #: Mean and standard deviation, in [0, 1].
    mean: float
    sd: float | None = None


LLMATIC = "LLMatic (published)"
#: By data set.
#: Source: Nasir 2024, table 1, after 2,000 evaluations; Tan & Le 2019, table 5, for EfficientNet-B0.
PUBLISHED = {
    "nasbench201-cifar10": (
        Published(name="random search (published)", mean=0.9370, sd=0.0036),
        Published(name="GENIUS (published)", mean=0.9379, sd=0.0009),
        Published(name="Λ-DARTS (published)", mean=0.9436),
        Published(name=LLMATIC, mean=0.9426, sd=0.0013),
    ),
    "nasbench201-cifar100": (
        Published(name="random search (published)", mean=0.7104, sd=0.0107),
        Published(name="GENIUS (published)", mean=0.7091, sd=0.0072),
        Published(name="Λ-DARTS (published)", mean=0.7351),
        Published(name=LLMATIC, mean=0.7162, sd=0.0173),
    ),
    "nasbench201-imagenet16-120": (
        Published(name="random search (published)", mean=0.4457, sd=0.0125),
        Published(name="GENIUS (published)", mean=0.4496, sd=0.0102),
        Published(name="Λ-DARTS (published)", mean=0.4634),
        Published(name=LLMATIC, mean=0.4587, sd=0.0096),
    ),
    "cifar10": (Published(name="EfficientNet-B0, pretrained (published)", mean=0.981),),
}
#: Evaluations behind LLMatic's published numbers.
NUM_EVALUATIONS = 2000


def of(data_set: str) -> tuple[Published, ...]:
    """Return the published results on a data set."""
    return PUBLISHED.get(data_set, ())


def llmatic_mean(data_set: str) -> float | None:
    """Return LLMatic's published mean test accuracy on a data set, in [0, 1], or None."""
    return next((each.mean for each in of(data_set) if each.name == LLMATIC), None)
