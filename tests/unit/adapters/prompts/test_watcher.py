"""The prompt folder met for real: every way of saving is seen, and no half file is ever read."""

import asyncio
import os
import shutil
import threading
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from llmatic_daemon.adapters.prompts import watcher
from llmatic_daemon.adapters.prompts.prompt_files import FolderSnapshot, snapshot
from llmatic_daemon.adapters.prompts.watcher import PromptFolder
from llmatic_daemon.domain import Prompt
from llmatic_daemon.domain.errors import ConfigurationError
from tests.support.prompt_editor import STYLES

#: Far longer than any of it takes.
GENEROUS_S = 5.0
NEVER_S = 3600.0
OLD, NEW = "Widen it.", "Widen it a lot.\nAnd deepen it, in a second line."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "prompts"
    fill(folder, OLD)
    return folder


def fill(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / "join.md").write_text('+++\nkind = "crossover"\n+++\nJoin them.\n')
    (folder / "widen.md").write_text(text)


def watched(folder: Path, *, rescan_s: float = NEVER_S, settle_s: float = 0.05) -> PromptFolder:
    return PromptFolder(folder, settle_s=settle_s, rescan_s=rescan_s)


def text_of(prompts: tuple[Prompt, ...]) -> str:
    return next(prompt.text for prompt in prompts if prompt.id == "widen")


async def texts_until(
    watch: PromptFolder, wanted: str, change: Callable[[], object], *, probe: Path | None
) -> list[str]:
    """Read at each stirring until the wanted text is there; return all texts that were read.

    Args:
        watch: The folder.
        wanted: The last text.
        change: What is done once the watch is on.
        probe: A hidden file that is touched until the watch is on; None: change at once.
    """
    texts: list[str] = []
    async with asyncio.timeout(GENEROUS_S), aclosing(watch.changes()) as changes:
        await anext(changes)  # the one at the start
        if probe:
            await _until_it_is_on(anext(changes), probe)
        change()
        while wanted not in texts:
            await anext(changes)
            try:
                texts.append(text_of(await watch.read()))
            except ConfigurationError as error:
                texts.append(str(error))
    return texts


async def _until_it_is_on(stirring: Awaitable[None], probe: Path) -> None:
    waiting = asyncio.ensure_future(stirring)
    try:
        while not waiting.done():
            _touch(probe)
            await asyncio.wait([waiting], timeout=0.05)
    finally:
        waiting.cancel()
    os.unlink(probe)


def _touch(file: Path) -> None:
    file.touch()


# --- how editors save ----------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
async def test_save_is_seen_and_read_whole(folder: Path, style: str):
    def save() -> None:
        STYLES[style](folder / "widen.md", NEW.encode())

    texts = await texts_until(watched(folder), NEW, save, probe=folder / ".probe")

    assert set(texts) <= {OLD, NEW}


async def test_save_of_many_files_by_one_swapped_link_is_seen(tmp_path: Path):
    """So Kubernetes mounts a ConfigMap: each file is a link through `..data`, which is swapped."""
    folder = tmp_path / "prompts"
    folder.mkdir()
    fill(folder / "..1", OLD)
    fill(folder / "..2", NEW)
    (folder / "..data").symlink_to("..1")
    for name in ("join.md", "widen.md"):
        (folder / name).symlink_to(f"..data/{name}")

    def swap() -> None:
        (folder / "..data_tmp").symlink_to("..2")
        (folder / "..data_tmp").replace(folder / "..data")
        shutil.rmtree(folder / "..1")

    texts = await texts_until(watched(folder), NEW, swap, probe=folder / ".probe")

    assert set(texts) <= {OLD, NEW}


async def test_new_and_removed_files_are_seen(folder: Path):
    watch = watched(folder)

    def replace() -> None:
        (folder / "deepen.md").write_text("Deepen it.")
        (folder / "widen.md").unlink()

    async with asyncio.timeout(GENEROUS_S), aclosing(watch.changes()) as changes:
        await anext(changes)
        await _until_it_is_on(anext(changes), folder / ".probe")
        replace()
        while [p.id for p in await watch.read()] != ["deepen", "join"]:
            await anext(changes)


