"""The database of an experiment: a run is kept whole, once, and for one command at a time."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from llmatic_daemon.adapters.storage.experiment_store import (
    DATABASE,
    ExperimentStore,
    Failed,
    KeptElite,
    RunKey,
    WindowFacts,
)
from llmatic_daemon.domain.errors import ConfigurationError, StateLocked, StoreUnavailable
from tests.support.experiment import finished

WHOLE = replace(
    finished(RunKey("one", "data", 0), (1.0, 0.5, 0.4), (7.5, 0.6, 0.7)),
    windows=(WindowFacts(1, 7.5, 100, 7, 0.6, 0.7, 10**7), WindowFacts(2, 7.5, 50, 0, None, None, None)),
    elites=(KeptElite("network", 3, 0.6, "a cell"), KeptElite("prompt", 3, -0.5, "widen v1")),
)


def test_run_is_read_as_it_was_kept(tmp_path: Path) -> None:
    with ExperimentStore.opened(tmp_path / "made") as store:
        store.keep(WHOLE)

    with ExperimentStore.opened(tmp_path / "made") as store:
        assert store.finished() == [WHOLE]
        assert store.done() == {WHOLE.run: "abc"}


def test_run_takes_the_place_of_an_older_one_and_of_its_failure(tmp_path: Path) -> None:
    with ExperimentStore.opened(tmp_path) as store:
        store.keep(Failed(run=WHOLE.run, fingerprint="abc", ended_at="now", reason="no"))
        assert [each.reason for each in store.failures()] == ["no"]
        store.keep(WHOLE)
        newer = replace(WHOLE, fingerprint="def", elites=())
        store.keep(newer)

        assert store.finished() == [newer]
        assert store.failures() == []


def test_run_that_cannot_be_kept_whole_is_not_kept(tmp_path: Path) -> None:
    twice = replace(WHOLE, elites=(WHOLE.elites[0], WHOLE.elites[0]))
    with ExperimentStore.opened(tmp_path) as store:
        with pytest.raises(sqlite3.IntegrityError):
            store.keep(twice)

        assert store.finished() == []


def test_full_disk_is_one_line_and_loses_nothing(tmp_path: Path) -> None:
    large = replace(WHOLE, run=RunKey("two", "data", 0), fingerprint="x" * 100_000)
    with ExperimentStore.opened(tmp_path) as store:
        store.keep(WHOLE)
        store._connection.execute("PRAGMA max_page_count = 1")

        with pytest.raises(StoreUnavailable, match="full; make room"):
            store.keep(large)

        assert store.finished() == [WHOLE]


def test_second_command_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with (
        ExperimentStore.opened(tmp_path),
        pytest.raises(StateLocked, match="one experiment at a time"),
        ExperimentStore.opened(tmp_path),
    ):
        pass


@pytest.mark.parametrize("content", [b"no database" * 100, b""])
def test_file_of_somebody_else_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / DATABASE
    if content:
        file.write_bytes(content)
    else:
        with closing(sqlite3.connect(file)) as other:
            other.execute("CREATE TABLE theirs (x)")

    with (
        pytest.raises(ConfigurationError, match="must be an experiment's database"),
        ExperimentStore.opened(tmp_path),
    ):
        pass
