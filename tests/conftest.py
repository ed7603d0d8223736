"""What several modules share, because it takes seconds to start."""

import os
from collections.abc import Iterator

import pytest

from llmatic_daemon.bootstrap import build_search
from tests.support.codegen_server import codegen_server, make_model

#: What the server calls its model.
CODEGEN = "codegen-tiny"

# Before a test module imports torch: the threads of two pytest workers on two cores spin while they wait.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session", autouse=True)
def _each_tessellation_once() -> Iterator[None]:
    """Compute the centroids of one setting once: each search would start scikit-learn twice for the same ones."""
    compute, known = build_search._centroids, dict[tuple[int, int, int], tuple[tuple[float, float], ...]]()

    async def remembered(num_cells: int, num_samples: int, seed: int) -> tuple[tuple[float, float], ...]:
        asked = num_cells, num_samples, seed
        if asked not in known:
            known[asked] = await compute(*asked)
        return known[asked]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_search, "_centroids", remembered)
        yield


@pytest.fixture(scope="session")
def codegen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run `transformers serve` with a random CodeGen of 2,048 tokens; yields its address."""
    folder = tmp_path_factory.mktemp("codegen")
    make_model(folder / CODEGEN, context=2048)
    with codegen_server(folder / CODEGEN, folder / "server.log") as url:
        yield url