async def test_touch_without_a_change_stirs_and_gives_the_same_reading(folder: Path):
    watch = watched(folder)
    before = await watch.settled()

    async with asyncio.timeout(GENEROUS_S), aclosing(watch.changes()) as changes:
        await anext(changes)
        await _until_it_is_on(anext(changes), folder / "widen.md~")
        (folder / "widen.md").touch()
        (folder / "widen.md").chmod(0o600)
        await anext(changes)

    assert await watch.settled() == before


async def test_name_that_is_not_utf_8_does_not_end_the_watch(folder: Path):
    def save() -> None:
        with open(os.fsencode(folder) + b"/\xff.txt", "w") as file:
            file.write("no prompt")
        (folder / "widen.md").write_text(NEW)

    texts = await texts_until(watched(folder, rescan_s=0.1), NEW, save, probe=folder / ".probe")

    assert texts[-1] == NEW


# --- the folder itself ---------------------------------------------------------------------------


async def test_folder_that_is_deleted_and_made_anew_is_seen_by_looking(folder: Path):
    def remake() -> None:
        shutil.rmtree(folder)
        fill(folder, NEW)

    texts = await texts_until(watched(folder, rescan_s=0.1), NEW, remake, probe=folder / ".probe")

    assert texts[-1] == NEW


