"""The auditor beside the engine: when it works, when it stops, and what it never loses."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from llmatic_daemon.domain import (
    Audit,
    Candidate,
    Completion,
    Failure,
    Network,
    Outcome,
    Placement,
    Progress,
    Rejection,
    Report,
    Request,
    TooLong,
    Training,
    Verdict,
)
from llmatic_daemon.domain.errors import LifterUnavailable, StoreUnavailable, TrainerUnavailable
from llmatic_daemon.engine.auditor import Auditor
from llmatic_daemon.engine.engine import Engine
from llmatic_daemon.search.auditing import AuditRules
from llmatic_daemon.search.evolution import Evolution, fold
from llmatic_daemon.search.placement import due_for_audit
from tests.support.engine import AT_ONCE, NEVER, EngineHarness
from tests.support.fakes import (
    Barrier,
    ErrorScript,
    FakeLifter,
    FakeTrainer,
    FakeWriter,
    FlakyStore,
    evolution,
    network,
    report,
)


def audited_search(share: float = 1.0) -> Evolution:
    rules = AuditRules(ratio=share, threshold=4.0)
    return replace(evolution(train_initial=True), audit_rules=rules)


@dataclass
class FewNetworks(FakeWriter):
    """Writes so many networks, and then nothing until its end."""

    count: int = 2

    async def complete(self, request: Request) -> Completion | TooLong:
        if len(self.requests) >= self.count:
            await asyncio.Event().wait()
        return await super().complete(request)


@dataclass
class TwoFigures(FakeTrainer):
    """Gives one figure to the n-th network of the search, and another one to its audits."""

    first: Callable[[int], float] = lambda number: 0.5
    second: float | Failure = 0.5
    #: Of audits only.
    audit_barrier: Barrier | None = None
    audit_faults: ErrorScript = field(default_factory=ErrorScript)
    audits: list[tuple[Network, Training]] = field(default_factory=list)

    async def train(
        self, network: Network, training: Training, watch: Callable[[Progress], None]
    ) -> Report | Failure:
        if not training.low_priority:
            self.trained.append(network)
            return report(self.first(len(self.trained)))
        self.audits.append((network, training))
        if self.audit_barrier:
            await self.audit_barrier.wait()
        self.audit_faults.raise_next()
        return self.second if isinstance(self.second, Failure) else report(self.second)


def harness(first: Callable[[int], float], second: float | Failure, **parts: object) -> EngineHarness:
    made = EngineHarness(
        start=audited_search(), writer=FewNetworks(count=2), trainer=TwoFigures(first=first, second=second)
    )
    return replace(made, **parts)


@asynccontextmanager
async def searching(built: EngineHarness, engine: Engine) -> AsyncIterator[Auditor]:
    """Let a search run with its auditor, and abort it."""
    auditor = built.auditor(engine)
    running = [asyncio.create_task(engine.run()), asyncio.create_task(auditor.run())]
    try:
        yield auditor
    finally:
        await engine.drain("stopped", 0.0)
        async with asyncio.timeout(5):
            await asyncio.gather(*running)


async def until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never was")


async def a_while() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def holder(engine: Engine) -> tuple[int, float]:
    ((_, held),) = engine.evolution.networks.items()
    return held.elite.job, held.objective


# --- what it brings about ------------------------------------------------------------------------


async def test_forged_figure_loses_its_cell_to_the_honest_runner_up():
    """The second network reaches 0.99 once; whoever is trained again reaches 0.7."""
    built = harness(lambda number: 0.99 if number == 2 else 0.9, 0.7, start=audited_search(0.9))
    engine = built.engine()

    async with searching(built, engine):
        await until(lambda: len(built.observer.audits) == 2)

    audits = {audit.job: audit for audit in built.observer.audits}
    assert audits[2].verdict is Verdict.UNSTABLE
    assert (audits[2].first.objective, audits[2].second.objective) == (0.99, 0.7)
    log = [entry async for entry in built.store.log()]
    assert fold(built.start, log[1:]) == engine.evolution


async def test_fluke_falls_and_its_successor_is_audited_next():
    built = harness(lambda number: 0.99 if number == 1 else 0.8, 0.5)
    engine = built.engine()
    built.trainer.audit_barrier = Barrier()

    async with searching(built, engine):
        await built.trainer.audit_barrier.arrivals()
        await until(lambda: len(built.outcomes) == 2)
        assert holder(engine) == (1, 0.99)
        built.trainer.audit_barrier.open()
        await until(lambda: len(built.observer.audits) == 2)

    first, second = built.observer.audits
    assert (first.job, first.holder, first.holder_figures.objective) == (1, 2, 0.8)
    assert (second.job, second.first.objective) == (2, 0.8)


async def test_stable_elite_keeps_its_cell():
    built = harness(lambda number: 0.8 / number, 0.78)
    engine = built.engine()

    async with searching(built, engine):
        await until(lambda: len(built.observer.audits) == 1)
        await a_while()

    (audit,) = built.observer.audits
    assert audit.verdict is Verdict.STABLE
    assert holder(engine) == (1, pytest.approx(0.79))


async def test_audit_is_trained_from_other_initial_weights_for_all_epochs():
    built = harness(lambda number: 0.8, 0.8)

    async with searching(built, built.engine()):
        await until(lambda: len(built.observer.audits) == 1)

    (audit,) = built.observer.audits
    ((_, training),) = built.trainer.audits
    (candidate,) = [each for each in built.lifter.candidates if each.seed == audit.seed]
    assert training == Training(seed=audit.seed, epochs=None, low_priority=True)
    assert candidate.source == built.lifter.candidates[0].source
    assert candidate.class_name == "Net"
    assert audit.seed not in {placement.seed for placement in built.observer.placements}


@pytest.mark.parametrize("cause", [Outcome.TIMEOUT, Outcome.NAN, Outcome.OOM])
async def test_audit_that_does_not_train_is_a_figure_too(cause: Outcome):
    failure = Failure(cause=cause, detail="no", device="fake:0", train_s=1.0)
    built = harness(lambda number: 0.8 if number == 1 else 0.5, failure)
    built.trainer.audit_barrier = Barrier()
    engine = built.engine()

    async with searching(built, engine):
        await until(lambda: len(built.outcomes) == 2)
        built.trainer.audit_barrier.open()
        await until(lambda: len(built.observer.audits) == 2)

    audit = built.observer.audits[0]
    assert (audit.outcome, audit.second.objective) == (cause, 0.0)
    assert (audit.verdict, audit.holder) == (Verdict.UNSTABLE, 2)


async def test_network_that_does_not_lift_again_is_unstable():
    def lift(candidate: Candidate) -> Network | Rejection:
        if candidate.seed >= 2**31:
            return Rejection(cause=Outcome.LIFT_FAILED, detail="only sometimes")
        return network(candidate.source)

    built = harness(lambda number: 0.8, 0.8, lifter=FakeLifter(result=lift))

    async with searching(built, built.engine()):
        await until(lambda: len(built.observer.audits) >= 1)

    assert built.observer.audits[0].outcome is Outcome.LIFT_FAILED
    assert built.observer.audits[0].verdict is Verdict.UNSTABLE


async def test_audit_is_logged_in_one_line(caplog: pytest.LogCaptureFixture):
    built = harness(lambda number: 0.8, 0.8)

    with caplog.at_level(logging.INFO):
        async with searching(built, built.engine()):
            await until(lambda: len(built.observer.audits) == 1)

    assert "audit of candidate 1: STABLE, accuracy 0.800 and 0.800" in caplog.text


# --- when it works, and when it does not ---------------------------------------------------------


@dataclass
class OnePlace(TwoFigures):
    """One place with a queue; tells how many waited and were trained whenever an audit began."""

    waiting: deque[asyncio.Event] = field(default_factory=deque)
    waiting_spare: deque[asyncio.Event] = field(default_factory=deque)
    is_free: bool = True
    at_audits: list[tuple[int, int]] = field(default_factory=list)

    async def wait_until_idle(self) -> None:
        await self._take(self.waiting_spare)
        self._give()

    async def train(
        self, network: Network, training: Training, watch: Callable[[Progress], None]
    ) -> Report | Failure:
        await self._take(self.waiting_spare if training.low_priority else self.waiting)
        try:
            if training.low_priority:
                self.at_audits.append((len(self.waiting), len(self.trained)))
            for _ in range(5):
                await asyncio.sleep(0)
            return await super().train(network, training, watch)
        finally:
            self._give()

    async def _take(self, queue: deque[asyncio.Event]) -> None:
        if self.is_free:
            self.is_free = False
            return
        queue.append(asyncio.Event())
        await queue[-1].wait()

    def _give(self) -> None:
        for queue in (self.waiting, self.waiting_spare):
            if queue:
                queue.popleft().set()
                return
        self.is_free = True


async def test_audit_never_begins_while_a_search_training_waits():
    trainer = OnePlace(first=lambda number: number / 100, second=0.3)
    built = EngineHarness(start=audited_search(), writer=FewNetworks(count=40), trainer=trainer, num_slots=3)
    engine = built.engine()

    async with searching(built, engine):
        await until(lambda: due_for_audit(engine.evolution) is not None)
        await until(lambda: len(built.outcomes) == 40)
        await until(lambda: due_for_audit(engine.evolution) is None)

    assert trainer.at_audits
    assert set(trainer.at_audits) == {(0, 40)}, "three slots never leave the one place idle"


async def test_paused_search_begins_no_audit():
    """Its first network is there, and due, from before."""
    before = harness(lambda number: 0.8, 0.8)
    await before.engine(max_evaluations=1).run()
    built = replace(before, start=fold(before.start, before.store.memory.placements))
    engine = built.engine()
    await engine.pause()

    async with searching(built, engine):
        await a_while()
        while_paused = len(built.trainer.audits)
        await engine.resume()
        await until(lambda: len(built.observer.audits) == 1)

    assert while_paused == 0


async def test_pause_while_an_audit_waits_for_its_place_holds_it_back():
    place = Barrier()

    class NoPlaceYet(TwoFigures):
        async def wait_until_idle(self) -> None:
            await place.wait()

    trainer = NoPlaceYet(first=lambda number: 0.8, second=0.8)
    built = harness(lambda number: 0.8, 0.8, trainer=trainer)
    engine = built.engine()

    async with searching(built, engine):
        await place.arrivals()
        await engine.pause()
        place.open()
        await a_while()
        while_paused = len(trainer.audits)
        await engine.resume()
        await until(lambda: len(built.observer.audits) == 1)

    assert while_paused == 0


async def test_nothing_is_audited_with_share_0():
    built = harness(lambda number: 0.8, 0.8, start=audited_search(share=0.0))
    engine = built.engine()

    async with searching(built, engine):
        await until(lambda: len(built.outcomes) == 2)
        await a_while()

    assert built.trainer.audits == []


async def test_audits_do_not_count_as_evaluations():
    built = harness(lambda number: 0.8 if number == 1 else 0.1, 0.8)
    engine = built.engine(max_evaluations=3)

    async with searching(built, engine):
        await until(lambda: len(built.observer.audits) == 1 and len(built.outcomes) == 2)
        assert engine.end == ""

    assert engine.evolution.num_evaluations == 2
    assert engine.evolution.train_s == 3 * 2.0, "but they hold a device place"


# --- how it ends, and the faults of the world ----------------------------------------------------


async def test_drain_gives_an_audit_up_and_the_next_start_begins_it_anew():
    built = harness(lambda number: 0.8, 0.8)
    built.trainer.audit_barrier = Barrier()
    engine = built.engine()

    async with searching(built, engine):
        await built.trainer.audit_barrier.arrivals()
    log = [entry async for entry in built.store.log()]
    assert [entry for entry in log if isinstance(entry, Audit)] == []

    built.trainer.audit_barrier = None
    again = replace(built, start=fold(built.start, log[1:]))
    engine = again.engine()
    async with searching(again, engine):
        await until(lambda: len(again.observer.audits) == 1)

    (before, _), (after, _) = built.trainer.audits
    assert before.digest == after.digest
    assert built.trainer.audits[0][1] == built.trainer.audits[1][1], "the same seed"


async def test_what_was_audited_is_not_audited_again_after_a_restart():
    built = harness(lambda number: 0.8, 0.8)
    async with searching(built, built.engine()):
        await until(lambda: len(built.observer.audits) == 1)
    log = [entry async for entry in built.store.log()]

    again = replace(built, start=fold(built.start, log[1:]))

    assert due_for_audit(again.start) is None


@pytest.mark.parametrize("fault", [TrainerUnavailable("it died"), LifterUnavailable("it died")])
async def test_fault_of_the_world_leaves_nothing_behind_and_the_audit_is_tried_again(
    fault: Exception, caplog: pytest.LogCaptureFixture
):
    built = harness(lambda number: 0.8, 0.8)
    if isinstance(fault, LifterUnavailable):
        built.writer.count = 1
        built.lifter.faults = ErrorScript(None, fault)
    else:
        built.trainer.audit_faults = ErrorScript(fault)

    async with searching(built, built.engine()):
        await until(lambda: len(built.observer.audits) == 1)
        await a_while()

    (audit,) = built.observer.audits
    assert audit.verdict is Verdict.STABLE
    assert "it died" in caplog.text


async def test_elite_that_fails_its_trainer_again_and_again_is_passed_over(caplog):
    built = harness(lambda number: 0.8, 0.8)
    built.trainer.audit_faults = ErrorScript(*[TrainerUnavailable("it died")] * AT_ONCE.max_attempts)

    async with searching(built, built.engine()):
        await until(lambda: "until the next start: it died" in caplog.text)
        await a_while()

    assert built.observer.audits == []


class OutStore(FlakyStore):
    """Keeps no audit while it is out."""

    num_refused = 0

    async def keep_audit(self, audit: Audit) -> None:
        if self.out:
            self.num_refused += 1
            raise StoreUnavailable("the disk is full")
        await super().keep_audit(audit)

    async def commit(self, placement: Placement, artefacts: object) -> bool:
        out, self.out = self.out, False
        try:
            return await super().commit(placement, artefacts)  # type: ignore[arg-type]
        finally:
            self.out = out


async def test_audit_waits_for_a_store_that_is_out():
    store = OutStore()
    store.out = True
    built = harness(lambda number: 0.8, 0.8, store=store)

    async with searching(built, built.engine()):
        await until(lambda: store.num_refused > 2)
        store.out = False
        await until(lambda: len(built.observer.audits) == 1)

    assert len(built.trainer.audits) == 1, "it is not trained again"


async def test_store_that_is_out_does_not_hold_up_the_end():
    store = OutStore()
    store.out = True
    built = harness(lambda number: 0.8, 0.8, store=store, retry_policy=NEVER)

    async with searching(built, built.engine()):
        await until(lambda: store.num_refused > 0)

    assert built.store.memory.audits == []


class DoubtfulStore(FlakyStore):
    """Keeps each audit, and reports an error the first time nevertheless."""

    async def keep_audit(self, audit: Audit) -> None:
        is_first = audit not in self.memory.audits
        await super().keep_audit(audit)
        if is_first:
            raise StoreUnavailable("disk I/O error")


async def test_audit_in_doubt_is_kept_before_anything_follows_it_in_the_log():
    built = harness(lambda number: 0.8, 0.8, store=DoubtfulStore())
    engine = built.engine()

    async with searching(built, engine):
        await until(lambda: len(built.observer.audits) == 1 and len(built.outcomes) == 2)

    log = [entry async for entry in built.store.log()]
    assert len([entry for entry in log if isinstance(entry, Audit)]) == 1
    assert fold(built.start, log[1:]) == engine.evolution


async def test_bug_in_the_auditor_ends_it_with_the_bug():
    class Broken(TwoFigures):
        async def wait_until_idle(self) -> None:
            raise RuntimeError("a bug")

    built = harness(lambda number: 0.8, 0.8, trainer=Broken(first=lambda number: 0.8))
    engine = built.engine()
    auditor = asyncio.create_task(built.auditor(engine).run())
    running = asyncio.create_task(engine.run())

    with pytest.raises(ExceptionGroup) as raised:
        await auditor

    assert raised.group_contains(RuntimeError, match="a bug")
    await engine.drain("stopped", 0.0)
    await running
