"""Backups: whole under their names, verified, of one moment, and no burden to the search."""

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llmatic_daemon.adapters.storage import copies, database_file
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.adapters.storage.notes import backup_note
from llmatic_daemon.adapters.storage.state_folder import StateFolder, database_path
from llmatic_daemon.commands import backup
from llmatic_daemon.commands.backup import back_up
from llmatic_daemon.commands.restore import restore
from llmatic_daemon.commands.verify import verify
from llmatic_daemon.daemon.backup_request import back_up_beside, backup_verb
from llmatic_daemon.domain.errors import ConfigurationError, StoreUnavailable, UserError
from tests.support.daemon import folder, running_daemon
from tests.support.finished_search import command, content, other, searched, state

__all__ = ["folder", "other", "searched", "state"]


def test_backup_is_a_state_folder_that_tells_what_the_search_told(state: Path, tmp_path: Path):
    made = back_up(state, tmp_path / "backups", keep=3)

    assert content(Path(made.folder)) == ["llmatic.db", "prompts", "settings.json"]
    assert verify(Path(made.folder)).faults == ()
    with History(Path(made.folder)) as copied, History(state) as history:
        assert list(copied.log()) == list(history.log())
        assert copied.elites() == history.elites()
    assert made.num_settled == verify(state).num_settled
    assert made.size_bytes == database_path(Path(made.folder)).stat().st_size
    assert (Path(made.folder) / "prompts" / "crossover.md").exists()


def test_backup_is_noted_in_the_state(state: Path, tmp_path: Path):
    made = back_up(state, tmp_path / "backups", keep=3)

    with History(state) as history:
        status = history.status()
    assert status.backup == backup_note.BackupNote(finished_at=made.finished_at, folder=made.folder)
    assert made.folder in "".join(command("status", "--state", state).stdout.split())


def test_backup_keeps_some_and_removes_the_oldest_and_nothing_else(state: Path, tmp_path: Path):
    folder = tmp_path / "backups"
    strangers = ["llmatic-of-my-own", "llmatic-20260101T000000.000Z.txt", "notes"]
    for stranger in strangers:
        (folder / stranger).mkdir(parents=True)

    made = [back_up(state, folder, keep=2) for _ in range(4)]

    kept = [Path(each.folder).name for each in made[2:]]
    assert content(folder) == sorted([*strangers, *kept])
    assert [each.removed for each in made] == [(), (), (made[0].folder,), (made[1].folder,)]


def test_backup_of_a_clock_that_went_back_is_not_removed_as_the_oldest(state: Path, tmp_path: Path):
    later = tmp_path / "backups" / "llmatic-20990101T000000.000Z"
    later.mkdir(parents=True)

    made = back_up(state, tmp_path / "backups", keep=1)

    assert made.removed == (str(later),)
    assert Path(made.folder).exists()


def test_folder_with_backups_of_another_search_is_refused_and_nothing_goes(
    state: Path, other: Path, tmp_path: Path
):
    folder = tmp_path / "backups"
    theirs = back_up(other, folder, keep=1)

    for _ in range(2):
        with pytest.raises(UserError, match="must hold copies of one search, and llmatic-"):
            back_up(state, folder, keep=1)

    assert content(folder) == [Path(theirs.folder).name]
    assert command("backup", folder, "--state", state).exit_code == UserError.exit_code


def test_backups_of_a_search_and_of_its_restored_self_are_one_searchs(state: Path, tmp_path: Path):
    folder = tmp_path / "backups"
    first = back_up(state, folder, keep=2)
    restore(folder, tmp_path / "elsewhere")

    second = back_up(tmp_path / "elsewhere", folder, keep=2)

    assert content(folder) == [Path(each.folder).name for each in (first, second)]


def test_damaged_search_gets_no_backup_and_keeps_its_older_ones(state: Path, tmp_path: Path):
    older = back_up(state, tmp_path / "backups", keep=1)
    database = sqlite3.connect(database_path(state), isolation_level=None)
    database.execute("UPDATE network_elites SET objective = 0.123")
    database.close()

    with pytest.raises(ConfigurationError, match="must follow from its log, and differs"):
        back_up(state, tmp_path / "backups", keep=1)

    assert content(tmp_path / "backups") == [Path(older.folder).name]


