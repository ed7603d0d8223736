"""What several modules share, because it takes seconds to start."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from llmatic_daemon.bootstrap import build_search
from tests.support.codegen_server import codegen_server, make_model
from tests.support.fake_daemon import place_cells_at_once

#: What the server calls its model.
CODEGEN = "codegen-tiny"

# An example is as slow as the machine is busy.
settings.register_profile("unhurried", parent=settings.default, deadline=None)
settings.load_profile("unhurried")

# Before a test module imports torch: the threads of two pytest workers on two cores spin while they wait.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session", autouse=True)
def _cells_at_once() -> Iterator[None]:
    """Give searches of the test's own process their centroids at once: scikit-learn would be started twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_search, "_centroids", build_search._centroids)  # undone at the end
        place_cells_at_once()
        yield


@pytest.fixture(scope="session")
def codegen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run `transformers serve` with a random CodeGen of 2,048 tokens; yields its address."""
    folder = tmp_path_factory.mktemp("codegen")
    make_model(folder / CODEGEN, context=2048)
    with codegen_server(folder / CODEGEN, folder / "server.log") as url:
        yield url
