"""The prompt desk: a set is taken whole or not at all, and each trouble is told once."""

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from llmatic_daemon.adapters.prompts.watcher import PromptFolder
from llmatic_daemon.daemon.prompt_reload import PromptReloader, Reloaded
from llmatic_daemon.domain import Edition, PromptSet
from llmatic_daemon.domain.errors import ConfigurationError, Outdated, StoreUnavailable
from llmatic_daemon.domain.events import Event, PromptsAdopted, PromptsRejected
from llmatic_daemon.search.summaries import describe
from tests.support.engine import EngineHarness
from tests.support.fakes import Barrier, ErrorScript, FakeObserver, FlakyStore, evolution

AXIS_SIZE = 3
BAD = "+++\nkid = 1\n+++\nWiden it."


class DeskStore(FlakyStore):
    """Its prompt sets and refusals can fail, or be held."""

    def __init__(self) -> None:
        super().__init__()
        self.adopt_faults = ErrorScript()
        self.refusal_faults = ErrorScript()
        self.adopt_barrier: Barrier | None = None

    async def adopt(self, edition: Edition) -> None:
        if self.adopt_barrier:
            await self.adopt_barrier.wait()
        self.adopt_faults.raise_next()
        await super().adopt(edition)

    async def note_refusal(self, why: str) -> None:
        self.refusal_faults.raise_next()
        await super().note_refusal(why)


