"""Garbage collection: only what is ours and unneeded goes, and all that looks at a search still works."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from llmatic_daemon.adapters.storage import copies
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.adapters.storage.state_folder import StateFolder, database_path
from llmatic_daemon.commands.gc import Collected, collect
from llmatic_daemon.commands.verify import verify
from llmatic_daemon.domain.errors import StateLocked, UserError
from tests.support.finished_search import command, content, search, searched, state

__all__ = ["searched", "state"]

FILES = ["backup.new", "control.sock", "llmatic.db.new", "sandbox.new", "settings.new"]


def gc(state: Path, **asked: bool) -> Collected:
    words = {"graphs": False, "copies": False, "vacuum": False, "dry_run": False}
    return collect(state, **(words | asked))


@pytest.fixture
def littered(state: Path) -> Path:
    """A state folder with what killed daemons, an upgrade and a person have left."""
    for name in (*FILES, "notes.new", "llmatic.db.bak", "settings.toml"):
        (state / name).write_text("12345")
    for name in (copies.name("schema-3"), copies.name("replaced"), "replaced-by-me"):
        (state / name).mkdir()
        (state / name / "llmatic.db").write_text("123")
    (state / f".{copies.name('replaced')}.new").mkdir()
    return state


def test_drafts_go_and_what_is_not_ours_stays(littered: Path):
    before = content(littered)

    done = gc(littered)

    gone = set(before) - set(content(littered))
    assert gone == {Path(spare.path).name for spare in done.drafts}
    assert len(gone) == len(FILES) + 1
    assert gone > set(FILES)
    assert verify(littered).faults == ()


def test_copies_go_when_asked(littered: Path):
    done = gc(littered, copies=True)

    assert [spare.size_bytes for spare in done.copies] == [3, 3]
    assert [name for name in content(littered) if name.startswith(("schema", "replaced"))] == [
        "replaced-by-me"
    ]


def test_dry_run_tells_the_same_and_changes_nothing(littered: Path):
    before = content(littered)

    claimed = StateFolder.claim(littered)
    told = gc(littered, graphs=True, copies=True, dry_run=True)
    claimed.release()
    graphs = told.num_graphs

    assert content(littered) == before
    assert gc(littered, graphs=True, copies=True) == told
    assert graphs > 0


def test_working_daemon_is_left_alone(littered: Path):
    claimed = StateFolder.claim(littered)
    before = content(littered)

    with pytest.raises(StateLocked):
        gc(littered)

    assert content(littered) == before
    claimed.release()


def test_graphs_of_elites_stay_and_all_else_is_as_it_was(state: Path):
    with History(state) as history:
        elites, log = history.elites(), list(history.log())
        graphs = {elite.network_digest: history.graph(elite.network_digest) for elite in elites}

    done = gc(state, graphs=True)

    with History(state) as history:
        assert {digest: history.graph(digest) for digest in graphs} == graphs
        assert list(history.log()) == log
        assert history.elites() == elites
        others = {p.network_digest for p in history.placements()} - {None, *graphs}
        assert len(others) == done.num_graphs > 0
        with pytest.raises(UserError, match="was emptied by gc"):
            history.graph(others.pop())
    assert verify(state).faults == ()
    assert gc(state, graphs=True).num_graphs == 0


def test_search_goes_on_after_a_collection(state: Path):
    gc(state, graphs=True)

    search(state, 60)

    assert verify(state).faults == ()
    with History(state) as history:
        assert all(history.graph(elite.network_digest) for elite in history.elites())


def test_vacuum_makes_the_file_smaller(state: Path):
    database = sqlite3.connect(database_path(state), isolation_level=None)
    database.execute("CREATE TABLE large (text)")
    database.execute("INSERT INTO large VALUES (zeroblob(1000000))")
    database.execute("DROP TABLE large")
    database.close()

    assert gc(state).vacuumed_bytes == 0
    assert gc(state, vacuum=True).vacuumed_bytes >= 1_000_000
    assert verify(state).faults == ()


def test_command_says_what_went_or_would_go(littered: Path, tmp_path: Path):
    shutil.copytree(littered, tmp_path / "again")

    would = command("gc", "--dry-run", "--weights", "--state", tmp_path / "again").stdout
    done = command("gc", "--weights", "--state", tmp_path / "again").stdout
    nothing = command("gc", "--state", tmp_path / "again").stdout

    assert would == f"{done}dry run: nothing was removed\n"
    assert "settings.new: 5B" in done
    assert "graphs of " in done
    assert nothing == "nothing to remove\n"
