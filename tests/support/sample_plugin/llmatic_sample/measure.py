"""A measure: how large the layers of a network are on average."""

from llmatic_daemon.search.archive.measures import Measure
from llmatic_sample import note

note(__name__)

PARAMETERS_PER_LAYER = Measure(
    name="parameters per layer",
    of=lambda network: network.num_parameters / max(1, network.depth),
    low=10.0,
    high=10_000.0,
    log=True,
)
