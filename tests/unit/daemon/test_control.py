"""What a person may ask: each verb over a real socket, with an engine at work and its fakes."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from llmatic_daemon import config
from llmatic_daemon.adapters.http.control_socket import ask
from llmatic_daemon.adapters.metrics.observer import Metrics
from llmatic_daemon.adapters.prompts.watcher import PromptFolder
from llmatic_daemon.adapters.storage.notes import pause_note
from llmatic_daemon.adapters.storage.state_folder import CONTROL_SOCKET, PAUSE_NOTE
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.daemon.control_commands import ControlCommands
from llmatic_daemon.daemon.prompt_reload import PromptReloader
from llmatic_daemon.daemon.reload import Reloader
from llmatic_daemon.domain import SearchStatus
from llmatic_daemon.domain.errors import ConfigurationError, TrainerUnavailable, UserError
from llmatic_daemon.engine.engine import Engine
from tests.support.daemon import wait_until
from tests.support.engine import EngineHarness, until
from tests.support.fakes import AXIS_SIZE, ErrorScript, evolution
from tests.support.metrics import SNAPSHOT, samples
from tests.support.web import free_port, status_and_body

TOKEN = "5e7c0de5e7c0de5e7c0de"


async def belongs(settings: Settings) -> None:
    """Refuse another seed, as the store does."""
    if settings.search.seed != 1:
        raise ConfigurationError("state folder must belong to this search, found another: seed")


@dataclass
class DaemonHarness:
    """A paused engine with one slot and two device workers, and what controls them, in a folder."""

    folder: Path
    harness: EngineHarness = field(default_factory=lambda: EngineHarness(start=evolution(num_prompts=1)))
    check: Callable[[Settings], Awaitable[None]] = belongs
    #: For control over TCP; 0: none.
    port: int = 0

    def __post_init__(self) -> None:
        self.prompts = self.folder / "prompts"
        self.state = self.folder / "state"
        for made in (self.prompts, self.state):
            made.mkdir(exist_ok=True)
        (self.prompts / "widen.md").write_text("Widen it.")
        (self.prompts / "join.md").write_text('+++\nkind = "crossover"\n+++\nJoin them.')
        self.write(f"[control]\nport = {self.port}")
        self.engine: Engine = self.harness.engine()
        watch = PromptFolder(self.prompts, settle_s=0.001, rescan_s=0.1)
        self.prompt_reloader = PromptReloader(
            watch, self.engine, self.harness.store, axis_size=AXIS_SIZE, events=self.harness.events
        )
        settings = self.read()
        self.reloader = Reloader(
            settings,
            self.read,
            self.check,
            engine=self.engine,
            trainer=self.harness.trainer,
            prompts=self.prompt_reloader,
        )
        self.metrics = Metrics("1.2.3", 1, ())
        self.harness.events.subscribe(self.metrics.receive)
        self.commands = ControlCommands(
            settings,
            engine=self.engine,
            prompts=self.prompt_reloader,
            reloader=self.reloader,
            view=self.view,
            token=TOKEN,
            events=self.harness.events,
        )

    def view(self) -> SearchStatus:
        return SNAPSHOT

    def write(self, text: str = "") -> None:
        (self.folder / "llmatic.toml").write_text(f'state_dir = "state"\n{text}')

    def read(self) -> Settings:
        file = self.folder / "llmatic.toml"
        return config.load(file, preset="demo", environment={})

    async def ask(self, verb: str, **body: Any) -> dict[str, Any]:
        return dict(await ask(self.state, verb, body))

    async def refused(self, verb: str, **body: Any) -> str:
        with pytest.raises(UserError) as caught:
            await self.ask(verb, **body)
        return str(caught.value)


@asynccontextmanager
async def served(daemon: DaemonHarness) -> AsyncIterator[DaemonHarness]:
    """Serve the control socket."""
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(daemon.commands.serve({}, asyncio.Event()))
        await asyncio.to_thread(wait_until, (daemon.state / CONTROL_SOCKET).is_socket)
        yield daemon
        serving.cancel()


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[DaemonHarness]:
    async with served(DaemonHarness(tmp_path)) as daemon:
        yield daemon


# --- pause and resume ----------------------------------------------------------------------------


async def test_pause_and_resume_tell_whether_they_changed_anything(daemon: DaemonHarness):
    said = [await daemon.ask(verb) for verb in ("pause", "pause", "resume", "resume")]

    assert said == [
        {"is_paused": True, "changed": True},
        {"is_paused": True, "changed": False},
        {"is_paused": False, "changed": True},
        {"is_paused": False, "changed": False},
    ]
    assert not daemon.engine.is_paused


async def test_pause_outlives_the_daemon(daemon: DaemonHarness, caplog: pytest.LogCaptureFixture):
    await daemon.ask("pause")
    since = pause_note.read(daemon.state)
    next_life = DaemonHarness(daemon.folder)

    await next_life.commands.recall()

    assert next_life.engine.is_paused
    assert f"paused since {since}; 'llmatic-daemon resume' continues it" in caplog.text


async def test_resume_outlives_the_daemon(daemon: DaemonHarness):
    await daemon.ask("pause")
    await daemon.ask("resume")
    next_life = DaemonHarness(daemon.folder)

    await next_life.commands.recall()

    assert not next_life.engine.is_paused
    assert not (daemon.state / PAUSE_NOTE).exists()


async def test_second_pause_keeps_the_time_of_the_first(daemon: DaemonHarness):
    await daemon.ask("pause")
    (daemon.state / PAUSE_NOTE).write_text("long ago\n")
    await daemon.ask("pause")

    assert pause_note.read(daemon.state) == "long ago"


async def test_pause_that_cannot_be_noted_holds_and_says_so(daemon: DaemonHarness):
    (daemon.state / f".{PAUSE_NOTE}.new").mkdir()  # the place of the half-written note

    said = await daemon.refused("pause")

    assert "paused' must be writable, or a restart does not know of it" in said
    assert daemon.engine.is_paused


# --- drain, slots, status ------------------------------------------------------------------------


async def test_drain_is_answered_at_once_and_ends_the_search(daemon: DaemonHarness):
    running = asyncio.create_task(daemon.engine.run())
    await until(lambda: bool(daemon.harness.outcomes))

    said = await daemon.ask("drain")

    assert said == {"is_draining": True, "drain_s": daemon.read().engine.drain_s}
    assert await running == "drained as asked"


async def test_slots_are_changed(daemon: DaemonHarness):
    assert await daemon.ask("slots", slots=5) == {"before": 1, "slots": 5}
    assert daemon.engine.num_slots == 5


@pytest.mark.parametrize("wish", [0, -1, 1025, True, 2.0, "3", None])
async def test_slots_that_cannot_be_are_refused(daemon: DaemonHarness, wish: object):
    said = await daemon.refused("slots", slots=wish)

    assert said == f"slots must be an integer from 1 to 1024, got {wish!r}"
    assert daemon.engine.num_slots == 1


async def test_status_is_the_snapshot_and_names_the_prompts(daemon: DaemonHarness):
    said = await daemon.ask("status")

    assert said["num_slots"] == SNAPSHOT.num_slots
    assert said["is_paused"] is SNAPSHOT.is_paused
    assert said["prompt_set_digest"] == daemon.engine.evolution.prompts.current.digest


@pytest.mark.parametrize("verb", ["pause", "resume", "drain", "reload", "prompts/reload", "status"])
async def test_body_that_a_verb_does_not_know_is_refused(daemon: DaemonHarness, verb: str):
    said = await daemon.refused(verb, slots=3)

    assert said.startswith("the body may hold ")
    assert said.endswith(", found 'slots'")
    assert not daemon.engine.is_paused
    assert not daemon.engine.is_draining


@pytest.mark.parametrize("verb", ["reload", "prompts/reload"])
async def test_lost_if_match_answers_412_and_changes_nothing(daemon: DaemonHarness, verb: str):
    await daemon.ask("prompts/reload")
    before = daemon.prompt_reloader.digest
    daemon.write("[engine]\nslots = 4")
    (daemon.prompts / "widen.md").write_text("Widen it a lot.")

    lost, _ = await status_and_body(daemon.state, "POST", verb, headers={"If-Match": '"old"'})
    after_lost = (daemon.prompt_reloader.digest, daemon.engine.num_slots)
    won, _ = await status_and_body(daemon.state, "POST", verb, headers={"If-Match": before})

    assert (lost, won) == (412, 200)
    assert after_lost == (before, 1)
    assert daemon.prompt_reloader.digest != before


async def test_changes_are_logged_and_looks_are_not(daemon: DaemonHarness, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "llmatic_daemon"):
        await daemon.ask("status")
        await daemon.ask("pause")

    said = [record.getMessage() for record in caplog.records if "requested by" in record.message]
    assert [line.split(",")[0] for line in said] == ["pause"]


async def test_daemon_without_a_socket_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    daemon = DaemonHarness(tmp_path)
    (daemon.state / CONTROL_SOCKET).write_text("precious")

    listening = asyncio.Event()
    serving = asyncio.create_task(daemon.commands.serve({}, listening))
    await listening.wait()
    serving.cancel()

    assert "control socket: expected" in caplog.text
    assert "continuing without it" in caplog.text


# --- over TCP ------------------------------------------------------------------------------------


async def test_wrong_tokens_are_counted_and_logged_and_change_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    daemon = DaemonHarness(tmp_path, port=free_port())
    url = f"http://127.0.0.1:{daemon.port}/pause"
    async with served(daemon), aiohttp.ClientSession() as client:
        statuses = []
        for given in ("", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"):
            async with client.post(url, headers={"Authorization": given}) as response:
                statuses.append(response.status)
        paused_by_the_wrong = daemon.engine.is_paused
        async with client.post(url, headers={"Authorization": f"Bearer {TOKEN}"}) as response:
            statuses.append(response.status)

    found = samples(daemon.metrics)
    assert statuses == [401, 401, 401, 401, 200]
    assert (paused_by_the_wrong, daemon.engine.is_paused) == (False, True)
    assert found["llmatic_auth_failures_total",] == 4
    assert found["llmatic_http_requests_total", "/pause", "4xx"] == 4
    assert found["llmatic_http_requests_total", "/pause", "2xx"] == 1
    assert caplog.text.count("denied: POST /pause: expected the API token") == 4
    assert TOKEN[:-1] not in caplog.text


async def test_verbs_that_nobody_has_asked_for_yet_are_exported_as_0(tmp_path: Path):
    daemon = DaemonHarness(tmp_path, port=free_port())
    async with served(daemon):
        found = samples(daemon.metrics)

    assert found["llmatic_http_requests_total", "/prompts/reload", "2xx"] == 0


# --- reload --------------------------------------------------------------------------------------


async def test_reload_changes_what_it_can_and_names_the_rest(daemon: DaemonHarness):
    daemon.write(
        '[engine]\nslots = 4\nretry_s = 7.0\n[training]\ndevices = ["cpu", "cuda:0"]\n'
        '[writer.endpoints.coder]\nkind = "openai"\n'
    )
    (daemon.prompts / "widen.md").write_text("Widen it a lot.")

    said = await daemon.ask("reload")

    assert said["changed"] == ["training.devices", "engine.slots"]
    assert said["needs_restart"] == ["writer.endpoints.coder", "engine.retry_s"]
    assert said["prompts"]["changed"]
    assert daemon.engine.num_slots == 4
    assert daemon.harness.trainer.devices == ("cpu", "cuda:0")


async def test_reload_reads_the_old_name_of_a_setting(daemon: DaemonHarness):
    daemon.write('[training]\nplaces = ["cpu", "cuda:0"]\n')

    assert "training.devices" in (await daemon.ask("reload"))["changed"]


async def test_second_reload_changes_nothing_and_names_the_rest_again(daemon: DaemonHarness):
    daemon.write("[engine]\nslots = 4\nretry_s = 7.0")
    await daemon.ask("reload")

    said = await daemon.ask("reload")

    assert (said["changed"], said["needs_restart"]) == ([], ["engine.retry_s"])
    assert not said["prompts"]["changed"]


async def test_reload_brings_back_what_the_file_says_after_slots(daemon: DaemonHarness):
    daemon.write("[engine]\nslots = 2")
    await daemon.ask("slots", slots=7)

    assert (await daemon.ask("reload"))["changed"] == ["engine.slots"]
    assert daemon.engine.num_slots == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[engine]\nslots = 4\nretry_s = 0", "engine.retry_s must be above 0, got 0"),
        ("[engine]\nslots = 4\nslotz = 4", "unknown setting 'engine.slotz'"),
        ("[engine]\nslots = 4\n[training]\ndevices = []", "devices must name at least one device"),
        ("[engine]\nslots = 4\n[search]\nseed = 2", "must belong to this search"),
        ("[engine\nslots = 4", "must be TOML"),
    ],
)
async def test_bad_settings_change_nothing(daemon: DaemonHarness, text: str, why: str):
    (daemon.prompts / "widen.md").write_text("Widen it a lot.")
    before = daemon.prompt_reloader.digest
    daemon.write(text)

    said = await daemon.refused("reload")

    assert why in said
    assert (daemon.engine.num_slots, daemon.harness.trainer.devices) == (1, ())
    assert daemon.prompt_reloader.digest == before


async def test_settings_file_that_is_gone_changes_nothing(daemon: DaemonHarness):
    (daemon.folder / "llmatic.toml").unlink()

    assert "must be a readable configuration file" in await daemon.refused("reload")


async def test_bad_prompts_change_no_setting(daemon: DaemonHarness):
    daemon.write("[engine]\nslots = 4")
    (daemon.prompts / "widen.md").write_text("Widen {it}.")

    said = await daemon.refused("reload")

    assert "widen.md, line 1: unknown placeholder {it}" in said
    assert daemon.engine.num_slots == 1


async def test_place_that_does_not_start_changes_no_setting(daemon: DaemonHarness):
    daemon.write('[engine]\nslots = 4\n[training]\ndevices = ["cuda:9"]')
    daemon.harness.trainer.faults = ErrorScript(TrainerUnavailable("no cuda:9"))

    said = await status_and_body(daemon.state, "POST", "reload")
    again = await daemon.ask("reload")

    assert said == (503, {"error": "no cuda:9"})
    assert again["changed"] == ["training.devices", "engine.slots"]


async def test_reloads_at_once_change_everything_once(daemon: DaemonHarness):
    daemon.write("[engine]\nslots = 4")

    said = await asyncio.gather(*(daemon.ask("reload") for _ in range(3)))

    assert sorted(each["changed"] for each in said) == [[], [], ["engine.slots"]]
    assert daemon.harness.observer.sizes == [4]


async def test_outcome_of_a_reload_is_logged_in_one_line(
    daemon: DaemonHarness, caplog: pytest.LogCaptureFixture
):
    daemon.write("[engine]\nslots = 4\nretry_s = 7.0")
    with caplog.at_level(logging.INFO, "llmatic_daemon.daemon.reload"):
        await daemon.ask("reload")

    assert "reloaded: changed: engine.slots; prompts of edition 2; after a restart: " in (caplog.text)


def test_note_that_nobody_can_read_is_a_pause(tmp_path: Path):
    (tmp_path / PAUSE_NOTE).write_bytes(b"\xff")

    assert pause_note.read(tmp_path) == ""
    assert pause_note.read(tmp_path / "nowhere") is None
