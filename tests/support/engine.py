"""A harness for tests of the engine: an engine whose adapters are fakes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from llmatic_daemon.domain import Outcome
from llmatic_daemon.domain.events import EventBus
from llmatic_daemon.domain.ports import Ports, Writer
from llmatic_daemon.engine.auditor import Auditor
from llmatic_daemon.engine.engine import Engine
from llmatic_daemon.search.budget import Budget
from llmatic_daemon.search.evolution import Evolution
from llmatic_daemon.search.rules import RetryPolicy
from tests.support.fakes import (
    TASK,
    Clock,
    FakeLifter,
    FakeObserver,
    FakeTrainer,
    FakeWriter,
    FlakyStore,
    evolution,
)

AT_ONCE = RetryPolicy(max_attempts=3, retry_s=0.0, max_retry_s=0.0)
NEVER = RetryPolicy(max_attempts=3, retry_s=3600.0, max_retry_s=3600.0)


@dataclass
class EngineHarness:
    """An engine and its fakes; a test replaces those that it is about."""

    start: Evolution = field(default_factory=lambda: evolution(train_initial=True))
    writer: FakeWriter = field(default_factory=FakeWriter)
    lifter: FakeLifter = field(default_factory=FakeLifter)
    trainer: FakeTrainer = field(default_factory=FakeTrainer)
    observer: FakeObserver = field(default_factory=FakeObserver)
    events: EventBus = field(init=False, default_factory=EventBus)
    store: FlakyStore = field(default_factory=FlakyStore)
    clock: Clock = field(default_factory=Clock)
    num_slots: int = 1
    retry_policy: RetryPolicy = AT_ONCE

    def __post_init__(self) -> None:
        self.events.subscribe(self.observer.receive)

    def engine(self, rewriter: Writer | None = None, **limits: Any) -> Engine:
        edition = self.start.prompts.edition
        if edition is not None and not self.store.memory.editions:
            self.store.memory.editions.append(edition)
        return Engine(
            self.start,
            TASK,
            self.ports(rewriter),
            num_slots=self.num_slots,
            budget=Budget(**limits),
            retry_policy=self.retry_policy,
            clock=self.clock,
        )

    def ports(self, rewriter: Writer | None = None) -> Ports:
        return Ports(
            writer=self.writer,
            lifter=self.lifter,
            trainer=self.trainer,
            store=self.store,
            rewriter=rewriter,
            events=self.events,
        )

    def auditor(self, engine: Engine) -> Auditor:
        return Auditor(engine, TASK, self.ports(), self.retry_policy)

    @property
    def outcomes(self) -> list[Outcome]:
        return [placement.outcome for placement in self.store.memory.placements]


async def until(true: Callable[[], bool]) -> None:
    """Let the engine run until something is the case."""
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never was")