async def test_folder_that_was_made_anew_is_watched_again(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Its inode may have the number of the one before: ext4 gives a deleted one's to the next."""
    begun: list[Path] = []
    monkeypatch.setattr(watchfiles, "awatch", _noting(watchfiles.awatch, begun))

    async with asyncio.timeout(GENEROUS_S), aclosing(watched(folder, rescan_s=0.1).changes()) as changes:
        await anext(changes)
        await _until_it_is_on(anext(changes), folder / ".probe")
        shutil.rmtree(folder)
        fill(folder, NEW)
        while len(begun) < 2:
            await anext(changes)

    assert begun == [folder, folder]


def _noting(awatch: Callable[..., Any], begun: list[Path]) -> Callable[..., Any]:
    def noted(path: Path, **options: Any) -> Any:
        begun.append(path)
        return awatch(path, **options)

    return noted


async def test_missing_folder_is_waited_for(tmp_path: Path):
    folder = tmp_path / "prompts"
    watch = watched(folder, rescan_s=0.05)

    texts = await texts_until(watch, NEW, lambda: fill(folder, NEW), probe=None)

    assert texts[-1] == NEW


async def test_link_to_the_folder_that_is_swapped_is_seen_by_looking(tmp_path: Path):
    for name, text in (("first", OLD), ("second", NEW)):
        fill(tmp_path / name, text)
    link = tmp_path / "prompts"
    link.symlink_to("first")

    def swap() -> None:
        (tmp_path / "other").symlink_to("second")
        (tmp_path / "other").replace(link)

    texts = await texts_until(watched(link, rescan_s=0.1), NEW, swap, probe=tmp_path / "first" / ".probe")

    assert set(texts) <= {OLD, NEW}


# --- settling ------------------------------------------------------------------------------------


@pytest.fixture
def after_readings(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """Give a list of what is done after each reading, one after the other."""
    steps: list[Callable[[], object]] = []

    def read(folder: Path) -> FolderSnapshot:
        taken = snapshot(folder)
        if steps:
            steps.pop(0)()
        return taken

    monkeypatch.setattr(watcher, "snapshot", read)
    return steps


async def test_half_a_file_is_not_read(folder: Path, after_readings: list[Callable[[], object]]):
    path = folder / "widen.md"
    path.write_text(NEW[:10])
    after_readings += [
        lambda: path.write_text(NEW[:20]),
        lambda: path.write_text(""),
        lambda: path.write_text(NEW),
    ]

    prompts = await watched(folder, settle_s=0.001).read()

    assert text_of(prompts) == NEW
    assert after_readings == []


async def test_settled_folder_is_read_once(folder: Path, after_readings: list[Callable[[], object]]):
    watch = watched(folder, settle_s=0.001)
    first = await watch.settled()
    after_readings += [lambda: None, lambda: None]

    second = await watch.settled()

    assert second == first
    assert len(after_readings) == 1


async def test_change_that_is_taken_back_is_read_as_it_was(
    folder: Path, after_readings: list[Callable[[], object]]
):
    watch, path = watched(folder, settle_s=0.001), folder / "widen.md"
    first = await watch.settled()
    path.write_text(NEW)
    after_readings.append(lambda: path.write_text(OLD))

    assert await watch.settled() == first


async def test_folder_that_never_rests_is_given_up_with_one_line(
    folder: Path, after_readings: list[Callable[[], object]]
):
    path = folder / "widen.md"
    after_readings += [lambda number=number: path.write_text(f"Widen {number}") for number in range(1000)]

    with pytest.raises(ConfigurationError) as caught:
        await watched(folder, settle_s=0.001).read()

    assert str(caught.value) == (
        f"{folder}: prompts must stay unchanged for 0.001 s, found changes in 25 readings; "
        "stop the program that writes there"
    )


async def test_bad_file_is_named_with_its_line(folder: Path):
    (folder / "widen.md").write_text("+++\nweight = 2.0\nkid = 1\n+++\nWiden it.")

    with pytest.raises(ConfigurationError, match=r"widen\.md, line 3: unknown setting 'kid'"):
        await watched(folder).read()


async def test_missing_folder_is_refused_when_it_is_read(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="must be a readable folder of prompts"):
        await watched(tmp_path / "nowhere").read()


# --- the end -------------------------------------------------------------------------------------


def test_cancelled_watch_ends_at_once_and_leaves_no_thread(folder: Path):
    before = set(threading.enumerate())

    asyncio.run(_cancelled_watch(folder))
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(1.0)

    assert not any(thread.is_alive() for thread in left)


async def _cancelled_watch(folder: Path) -> None:
    stirred = asyncio.Event()

    async def watch() -> None:
        async for _ in watched(folder).changes():
            stirred.set()

    watching = asyncio.create_task(watch())
    async with asyncio.timeout(GENEROUS_S):
        await stirred.wait()
        stirred.clear()
        await _until_it_is_on(stirred.wait(), folder / ".probe")
    watching.cancel()
    async with asyncio.timeout(1.0):
        await asyncio.wait([watching])
    assert watching.cancelled()


async def test_cancelled_settling_ends_at_once(folder: Path):
    settling = asyncio.create_task(watched(folder, settle_s=3600.0).settled())
    await asyncio.sleep(0)

    settling.cancel()
    async with asyncio.timeout(1.0):
        await asyncio.wait([settling])

    assert settling.cancelled()


def _num_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_watch_that_ends_keeps_nothing_open(folder: Path):
    async def look_once() -> None:
        async with aclosing(watched(folder).changes()) as changes:
            await anext(changes)
            await _until_it_is_on(anext(changes), folder / ".probe")

    async with asyncio.timeout(GENEROUS_S):
        await look_once()
        before = _num_descriptors()
        await look_once()

    assert _num_descriptors() <= before


async def test_folder_that_cannot_be_watched_is_looked_at_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As when inotify's instances are used up: watchfiles raises a plain RuntimeError then."""

    def refused(*_: object, **__: object) -> None:
        raise RuntimeError("Too many open files (os error 24)")

    monkeypatch.setattr("watchfiles.main.RustNotify", refused)
    folder = PromptFolder(tmp_path, settle_s=0.01, rescan_s=0.02)

    async with asyncio.timeout(5), aclosing(folder.changes()) as changes:
        for _ in range(3):
            await anext(changes)
