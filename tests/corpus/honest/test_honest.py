"""Networks as LLMs write them: lifted, trained beside the module itself, and measured.

`python -m tests.corpus.honest.proof` prints the same as a table.
"""

from collections.abc import Iterator, Mapping

import pytest
import torch

from llmatic_daemon.domain import Network, Rejection
from tests.corpus.honest import proof
from tests.corpus.honest.count import count
from tests.support.samples import sampled

#: One of each family: plain, residual, dense, attention, recurrent, lazy, reparametrized, branched.
SAMPLE = {
    "bilstm",
    "densenet",
    "lazy_layers",
    "mixture_of_experts",
    "paper_initial",
    "resnet_basic",
    "transformer_encoder",
    "weight_norm",
}
HONEST = {name: proof.read(name) for name in proof.NAMES}
LIFTABLE = [name for name in HONEST if "does not lift" not in HONEST[name].header]
OTHERS = [name for name in HONEST if name not in LIFTABLE]
COUNTED = [name for name in LIFTABLE if "by hand" not in HONEST[name].header]
#: Every exception that a header can make from a bit-identical training.
EXCEPTIONS = ("does not lift",)

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def lifted(request: pytest.FixtureRequest) -> Mapping[str, Network | Rejection]:
    """Lift every network that a chosen test asks for, once."""
    parameters = [getattr(item, "callspec", None) for item in request.session.items]
    asked = {each.params.get("name") for each in parameters if each}
    known = [name for name in HONEST if name in asked]
    return dict(zip(known, proof.lift_all(HONEST[n].candidate for n in known), strict=True))


@pytest.mark.parametrize("name", sampled(LIFTABLE, SAMPLE))
def test_honest_network_trains_as_the_module_does_to_the_bit(name, lifted):
    network, honest = lifted[name], HONEST[name]
    assert isinstance(network, Network), network
    graph, module = proof.rebuilt(network, honest.input_shape), honest.make()

    mine, theirs = proof.losses(graph, honest), proof.losses(module, honest)

    assert mine == theirs
    known = proof.statistics(module)  # also of layers that are not used
    assert all(each in known for each in proof.statistics(graph))


@pytest.mark.parametrize("name", sampled(LIFTABLE, SAMPLE))
def test_honest_network_has_the_figures_of_its_header(name, lifted):
    network = lifted[name]
    assert isinstance(network, Network), network

    assert proof.figures(network) == HONEST[name].figures


@pytest.mark.parametrize("name", sampled(COUNTED, SAMPLE.intersection(COUNTED)))
def test_header_is_what_torch_counts_on_the_module(name):
    honest = HONEST[name]

    assert count(honest.make, honest.input_shape) == honest.figures


@pytest.mark.parametrize("name", OTHERS)
def test_honest_network_that_does_not_lift_is_told_why(name, lifted):
    rejection = lifted[name]

    assert isinstance(rejection, Rejection)
    assert HONEST[name].header["does not lift"] in rejection.detail


def test_at_least_95_percent_of_them_have_no_exception():
    exceptions = [name for name, honest in HONEST.items() if any(key in honest.header for key in EXCEPTIONS)]

    assert len(HONEST) >= 60
    assert len(exceptions) <= 0.05 * len(HONEST), exceptions
