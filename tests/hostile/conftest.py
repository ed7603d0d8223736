"""One house for all tests of the corpus, and the table at the end."""

from collections.abc import Iterator

import pytest

from tests.hostile.house import House

_TABLE: list[str] = []


@pytest.fixture(scope="session")
def house() -> Iterator[House]:
    """Yield a world with lifters in it."""
    house = House()
    yield house
    _TABLE.extend(house.table() if house.seen else [])
    house.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what became of the corpus."""
    if _TABLE:
        terminalreporter.section("hostile programs")
        for line in _TABLE:
            terminalreporter.write_line(line)
