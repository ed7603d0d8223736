"""The live table shows numbers, slots and the last candidate."""

import io
from dataclasses import replace

from rich.console import Console

from llmatic_daemon.cli.live_table import LiveTable
from llmatic_daemon.domain import Job
from llmatic_daemon.domain.events import Placed, SlotChanged, SlotsResized
from tests.support.metrics import SNAPSHOT
from tests.support.sample_placements import failure, success


def drawn(table: LiveTable) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(table._draw())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_table_before_the_search_shows_slots_that_start() -> None:
    assert "starting" in drawn(LiveTable(Console(), 2))


def test_table_shows_evaluations_coverage_and_best() -> None:
    table = LiveTable(Console(), 1)
    table.watch(lambda: replace(SNAPSHOT, max_evaluations=60))

    text = drawn(table)

    assert "2 of 60" in text
    assert "1/100 cells" in text
    assert "0.5000 (#1)" in text


def test_table_shows_what_a_slot_does() -> None:
    table = LiveTable(Console(), 2)

    table.receive(SlotChanged(slot=1, phase="train", detail="epoch 2 of 8 on cpu:1"))

    assert "epoch 2 of 8 on cpu:1" in drawn(table)


def test_table_shows_the_last_candidate_whatever_became_of_it() -> None:
    table = LiveTable(Console(), 1)

    table.receive(Placed(placement=success(1, Job(number=1, attempt=1))[0]))
    assert "new in cell 0" in drawn(table)

    table.receive(Placed(placement=failure(2, Job(number=2, attempt=1))))
    assert "the world failed" in drawn(table)


def test_table_follows_the_number_of_slots_and_shows_who_still_works() -> None:
    table = LiveTable(Console(), 1)

    table.receive(SlotsResized(num_slots=3))
    table.receive(SlotChanged(slot=2, phase="train", detail="epoch 1"))
    table.receive(SlotsResized(num_slots=1))
    while_it_works = drawn(table)
    table.receive(SlotChanged(slot=2, phase="idle"))

    assert "epoch 1" in while_it_works
    assert len(while_it_works.splitlines()) == len(drawn(table).splitlines()) + 1