def test_full_disk_leaves_nothing_behind(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise StoreUnavailable("the disk is full; make room, and try again")

    monkeypatch.setattr(copies, "copy_database", full)

    with pytest.raises(StoreUnavailable, match="make room, and try again"):
        back_up(state, tmp_path / "backups", keep=1)

    assert content(tmp_path / "backups") == []


def test_disk_that_takes_no_more_is_told_and_left_as_it_was(state: Path, tmp_path: Path):
    folder = tmp_path / "backups"
    words = [sys.executable, "-m", "llmatic_daemon.commands.backup", str(state), str(folder), "3"]
    limit = (database_path(state).stat().st_size // 2,) * 2

    done = subprocess.run(
        words,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
        stdout=subprocess.PIPE,
        check=True,
    )

    assert json.loads(done.stdout)["kind"] == "StoreUnavailable"
    assert content(folder) == []


def test_folder_that_cannot_be_made_is_told(state: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreUnavailable, match="must take a backup"):
        back_up(state, tmp_path / "file" / "backups", keep=1)


def test_second_backup_at_the_same_time_is_refused(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    copy_state, refused = copies.copy_state, []

    def copying(folder: Path, target: Path) -> None:
        with pytest.raises(UserError, match="another one is under way") as error:
            back_up(state, tmp_path / "backups", keep=1)
        refused.append(error)
        copy_state(folder, target)

    monkeypatch.setattr(copies, "copy_state", copying)

    back_up(state, tmp_path / "backups", keep=1)

    assert refused


def test_state_without_a_search_has_no_backup(tmp_path: Path):
    done = command("backup", tmp_path / "backups", "--state", tmp_path / "nowhere")

    assert done.exit_code == 1
    assert "there must be a search in" in done.stderr
    assert not (tmp_path / "backups").exists()


def test_daemon_that_does_not_answer_leaves_the_backup_to_the_command(state: Path, tmp_path: Path):
    claimed = StateFolder.claim(state)

    done = command("backup", tmp_path / "backups", "--state", state)

    claimed.release()
    assert done.exit_code == 0
    assert len(content(tmp_path / "backups")) == 1
    assert done.stdout.endswith(", verified\n")


def test_search_that_has_no_cells_yet_has_no_backup(tmp_path: Path):
    database_file.ensure(database_path(tmp_path), busy_timeout_s=1.0)

    with pytest.raises(UserError, match="must have begun; start it once"):
        back_up(tmp_path, tmp_path / "backups", keep=1)


def test_copy_is_of_one_moment_while_its_daemon_writes_at_every_step(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Without a transaction around it, SQLite would begin anew after each commit, for ever."""
    writer = sqlite3.connect(database_path(state), isolation_level=None)
    before = writer.execute("SELECT count(*) FROM job_events").fetchone()
    steps = []

    def commit(status: int, remaining: int, total: int) -> None:
        steps.append(remaining)
        writer.execute("INSERT INTO job_events (job, attempt, event) VALUES (1, 1, 'fenced')")

    monkeypatch.setattr(copies, "_PAGES", 5)
    monkeypatch.setattr(copies, "_step", commit)

    copies.copy_database(database_path(state), tmp_path / "copy.db")

    copy = sqlite3.connect(tmp_path / "copy.db")
    assert copy.execute("SELECT count(*) FROM job_events").fetchone() == before
    assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert len(steps) > 5
    assert steps == sorted(steps, reverse=True)
    copy.close()
    writer.close()


# --- killed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["snapshot-step:1", "snapshot-inside:1"])
def test_kill_leaves_no_half_of_a_backup_under_a_name(state: Path, tmp_path: Path, point: str):
    folder = tmp_path / "backups"
    words = [sys.executable, "-m", "llmatic_daemon.commands.backup", str(state), str(folder), "3"]

    killed = subprocess.run(words, env={**os.environ, "LLMATIC_FAILPOINT": point}, check=False)
    left = copies.named(folder, backup.KIND)
    num_drafts = len(content(folder))
    made = back_up(state, folder, keep=3)

    assert killed.returncode == -signal.SIGKILL
    assert (left, num_drafts) == ([], 1)
    assert content(folder) == [Path(made.folder).name], "the next one clears up"


# --- by the daemon -------------------------------------------------------------------------------


async def test_backup_in_another_process_answers_as_one_in_this(state: Path, tmp_path: Path):
    answer = await back_up_beside(state, tmp_path / "backups", 2)

    assert content(tmp_path / "backups") == [Path(answer["folder"]).name]
    assert answer["num_settled"] == verify(state).num_settled


async def test_refusal_in_another_process_is_raised_in_this(state: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreUnavailable, match="must take a backup"):
        await back_up_beside(state, tmp_path / "file" / "backups", 2)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({}, "folder"),
        ({"folder": "backups"}, "folder"),
        ({"folder": 5}, "folder"),
        *(({"folder": "/tmp", "keep": keep}, "keep") for keep in (0, "7", True, None)),
    ],
)
async def test_verb_refuses_what_makes_no_sense(tmp_path: Path, body: Mapping[str, Any], what: str):
    with pytest.raises(UserError, match=f"{what} must be"):
        await backup_verb(tmp_path, lambda finished_at: None)(body)


def test_backups_beside_a_running_search_verify_and_disturb_nothing(tmp_path: Path, folder: Path):
    state, target = tmp_path / "state", tmp_path / "backups"
    with running_daemon(state, folder, "--pause-s", "0.002") as running:
        made = [running.ask("backup", folder=str(target), keep=5) for _ in range(3)]
        by_hand = command("backup", target, "--keep", 2, "--state", state, "--json")

    last = json.loads(by_hand.stdout)
    settled = [each["num_settled"] for each in (*made, last)]
    assert settled == sorted(settled)
    assert settled[0] < settled[-1]
    assert len(content(target)) == 2
    for each in copies.named(target, backup.KIND):
        assert verify(each).faults == ()
    assert verify(state).faults == ()
    assert not [line for line in running.log if "WARNING" in line or "ERROR" in line]
