"""The true daemon with fake adapters on a folder of prompts: `python -m tests.support.live_daemon STATE FOLDER`.

Searches until it is stopped, with a pause at each candidate. Each line that it prints is a JSON
object: `ready`, `adopted`, `refused` and `asked`, with what is asked for and the monotonic time.
"""

import argparse
import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from llmatic_daemon import config
from llmatic_daemon.bootstrap import build_writers
from llmatic_daemon.bootstrap.build import Adapters
from llmatic_daemon.daemon import main as daemon
from llmatic_daemon.domain import (
    Completion,
    DevicePhase,
    Failure,
    Network,
    Progress,
    Report,
    Request,
    Training,
)
from llmatic_daemon.domain.events import (
    DeviceChanged,
    Event,
    EventBus,
    PromptsAdopted,
    PromptsRejected,
    SlotsResized,
)
from tests.support.fake_daemon import RandomLifter, RandomTrainer, RandomWriter, place_cells_at_once
from tests.support.prompt_editor import digest_of


def tell(event: str, **facts: object) -> None:
    """Print a line at once."""
    line = json.dumps({"event": event, "at": time.monotonic(), **facts})
    os.write(1, f"{line}\n".encode())


class TellingWriter(RandomWriter):
    """Tells by which version of a prompt it is asked."""

    def __init__(self, *, tells: bool) -> None:
        super().__init__()
        self._tells = tells

    async def complete(self, request: Request) -> Completion:
        if self._tells:
            prompt = request.prompt
            tell("asked", prompt=prompt.id, version=prompt.version, text=prompt.text)
        return await super().complete(request)


class SlowTrainer(RandomTrainer):
    """Takes a pause, so that a search leaves room for others."""

    def __init__(self, pause_s: float, events: EventBus) -> None:
        super().__init__()
        self._pause_s = pause_s
        self._events = events

    async def train(
        self, network: Network, training: Training, watch: Callable[[Progress], None]
    ) -> Report | Failure:
        self._show(DevicePhase.TRAIN)
        await asyncio.sleep(self._pause_s)
        result = await super().train(network, training, watch)
        self._show(None)
        return result

    def _show(self, phase: DevicePhase | None) -> None:
        self._events.publish(DeviceChanged(device="fake:0", phase=phase))


def tell_event(event: Event) -> None:
    """Report prompt sets and numbers of slots."""
    match event:
        case SlotsResized(num_slots=num_slots):
            tell("resized", num_slots=num_slots)
        case PromptsAdopted(edition=edition):
            prompts = [(p.id, p.kind.value, p.text, p.weight) for p in edition.prompts.all]
            tell("adopted", edition=edition.number, digest=digest_of(prompts))
        case PromptsRejected(reason=reason):
            tell("refused", why=reason)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("state", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--settle-s", type=float, default=0.2)
    parser.add_argument("--rescan-s", type=float, default=5.0)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--pause-s", type=float, default=0.03)
    parser.add_argument("--mutation-ratio", type=float, default=0.7)
    parser.add_argument("--tell-requests", action="store_true")
    parser.add_argument("--metrics-port", type=int, default=0)
    parser.add_argument("--llm", default="", help="address of an LLM; else a fake writer")
    parser.add_argument("--config", type=Path, help="Whose settings the others here win over.")
    asked = parser.parse_args()
    overrides = {
        "state_dir": str(asked.state),
        "budget": {"max_evaluations": 0, "max_hours": 0.0},
        **({} if asked.config else {"engine": {"slots": asked.slots}}),
        "search": {"mutation_ratio": asked.mutation_ratio},
        "archives": {"network_cells": 50, "prompt_cells": 50, "num_samples": 1000},
        "prompts": {"folder": str(asked.folder), "settle_s": asked.settle_s, "rescan_s": asked.rescan_s},
        "metrics": {"port": asked.metrics_port},
        "writer": {"kind": "tgi", "url": asked.llm} if asked.llm else {},
    }
    again = partial(config.load, asked.config, preset="demo", overrides=overrides, environment={})
    settings = again()
    told = TellingWriter(tells=asked.tell_requests)
    events = EventBus()
    events.subscribe(tell_event)
    adapters = Adapters(
        build_writers.writer(settings, events) if asked.llm else contextlib.nullcontext(told),
        contextlib.nullcontext(RandomLifter()),
        contextlib.nullcontext(SlowTrainer(asked.pause_s, events)),
        events=events,
    )
    place_cells_at_once()
    running = daemon.run(settings, adapters, ready=lambda view: tell("ready"), again=again)
    end = asyncio.run(running)
    tell("end", why=end)


if __name__ == "__main__":
    main()
