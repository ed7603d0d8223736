"""Makes a long search fast: real decisions, the real store, thousands of placements a transaction."""

import random
import sqlite3
from dataclasses import replace
from pathlib import Path

from llmatic_daemon import config
from llmatic_daemon.adapters.prompts.prompt_files import read_prompts
from llmatic_daemon.adapters.storage.json_format import PLACEMENTS
from llmatic_daemon.adapters.storage.rows import job_rows
from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore, _commit
from llmatic_daemon.bootstrap import build
from llmatic_daemon.bootstrap.build_search import identity, rebuild
from llmatic_daemon.bootstrap.saved_settings import write_settings
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain import (
    Artefacts,
    Candidate,
    Completion,
    Duplicate,
    Epoch,
    Failure,
    Job,
    Measures,
    Network,
    Outcome,
    Placement,
    Rejection,
    Report,
    Trial,
    digest,
)
from llmatic_daemon.search.evolution import Evolution, apply
from llmatic_daemon.search.placement import edit, place
from llmatic_daemon.search.proposals import propose, rng_for
from tests.support.fakes import TASK

_CHUNK = 10_000
_NUM_EPOCHS = 8


def settings_for(state: Path) -> Settings:
    """Choose the demo's settings, without an end."""
    overrides = {"state_dir": str(state), "budget": {"max_evaluations": 0}}
    return config.load(preset="demo", overrides=overrides, environment={})


class Growing:
    """A search that grows without writers, lifters, trainers, or a sync for each placement."""

    def __init__(self, store: SQLiteStore, evolution: Evolution, size: int) -> None:
        self.store = store
        self.evolution = evolution
        self._size = size
        self._chance = random.Random(evolution.num_settled)
        self._jobs = job_rows.Jobs()
        #: How networks that come again and again have ended.
        self._usual: dict[str, Duplicate] = {}

    @classmethod
    async def begin(cls, state: Path, size: int) -> "Growing":
        """Open a state folder and take the prompts."""
        settings = settings_for(state)
        store = await SQLiteStore.open(state, checkpoint_every=200)
        await store.identify(identity(settings, TASK))
        evolution = await rebuild(settings, store)
        edition = edit(evolution, read_prompts(build.prompt_path(settings)), 16)
        if edition is not None:
            await store.adopt(edition)
            evolution = apply(evolution, edition)
        write_settings(settings)
        return cls(store, evolution, size)

    async def grow(self, number: int) -> None:
        """Settle so many candidates; nothing of this is durable before the end."""
        database = self.store._database
        database._checkpoint_every = 1
        await database.read(lambda c: c.execute("PRAGMA synchronous = OFF").fetchall())
        for begin in range(0, number, _CHUNK):
            chunk = min(_CHUNK, number - begin)
            await database.write("grow", lambda c, chunk=chunk: self._settle(c, chunk))
        await database.read(lambda c: c.execute("PRAGMA synchronous = FULL").fetchall())
        database._checkpoint_every = 200

    def _settle(self, connection: sqlite3.Connection, number: int) -> None:
        for _ in range(number):
            placement, artefacts = self.next(self._jobs.claim(connection, 0))
            _commit(connection, placement, PLACEMENTS.write(placement), artefacts, False)
            self.evolution = apply(self.evolution, placement)

    def next(self, job: Job) -> tuple[Placement, Artefacts]:
        """Settle a job: one in five is no code, some do not train, some came before."""
        evolution = self.evolution
        proposal = propose(evolution, job, rng_for(evolution.rules.seed, job))
        trial = Trial(proposal=proposal, slot=0, result=_NO_CODE, completion=_COMPLETION)
        if self._chance.random() > 0.2:
            trial = self._lifted(trial)
        source = trial.candidate.source if trial.candidate else None
        graph = trial.network.graph if trial.network else None
        placement = place(evolution, trial, evolution.elapsed_s + 0.01)
        return placement, Artefacts(source=source, graph=graph)

    def _lifted(self, trial: Trial) -> Trial:
        chance, number = self._chance, trial.proposal.job.number
        number = chance.randrange(500) if chance.random() < 0.05 else number + 1000
        source = f"# network {number}\n" + "x = 1\n" * (self._size // 12)
        graph = b'{"number": %d, "pad": "%s"}' % (number, b"g" * self._size)
        measures = Measures(
            num_parameters=chance.randrange(10**6),
            flops=int(10 ** chance.uniform(3, 7)),
            width=chance.randint(1, 512),
            depth=chance.randint(1, 20),
        )
        trial = replace(
            trial,
            candidate=Candidate(source=source, class_name="Net", seed=1, task=TASK),
            network=Network(graph=graph, weights=b"", measures=measures, lift_s=0.2),
        )
        name = digest(graph)
        if name in self._usual:
            return replace(trial, result=self._usual[name])
        result = self._trained()
        outcome = result.cause if isinstance(result, Failure) else Outcome.TRAINED
        if number < 1000 and outcome.is_reproducible:
            self._usual[name] = Duplicate(of=trial.proposal.job.number, outcome=outcome)
        return replace(trial, result=result)

    def _trained(self) -> Report | Failure:
        chance = self._chance
        if chance.random() < 0.05:
            return Failure(cause=Outcome.NAN, detail="the loss is not finite", train_s=0.5)
        best = chance.random()
        curve = tuple(
            Epoch(number=n, train_loss=2.3 / n, accuracy=best * n / _NUM_EPOCHS)
            for n in range(1, _NUM_EPOCHS + 1)
        )
        return Report(
            objective=best,
            test_accuracy=best,
            test_loss=1 - best,
            curve=curve,
            device="fake:0",
            wait_s=0.1,
            train_s=1.0,
        )


_NO_CODE = Rejection(cause=Outcome.NOT_CODE, detail="it does not parse")
_COMPLETION = Completion(text="", writer="fake", model="fake-1", duration_s=0.5)
