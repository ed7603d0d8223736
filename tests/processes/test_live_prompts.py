"""A search runs while somebody else edits its prompts at random: no set is ever half or mixed."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.commands.verify import verify
from llmatic_daemon.domain import Edition, Placement
from llmatic_daemon.domain.errors import UserError
from tests.support.daemon import RunningDaemon, folder, running_daemon, wait_until
from tests.support.prompt_editor import File, digest_of

__all__ = ["folder"]

NUM_EDITS = int(os.environ.get("LIVE_PROMPTS_EDITS", "80"))
SEED = int(os.environ.get("LIVE_PROMPTS_SEED", "1"))
SETTLE_S = 0.2

pytestmark = pytest.mark.timeout(1200)


def log_of(state: Path) -> tuple[list[Edition], list[Placement]]:
    with History(state) as history:
        entries = list(history.log())
    return (
        [entry for entry in entries if isinstance(entry, Edition)],
        [entry for entry in entries if isinstance(entry, Placement)],
    )


def digest(edition: Edition) -> str:
    """Name an edition as the editor names its sets."""
    return digest_of((p.id, p.kind.value, p.text, p.weight) for p in edition.prompts.all)


# --- a thousand edits ----------------------------------------------------------------------------


def test_every_set_in_use_is_a_complete_good_one(tmp_path: Path) -> None:
    state, folder, record = tmp_path / "state", tmp_path / "prompts", tmp_path / "record"
    command = [sys.executable, "-m", "tests.support.prompt_editor", str(folder), str(NUM_EDITS)]
    with subprocess.Popen([*command, str(SEED), str(record), str(SETTLE_S)], stdin=subprocess.PIPE) as editor:
        wait_until(lambda: record.exists() and record.stat().st_size > 0)
        with running_daemon(state, folder, "--settle-s", str(SETTLE_S)) as running:
            began = time.monotonic()
            editor.communicate(b"\n", timeout=900)
            edited_s = time.monotonic() - began
            assert editor.returncode == 0
            rows = [json.loads(line) for line in record.read_text().splitlines()]
            last = running.wait_for("adopted", digest=rows[-1]["digest"])
            asked = running.ask("prompts/reload")

    editions, placements = log_of(state)
    _summarise(rows, editions, placements, running, edited_s)
    print(f"the last one in force {last['at'] - rows[-1]['at']:.2f} s after its save")
    assert len(rows) >= NUM_EDITS + 1
    assert digest(editions[-1]) == rows[-1]["digest"]
    assert (asked["changed"], asked["edition"]) == (False, editions[-1].number)
    assert len(editions) > NUM_EDITS / 25
    _check_editions(editions, rows)
    _check_placements(editions, placements)
    assert verify(state).faults == ()
    assert _open_refusals(state) == 0


def _check_editions(editions: list[Edition], rows: list[dict[str, Any]]) -> None:
    good = {row["digest"] for row in rows} - {None}
    odd = [edition.number for edition in editions if digest(edition) not in good]
    slowest_s = max(row["save_s"] for row in rows)
    if odd and slowest_s > SETTLE_S * 0.7:
        pytest.skip(f"a save took {slowest_s:.2f} s: its halves have lain there and settled")
    assert odd == []


def _check_placements(editions: list[Edition], placements: list[Placement]) -> None:
    """Hold each candidate to the edition in force at its proposal.

    Editions that were taken between the same two placements cannot be told apart by numbers.
    """
    assert len(placements) > 50
    for placement in placements:
        seen = placement.number - 1 - placement.staleness
        last = [edition for edition in editions if edition.num_settled < seen][-1:]
        possible = [*last, *(edition for edition in editions if edition.num_settled == seen)]
        versions = {(p.id, p.version) for edition in possible for p in edition.prompts.all}
        assert (placement.prompt, placement.prompt_version) in versions


def _open_refusals(state: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{state}/llmatic.db?mode=ro", uri=True)) as database:
        query = "SELECT count(*) FROM refusals WHERE ended_at IS NULL"
        return int(database.execute(query).fetchone()[0])


def _summarise(
    rows: list[dict[str, Any]],
    editions: list[Edition],
    placements: list[Placement],
    running: RunningDaemon,
    edited_s: float,
) -> None:
    refused = [news for news in running.told if news["event"] == "refused"]
    print(
        f"{len(rows) - 1} edits in {edited_s:.0f} s, after {sum(not r['digest'] for r in rows)} of "
        f"them the set was bad; {len({r['digest'] for r in rows} - {None})} good sets, "
        f"{len(editions)} editions, {len(refused)} refusals, {len(placements)} candidates; "
        f"slowest save {max(r['save_s'] for r in rows) * 1000:.0f} ms"
    )


# --- who may ask for it --------------------------------------------------------------------------

#: So slow that only those who ask are quick.
BLIND = ("--rescan-s", "3600")


def test_saved_prompt_is_in_force_unasked(tmp_path: Path, folder: Path) -> None:
    with running_daemon(tmp_path / "state", folder, *BLIND) as running:
        (folder / "widen.md").write_bytes(File(text="Widen it a lot.").content)

        told = running.wait_for("adopted", edition=2)

    assert told["digest"]


def test_sighup_reloads(tmp_path: Path, folder: Path) -> None:
    below = folder / "below"
    below.mkdir()
    (folder / "widen.md").rename(below / "widen")
    (folder / "widen.md").symlink_to("below/widen")
    with running_daemon(tmp_path / "state", folder, *BLIND) as running:
        (below / "widen").write_bytes(File(text="Widen it a lot.").content)  # nobody sees this

        running.process.send_signal(signal.SIGHUP)
        running.wait_for("adopted", edition=2)


def test_control_socket_reloads_and_tells_what_came_of_it(tmp_path: Path, folder: Path) -> None:
    with running_daemon(tmp_path / "state", folder) as running:
        (folder / "deepen.md").write_bytes(File(text="Deepen it.").content)
        taken = running.ask("prompts/reload")
        again = running.ask("prompts/reload")
        (folder / "widen.md").write_text("Widen {it}.")
        with pytest.raises(UserError) as caught:
            running.ask("prompts/reload")
        refused = running.wait_for("refused")

    assert (taken["edition"], taken["num_prompts"]) == (2, 3)
    assert (again["changed"], again["edition"]) == (False, 2)
    assert f"{folder / 'widen.md'}, line 1: unknown placeholder {{it}}" in str(caught.value)
    assert refused["why"] == str(caught.value)
    assert "".join(running.log).count("unknown placeholder") <= 1


def test_restart_with_a_bad_folder_goes_on_with_the_last_good_set(tmp_path: Path, folder: Path) -> None:
    state = tmp_path / "state"
    with running_daemon(state, folder):
        pass
    (folder / "widen.md").write_text("Widen {it}.")

    with running_daemon(state, folder) as running:
        while_bad = _open_refusals(state)
        (folder / "widen.md").write_bytes(File(text="Widen it.").content)
        answered = running.ask("prompts/reload")

    assert while_bad == 1
    assert (answered["changed"], answered["edition"]) == (False, 1)
    assert _open_refusals(state) == 0
    assert verify(state).faults == ()


def test_refusal_of_an_earlier_life_ends_when_the_folder_was_repaired_meanwhile(
    tmp_path: Path, folder: Path
) -> None:
    state = tmp_path / "state"
    with running_daemon(state, folder) as running:
        (folder / "widen.md").write_text("Widen {it}.")
        running.wait_for("refused")
    while_bad = _open_refusals(state)
    (folder / "widen.md").write_bytes(File(text="Widen it.").content)

    with running_daemon(state, folder) as running:
        running.ask("prompts/reload")

    assert (while_bad, _open_refusals(state)) == (1, 0)
