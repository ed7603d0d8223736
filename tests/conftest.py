"""What several modules share, because it takes seconds to start."""

from collections.abc import Iterator

import pytest

from tests.support.codegen_server import codegen_server, make_model

#: What the server calls its model.
CODEGEN = "codegen-tiny"


@pytest.fixture(scope="session")
def codegen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run `transformers serve` with a random CodeGen of 2,048 tokens; yields its address."""
    folder = tmp_path_factory.mktemp("codegen")
    make_model(folder / CODEGEN, context=2048)
    with codegen_server(folder / CODEGEN, folder / "server.log") as url:
        yield url
