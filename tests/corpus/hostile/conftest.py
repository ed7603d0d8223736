"""One harness for all tests of the corpus, and the table at the end."""

from collections.abc import Iterator

import pytest

from tests.corpus.hostile.harness import SandboxHarness

_TABLE: list[str] = []


@pytest.fixture(scope="session")
def harness() -> Iterator[SandboxHarness]:
    """Yield an environment with lifters in it."""
    harness = SandboxHarness()
    yield harness
    _TABLE.extend(harness.table() if harness.seen else [])
    harness.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what became of the corpus."""
    if _TABLE:
        terminalreporter.section("hostile programs")
        for line in _TABLE:
            terminalreporter.write_line(line)