class ReloadHarness:
    """A desk, its folder with one good prompt for each operator, and an engine that has them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("widen", "Widen it.")
        self.write("join", '+++\nkind = "crossover"\n+++\nJoin them.')
        self.store = DeskStore()
        self.harness = EngineHarness(start=evolution(num_prompts=1), store=self.store)
        self.engine = self.harness.engine()
        self.watch = PromptFolder(folder, settle_s=0.001, rescan_s=0.1)
        self.reloader = PromptReloader(
            self.watch, self.engine, self.store, axis_size=AXIS_SIZE, events=self.harness.events
        )

    def write(self, name: str, text: str) -> None:
        (self.folder / f"{name}.md").write_text(text)

    async def refused(self) -> str:
        """Look at the folder, and return why it is refused."""
        with pytest.raises(ConfigurationError) as caught:
            await self.reloader.reload()
        return str(caught.value)

    @property
    def in_force(self) -> PromptSet:
        return self.engine.evolution.prompts.current


@pytest.fixture
def reload_harness(tmp_path: Path) -> ReloadHarness:
    return ReloadHarness(tmp_path)


@pytest.fixture
async def opened(reload_harness: ReloadHarness) -> ReloadHarness:
    """A harness whose folder is active, as edition 2."""
    await reload_harness.reloader.reload()
    reload_harness.harness.observer.editions.clear()
    reload_harness.store.memory.refusals.clear()
    return reload_harness


def messages(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == level and "llmatic" in r.name]


# --- good sets -----------------------------------------------------------------------------------


async def test_good_edit_is_taken_told_and_logged(opened: ReloadHarness, caplog: pytest.LogCaptureFixture):
    opened.write("deepen", "Deepen it.")

    reloaded = await opened.reloader.reload()

    assert reloaded == Reloaded(changed=True, edition=3, num_prompts=3, digest=opened.in_force.digest)
    assert [p.name for p in opened.in_force.all] == ["deepen v1", "widen v1", "join v1"]
    (edition,) = opened.harness.observer.editions
    assert opened.store.memory.editions[-1] == edition
    assert messages(caplog, logging.INFO)[-1] == (
        "prompts: edition 3, 2 for mutation and join v1, after 0 settled candidates; 0 cells emptied"
    )


async def test_same_files_are_no_edition(opened: ReloadHarness, caplog: pytest.LogCaptureFixture):
    caplog.clear()

    assert await opened.reloader.reload() == Reloaded(
        changed=False, edition=2, num_prompts=2, digest=opened.in_force.digest
    )

    assert len(opened.store.memory.editions) == 2
    assert opened.harness.observer.editions == []
    assert messages(caplog, logging.INFO) == []


def test_line_of_an_edition_counts_the_cells_that_it_empties():
    edition = evolution(num_prompts=2).prompts.edition
    assert edition is not None

    line = describe(replace(edition, number=7, num_settled=40, emptied=(3, 5)))

    assert line == (
        "prompts: edition 7, 2 for mutation and crossover v1, after 40 settled candidates; 2 cells emptied"
    )


# --- bad sets ------------------------------------------------------------------------------------


async def test_bad_edit_leaves_the_last_good_set_in_force(
    opened: ReloadHarness, caplog: pytest.LogCaptureFixture
):
    before = opened.in_force
    opened.write("deepen", "Deepen it.")
    opened.write("widen", BAD)

    why = await opened.refused()

    assert why.startswith(f"{opened.folder / 'widen.md'}, line 2: unknown setting 'kid'")
    assert opened.in_force == before
    assert opened.harness.observer.refusals == [why]
    assert opened.store.memory.refusals == [why]
    assert messages(caplog, logging.ERROR) == [f"prompts are rejected, the active ones stay: {why}"]


async def test_refusal_is_told_once_however_often_the_folder_is_looked_at(
    opened: ReloadHarness, caplog: pytest.LogCaptureFixture
):
    opened.write("widen", BAD)

    whys = {await opened.refused() for _ in range(3)}

    assert opened.harness.observer.refusals == [*whys]
    assert opened.store.memory.refusals == [*whys]
    assert len(messages(caplog, logging.ERROR)) == 1


async def test_each_trouble_is_told(opened: ReloadHarness):
    opened.write("widen", BAD)
    first = await opened.refused()
    opened.write("widen", "Widen {it}.")
    second = await opened.refused()
    opened.write("widen", BAD)
    third = await opened.refused()

    assert opened.harness.observer.refusals == [first, second, third]
    assert first == third != second


async def test_refusal_ends_when_the_folder_is_as_before(
    opened: ReloadHarness, caplog: pytest.LogCaptureFixture
):
    opened.write("widen", BAD)
    why = await opened.refused()
    opened.write("widen", "Widen it.")

    reloaded = await opened.reloader.reload()

    assert not reloaded.changed
    assert opened.store.memory.refusals == [why, ""]
    assert messages(caplog, logging.INFO)[-1] == "the prompt folder is valid again"


async def test_refusal_ends_with_the_next_good_set(opened: ReloadHarness):
    opened.write("widen", BAD)
    why = await opened.refused()
    opened.write("widen", "Widen it a lot.")

    assert (await opened.reloader.reload()).changed

    assert opened.store.memory.refusals == [why, ""]
    assert opened.in_force.mutation[0].text == "Widen it a lot."


async def test_refusal_of_an_earlier_life_ends_when_the_folder_is_found_good(reload_harness: ReloadHarness):
    await reload_harness.store.note_refusal("widen.md, line 2: unknown setting 'kid'")

    await reload_harness.reloader.reload()

    assert reload_harness.store.memory.refusals[-1] == ""


async def test_more_prompts_than_slots_are_refused_as_a_whole(opened: ReloadHarness):
    before = opened.in_force
    for number in range(AXIS_SIZE):
        opened.write(f"p{number}", f"Do {number}.")

    why = await opened.refused()

    assert why.startswith("there must be at most 3 mutation prompts (archives.prompt_axis_size), found 4")
    assert opened.in_force == before
    assert opened.store.memory.refusals == [why]


async def test_folder_that_is_gone_leaves_the_last_good_set_in_force(opened: ReloadHarness):
    before = opened.in_force
    for file in opened.folder.iterdir():
        file.unlink()
    opened.folder.rmdir()

    why = await opened.refused()

    assert "must be a readable folder of prompts" in why
    assert opened.in_force == before


async def test_edit_built_on_a_set_that_is_not_in_force_any_more_is_lost(opened: ReloadHarness):
    known = opened.reloader.digest
    opened.write("widen", "Widen it a lot.")
    mine = await opened.reloader.reload(known)
    opened.write("widen", "Widen it a little.")

    with pytest.raises(Outdated, match=r"must be those of .*, found '.*'; read them"):
        await opened.reloader.reload(known)

    assert opened.in_force.digest == mine.digest != known
    assert opened.harness.observer.refusals == []
    assert (await opened.reloader.reload(mine.digest)).changed


async def test_of_two_edits_built_on_the_same_set_one_is_lost(opened: ReloadHarness):
    known = opened.reloader.digest
    opened.write("widen", "Widen it a lot.")

    said = await asyncio.gather(
        opened.reloader.reload(known), opened.reloader.reload(known), return_exceptions=True
    )

    assert [type(each) for each in said] == [Reloaded, Outdated]


# --- a store that fails --------------------------------------------------------------------------


async def test_set_that_cannot_be_kept_is_not_in_force_and_tried_again(opened: ReloadHarness):
    before = opened.in_force
    opened.store.adopt_faults = ErrorScript(StoreUnavailable("the disk is full"))
    opened.write("widen", "Widen it a lot.")

    with pytest.raises(StoreUnavailable):
        await opened.reloader.reload()
    meanwhile = opened.in_force
    reloaded = await opened.reloader.reload()

    assert meanwhile == before
    assert reloaded == Reloaded(changed=True, edition=3, num_prompts=2, digest=opened.in_force.digest)
    assert opened.in_force.mutation[0].text == "Widen it a lot."
    assert opened.harness.observer.refusals == []


async def test_refusal_that_cannot_be_kept_is_told_once_and_kept_later(opened: ReloadHarness):
    opened.store.refusal_faults = ErrorScript(*[StoreUnavailable("the disk is full")] * 2)
    opened.write("widen", BAD)

    whys = {await opened.refused() for _ in range(4)}

    assert opened.harness.observer.refusals == [*whys]
    assert opened.store.memory.refusals == [*whys]


async def test_end_of_a_refusal_that_cannot_be_kept_is_kept_later(
    opened: ReloadHarness, caplog: pytest.LogCaptureFixture
):
    opened.write("widen", BAD)
    why = await opened.refused()
    opened.store.refusal_faults = ErrorScript(StoreUnavailable("the disk is full"))
    opened.write("widen", "Widen it a lot.")

    first, second = await opened.reloader.reload(), await opened.reloader.reload()

    assert (first.changed, second.changed) == (True, False)
    assert opened.store.memory.refusals == [why, ""]
    assert messages(caplog, logging.INFO).count("the prompt folder is valid again") == 1


# --- several at once, and for ever ---------------------------------------------------------------


async def test_reloads_at_once_take_one_edition(opened: ReloadHarness):
    opened.write("widen", "Widen it a lot.")

    reloads = await asyncio.gather(*(opened.reloader.reload() for _ in range(5)))

    assert sorted(reloaded.changed for reloaded in reloads) == [False] * 4 + [True]
    assert {reloaded.edition for reloaded in reloads} == {3}


async def test_reload_that_is_cancelled_while_it_is_kept_has_kept_it(opened: ReloadHarness):
    opened.store.adopt_barrier = barrier = Barrier()
    opened.write("widen", "Widen it a lot.")
    reloading = asyncio.create_task(opened.reloader.reload())
    await barrier.arrivals()

    reloading.cancel()
    barrier.open()
    with pytest.raises(asyncio.CancelledError):
        await reloading

    assert opened.store.memory.editions[-1].prompts == opened.in_force
    assert (await opened.reloader.reload()) == Reloaded(
        changed=False, edition=3, num_prompts=2, digest=opened.in_force.digest
    )


async def test_watch_takes_edits_and_survives_bad_ones_and_a_store_that_fails(opened: ReloadHarness):
    opened.store.adopt_faults = ErrorScript(StoreUnavailable("the disk is full"))
    news = NewsObserver()
    opened.harness.events.subscribe(news.receive)
    watching = asyncio.create_task(opened.reloader.watch())
    try:
        async with asyncio.timeout(5):
            opened.write("widen", BAD)
            await news.heard.get()
            opened.write("widen", "Widen it a lot.")
            await news.heard.get()
    finally:
        watching.cancel()
        await asyncio.wait([watching])

    assert watching.cancelled()
    assert opened.in_force.mutation[0].text == "Widen it a lot."


class NewsObserver(FakeObserver):
    """Remembers what it hears of prompts, for somebody who waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: asyncio.Queue[object] = asyncio.Queue()

    def receive(self, event: Event) -> None:
        if isinstance(event, PromptsAdopted | PromptsRejected):
            self.heard.put_nowait(event)
