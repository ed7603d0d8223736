"""What every store promises: one suite, run over the real one and over the fake.

A module that runs it defines the fixture `open_store`: an async function that opens the same state
again each time, after the store opened before was left as a crash would leave it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import reduce

import pytest

from llmatic_daemon.domain import (
    Accuracies,
    AddStatus,
    Artefacts,
    Checkpoint,
    Comparison,
    Duplicate,
    Identity,
    Job,
    Operator,
    Outcome,
    Placement,
    Tessellation,
    Verdict,
)
from llmatic_daemon.domain.errors import ConfigurationError
from llmatic_daemon.domain.ports import Entry, SearchStore
from tests.support.sample_placements import (
    SampleSearch,
    audit,
    death,
    edition,
    failure,
    saved_search,
    success,
)

OpenStore = Callable[[], Awaitable[SearchStore]]

CHECKPOINT = Checkpoint(num_settled=1, rules_digest="rules", search=saved_search())
CELLS = Tessellation(network=((0.1, 0.2), (1 / 3, 1.0)), prompt=((0.5, 0.7),))


async def read_log(store: SearchStore) -> list[Entry]:
    return [entry async for entry in store.log()]


async def grow(store: SearchStore, search: SampleSearch, number: int) -> None:
    for _ in range(number):
        placement, artefacts = search.next(await store.dispatch(slot=0))
        assert await store.commit(placement, artefacts)
        search.settle(placement)


class StoreContract:
    async def test_pulse_returns_when_the_store_has_come_round(self, open_store: OpenStore):
        store = await open_store()

        await store.ping()

    async def test_dispatch_numbers_jobs_from_one_without_gaps(self, open_store: OpenStore):
        store = await open_store()

        claimed = [await store.dispatch(slot) for slot in range(3)]

        assert claimed == [Job(number=number, attempt=1) for number in (1, 2, 3)]

    async def test_dispatch_takes_the_oldest_release_first(self, open_store: OpenStore):
        store = await open_store()
        first, second, third = [await store.dispatch(slot) for slot in range(3)]
        for job in (third, first, second):
            await store.release(job, charged=False)

        claimed = [await store.dispatch(0) for _ in range(4)]

        assert [(job.number, job.attempt) for job in claimed] == [(3, 2), (1, 2), (2, 2), (4, 1)]

    async def test_release_charges_only_when_told(self, open_store: OpenStore):
        store = await open_store()

        await store.release(await store.dispatch(0), charged=False)
        uncharged = await store.dispatch(0)
        await store.release(uncharged, charged=True)

        assert uncharged == Job(number=1, attempt=2, num_charged=0)
        assert await store.dispatch(0) == Job(number=1, attempt=3, num_charged=1)

    async def test_release_of_an_old_attempt_changes_nothing(self, open_store: OpenStore):
        store = await open_store()
        old = await store.dispatch(0)
        await store.release(old, charged=False)
        current = await store.dispatch(0)

        await store.release(old, charged=True)

        assert await store.commit(failure(1, current), Artefacts())

    async def test_release_of_a_settled_job_changes_nothing(self, open_store: OpenStore):
        store = await open_store()
        job = await store.dispatch(0)
        await store.commit(failure(1, job), Artefacts())

        await store.release(job, charged=True)

        assert await store.dispatch(0) == Job(number=2, attempt=1)

    async def test_restart_releases_what_ran_and_charges_it(self, open_store: OpenStore):
        store = await open_store()
        for slot in range(2):
            await store.dispatch(slot)

        store = await open_store()

        claimed = [await store.dispatch(0) for _ in range(3)]
        assert claimed == [
            Job(number=1, attempt=2, num_charged=1),
            Job(number=2, attempt=2, num_charged=1),
            Job(number=3, attempt=1),
        ]

    async def test_commit_keeps_a_job_once(self, open_store: OpenStore):
        store = await open_store()
        placement = failure(1, await store.dispatch(0))

        answers = [await store.commit(placement, Artefacts()) for _ in range(3)]

        assert answers == [True, False, False]
        assert await read_log(store) == [placement]

    async def test_commit_of_an_old_attempt_is_fenced(self, open_store: OpenStore):
        store = await open_store()
        old = await store.dispatch(0)
        await store.release(old, charged=True)
        queued_answer = await store.commit(failure(1, old), Artefacts())
        current = await store.dispatch(0)

        answer = await store.commit(failure(1, old), Artefacts())

        assert (queued_answer, answer) == (False, False)
        assert await read_log(store) == []
        assert await store.commit(failure(1, current), Artefacts())

    async def test_commit_after_a_restart_is_fenced(self, open_store: OpenStore):
        job = await (await open_store()).dispatch(0)

        store = await open_store()

        assert not await store.commit(failure(1, job), Artefacts())

    async def test_commit_of_an_unknown_job_is_refused(self, open_store: OpenStore):
        store = await open_store()

        with pytest.raises(ValueError, match="job 9 was never dispatched"):
            await store.commit(failure(1, Job(number=9, attempt=1)), Artefacts())

    async def test_commit_takes_only_the_next_number(self, open_store: OpenStore):
        store = await open_store()
        job = await store.dispatch(0)

        with pytest.raises(ValueError, match="number"):
            await store.commit(failure(2, job), Artefacts())

        assert await store.commit(failure(1, job), Artefacts())

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
    @pytest.mark.parametrize(
        "field", ["elapsed_s", "curiosity_change", "report.test_loss", "offer.curiosity", "curve"]
    )
    async def test_commit_refuses_what_is_not_finite(self, open_store: OpenStore, field: str, bad: float):
        """SQLite would keep a NaN as NULL, and nobody would know that it had been one."""
        store = await open_store()
        good, artefacts = success(1, await store.dispatch(0))

        with pytest.raises(ValueError, match="finite"):
            await store.commit(_with(good, field, bad), artefacts)

        assert await store.commit(good, artefacts)

    async def test_commit_refuses_parents_that_never_settled(self, open_store: OpenStore):
        store = await open_store()
        job, other = await store.dispatch(0), await store.dispatch(1)

        with pytest.raises(ValueError, match=r"\w"):
            await store.commit(failure(1, job, parents=(other.number,)), Artefacts())

        assert await read_log(store) == []

    async def test_commit_refuses_content_under_another_name(self, open_store: OpenStore):
        store = await open_store()
        placement, artefacts = success(1, await store.dispatch(0))

        with pytest.raises(ValueError, match="source_digest"):
            await store.commit(placement, replace(artefacts, source="another"))
        with pytest.raises(ValueError, match="network_digest"):
            await store.commit(placement, replace(artefacts, graph=b"{}"))

    async def test_commit_refuses_to_name_content_that_is_nowhere(self, open_store: OpenStore):
        store = await open_store()
        placement, artefacts = success(1, await store.dispatch(0))

        with pytest.raises(ValueError, match=r"\w"):
            await store.commit(placement, replace(artefacts, graph=None))

        assert await store.commit(placement, artefacts)

    async def test_log_equals_what_was_committed(self, open_store: OpenStore):
        search = SampleSearch()
        await grow(await open_store(), search, 40)

        assert await read_log(await open_store()) == search.placements

    async def test_log_is_without_weights(self, open_store: OpenStore):
        store = await open_store()
        placement, artefacts = success(1, await store.dispatch(0))
        assert placement.report
        heavy = replace(placement, report=replace(placement.report, weights=b"many"))

        await store.commit(heavy, artefacts)

        assert await read_log(store) == [placement]

    async def test_log_keeps_every_field(self, open_store: OpenStore):
        """Each optional field is there in one placement and missing in another."""
        store = await open_store()
        bare = failure(1, await store.dispatch(0), outcome=Outcome.NAN, detail="loss is nan é\0x")
        await store.commit(bare, Artefacts())
        full, artefacts = success(
            2,
            await store.dispatch(5),
            slot=5,
            parents=(1, 1),
            clipped=True,
            credited_cell=4,
            credited_job=1,
            curiosity_change=-0.5,
            status=AddStatus.IMPROVED,
            staleness=7,
            temperature=0.1 + 0.2,
            elapsed_s=1e9 + 1 / 3,
            duplicate_of=1,
            prompt_version=3,
            endpoint="tgi",
            model_version="abc",
            finish_reason="length",
            num_prompt_tokens=500,
            num_tokens=350,
            fallback=True,
        )

        await store.commit(full, artefacts)

        assert await read_log(store) == [bare, full]

    async def test_source_returns_what_was_committed(self, open_store: OpenStore):
        store = await open_store()
        placement, artefacts = success(1, await store.dispatch(0))
        await store.commit(placement, artefacts)

        assert placement.source_digest
        assert await store.source(placement.source_digest) == artefacts.source
        with pytest.raises(KeyError):
            await store.source("0" * 64)

    async def test_same_content_is_kept_once_for_two_jobs(self, open_store: OpenStore):
        store = await open_store()
        first, artefacts = success(1, await store.dispatch(0))
        second = replace(first, number=2, job=await store.dispatch(0), duplicate_of=1)

        assert await store.commit(first, artefacts)
        assert await store.commit(second, Artefacts())

        assert await read_log(store) == [first, second]

    async def test_identity_of_another_search_is_refused(self, open_store: OpenStore):
        mine = Identity(fields=(("data", "digits"), ("seed", "1")))
        store = await open_store()
        assert await store.identity() is None
        await store.identify(mine)
        store = await open_store()

        await store.identify(Identity(fields=(("seed", "1"), ("data", "digits"))))
        with pytest.raises(ConfigurationError, match="seed is '2', was '1'"):
            await store.identify(Identity(fields=(("data", "digits"), ("seed", "2"))))

        assert await store.identity() == mine

    async def test_tessellation_is_made_once(self, open_store: OpenStore):
        made = []

        async def make() -> Tessellation:
            made.append(CELLS)
            return CELLS

        first = await (await open_store()).tessellation(make)
        store = await open_store()
        again = [await store.tessellation(make) for _ in range(2)]

        assert [first, *again] == [CELLS] * 3
        assert len(made) == 1

    async def test_editions_stand_in_the_log_where_they_came(self, open_store: OpenStore):
        store, search = await open_store(), SampleSearch()
        first, second, third, last = (
            edition(1, "deepen"),
            edition(2, "deepen", "widen"),
            edition(3, "widen", num_settled=4, emptied=(0, 2)),
            edition(4, "widen", num_settled=6),
        )

        for each in (first, second):
            await store.adopt(each)
        await grow(store, search, 4)
        await store.adopt(third)
        await grow(store, search, 2)
        await store.adopt(last)

        settled = search.placements
        expected = [first, second, *settled[:4], third, *settled[4:], last]
        assert await read_log(await open_store()) == expected

    async def test_edition_that_is_adopted_twice_is_kept_once(self, open_store: OpenStore):
        store = await open_store()

        for _ in range(2):
            await store.adopt(edition(1, "deepen"))

        assert await read_log(store) == [edition(1, "deepen")]

    async def test_edition_must_be_the_next_one(self, open_store: OpenStore):
        store = await open_store()

        with pytest.raises(ValueError, match="number"):
            await store.adopt(edition(2, "deepen"))

        assert await read_log(store) == []

    async def test_version_of_a_prompt_keeps_its_text(self, open_store: OpenStore):
        store = await open_store()
        await store.adopt(edition(1, "deepen"))
        other = edition(2, "deepen")
        (prompt,) = other.prompts.mutation
        changed = replace(other.prompts, mutation=(replace(prompt, text="something else"),))

        with pytest.raises(ValueError, match="deepen v1 must keep its text"):
            await store.adopt(replace(other, prompts=changed))

        assert await read_log(store) == [edition(1, "deepen")]

    async def test_audits_stand_in_the_log_where_they_came(self, open_store: OpenStore):
        """With all that they say, and behind an edition of the same moment."""
        store, search = await open_store(), SampleSearch()
        await grow(store, search, 4)
        first = audit(
            1,
            search.placements[0],
            num_settled=4,
            outcome=Outcome.NAN,
            detail="it is nan é\0x",
            second=Accuracies(objective=0.0, test_accuracy=0.0),
            standard_error=0.1 + 0.2,
            verdict=Verdict.UNSTABLE,
            holder=2,
            holder_figures=Accuracies(objective=1 / 3, test_accuracy=0.25),
            device="",
        )
        between = edition(1, "deepen", num_settled=4)
        await store.keep_audit(first)
        await store.adopt(between)
        await grow(store, search, 2)
        last = audit(2, search.placements[1], num_settled=6)
        await store.keep_audit(last)

        settled = search.placements
        expected = [*settled[:4], between, first, *settled[4:], last]
        assert await read_log(await open_store()) == expected

    async def test_audit_that_is_kept_twice_is_kept_once(self, open_store: OpenStore):
        store, search = await open_store(), SampleSearch()
        await grow(store, search, 2)
        made = audit(1, search.placements[0])

        for _ in range(2):
            await store.keep_audit(made)
        await store.keep_audit(audit(2, search.placements[1]))

        assert len(await read_log(store)) == 4

    async def test_audit_must_be_the_next_one(self, open_store: OpenStore):
        store, search = await open_store(), SampleSearch()
        await grow(store, search, 2)
        await store.keep_audit(audit(1, search.placements[0]))

        for number in (1, 3):
            with pytest.raises(ValueError, match="number"):
                await store.keep_audit(audit(number, search.placements[1]))

        assert len(await read_log(store)) == 3

    async def test_network_is_audited_once(self, open_store: OpenStore):
        store, search = await open_store(), SampleSearch()
        await grow(store, search, 2)
        await store.keep_audit(audit(1, search.placements[0]))

        with pytest.raises(ValueError, match=r"\w"):
            await store.keep_audit(audit(2, search.placements[0]))

        await store.keep_audit(audit(2, search.placements[1]))

    async def test_audit_of_what_was_never_placed_is_refused(self, open_store: OpenStore):
        store, search = await open_store(), SampleSearch()
        await grow(store, search, 1)

        for changes in ({"job": 9}, {"holder": 9}):
            with pytest.raises(ValueError, match=r"\w"):
                await store.keep_audit(audit(1, search.placements[0], **changes))

        assert await read_log(store) == search.placements

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    @pytest.mark.parametrize("field", ["standard_error", "train_s"])
    async def test_audit_must_be_finite(self, open_store: OpenStore, field: str, bad: float):
        store, search = await open_store(), SampleSearch()
        await grow(store, search, 1)

        with pytest.raises(ValueError, match="finite"):
            await store.keep_audit(audit(1, search.placements[0], **{field: bad}))

        await store.keep_audit(audit(1, search.placements[0]))

    async def test_deaths_of_trainers_stand_in_the_log_where_they_came(self, open_store: OpenStore):
        store, search = await open_store(), SampleSearch()
        await grow(store, search, 2)
        (first, network), (last, other) = (
            death(1, num_settled=2, suspects=(1, 2)),
            death(2, job=2, num_settled=4),
        )
        await store.keep_death(first, network)
        await grow(store, search, 2)
        await store.keep_death(last, other)

        settled = search.placements
        store = await open_store()
        assert await read_log(store) == [*settled[:2], first, *settled[2:], last]
        assert await store.source(first.source_digest) == network.source

    async def test_death_that_is_kept_twice_is_kept_once(self, open_store: OpenStore):
        store, search = await open_store(), SampleSearch()
        await grow(store, search, 1)
        made, network = death(1, num_settled=1)

        for _ in range(2):
            await store.keep_death(made, network)

        assert await read_log(store) == [*search.placements, made]

    @pytest.mark.parametrize("number", [1, 3])
    async def test_death_must_be_the_next_one(self, open_store: OpenStore, number: int):
        store, search = await open_store(), SampleSearch()
        await grow(store, search, 1)
        await store.keep_death(*death(1, num_settled=1))

        with pytest.raises(ValueError, match="number"):
            await store.keep_death(*death(number, num_settled=1, seed=8))

        assert len(await read_log(store)) == 2

    async def test_death_must_be_finite_and_of_its_network(self, open_store: OpenStore):
        store, search = await open_store(), SampleSearch()
        await grow(store, search, 1)
        made, network = death(1, num_settled=1)

        with pytest.raises(ValueError, match="finite"):
            await store.keep_death(replace(made, train_s=float("nan")), network)
        with pytest.raises(ValueError, match="digest"):
            await store.keep_death(made, replace(network, graph=b"another"))

        assert await read_log(store) == search.placements

    @pytest.mark.parametrize("outcome", list(Outcome))
    async def test_network_is_known_by_its_first_lasting_end(self, open_store: OpenStore, outcome: Outcome):
        store = await open_store()
        first, artefacts = success(1, await store.dispatch(0), cell=1)
        facts = {"cell": None, "status": AddStatus.NOT_ADDED, "offer": None}
        report = first.report if outcome is Outcome.TRAINED else None
        await store.commit(replace(first, outcome=outcome, report=report, **facts), artefacts)
        assert first.network_digest is not None
        found = await store.earlier(first.network_digest, initial=False, stopped=True)
        same = {"network_digest": first.network_digest, "source_digest": first.source_digest}
        second = failure(2, await store.dispatch(0), outcome=Outcome.NAN, **same)
        await store.commit(second, Artefacts())

        known = await store.earlier(first.network_digest, initial=False, stopped=True)

        assert found == (Duplicate(of=1, outcome=outcome) if outcome.is_reproducible else None)
        assert known == (found or Duplicate(of=2, outcome=Outcome.NAN))
        assert await store.earlier("another", initial=True, stopped=True) is None

    async def test_network_that_was_stopped_is_known_while_there_are_first_looks(self, open_store: OpenStore):
        store = await open_store()
        first, artefacts = success(1, await store.dispatch(0))
        facts = {"cell": None, "status": AddStatus.NOT_ADDED, "offer": None, "report": None}
        await store.commit(replace(first, outcome=Outcome.STOPPED, **facts), artefacts)
        name = first.network_digest
        assert name is not None

        found = await store.earlier(name, initial=False, stopped=True)
        assert found == Duplicate(of=1, outcome=Outcome.STOPPED)
        assert await store.earlier(name, initial=False, stopped=False) is None

        same = {"network_digest": name, "source_digest": first.source_digest}
        second = failure(2, await store.dispatch(0), outcome=Outcome.NAN, **same)
        await store.commit(second, Artefacts())
        known = await store.earlier(name, initial=False, stopped=False)
        assert known == Duplicate(of=2, outcome=Outcome.NAN)

    async def test_initial_network_is_known_when_initial_ones_count(self, open_store: OpenStore):
        store = await open_store()
        first = {"operator": Operator.INITIALISATION}
        placement, artefacts = success(1, await store.dispatch(0), **first)
        await store.commit(placement, artefacts)
        assert placement.network_digest is not None

        assert await store.earlier(placement.network_digest, initial=False, stopped=True) is None
        assert await store.earlier(placement.network_digest, initial=True, stopped=True) == Duplicate(
            of=1, outcome=Outcome.TRAINED
        )

    async def test_search_without_a_control_arm_compares_nothing(self, open_store: OpenStore):
        store = await open_store()

        assert await store.compare(0.0) is None
        await place_arms(store, 0, "wc")
        assert await store.compare(0.0) is None

    async def test_comparison_counts_both_arms_and_outlives_a_restart(self, open_store: OpenStore):
        store = await open_store()
        await place_arms(store, 0, "w")
        assert await store.compare(0.1) == Comparison(control_ratio=0.1, since=1)
        placed = await place_arms(store, 1, "wcwsEwcC")

        store = await open_store()
        found = await store.compare(0.1)

        assert found == folded(Comparison(control_ratio=0.1, since=1), placed)
        assert found
        assert (found.writer.num_settled, found.control.num_settled) == (3, 2)

    async def test_other_share_begins_another_comparison(self, open_store: OpenStore):
        store = await open_store()
        await store.compare(0.1)
        await place_arms(store, 0, "wc")

        assert await store.compare(0.2) == Comparison(control_ratio=0.2, since=2)
        placed = await place_arms(store, 2, "wcc")

        found = await store.compare(0.2)
        assert found == folded(Comparison(control_ratio=0.2, since=2), placed)

    async def test_comparison_is_over_without_a_control_arm_and_never_goes_on(self, open_store: OpenStore):
        store = await open_store()
        await store.compare(0.1)
        placed = await place_arms(store, 0, "wc")
        over = replace(folded(Comparison(control_ratio=0.1, since=0), placed), until=2)

        assert await store.compare(0.0) == over
        await place_arms(store, 2, "ww")
        assert await store.compare(0.0) == over
        assert await store.compare(0.1) == Comparison(control_ratio=0.1, since=4)

    async def test_last_checkpoint_is_kept_over_a_restart(self, open_store: OpenStore):
        store, search = await open_store(), SampleSearch()
        assert await store.checkpoint() is None
        await grow(store, search, 2)
        for number in (1, 2):
            await store.keep_checkpoint(replace(CHECKPOINT, num_settled=number))

        store = await open_store()

        assert await store.checkpoint() == replace(CHECKPOINT, num_settled=2)

    @pytest.mark.parametrize("seen", ["num_settled", "num_editions", "num_audits", "num_deaths"])
    async def test_checkpoint_that_has_seen_more_than_the_log_holds_is_none(
        self, open_store: OpenStore, seen: str
    ):
        store, search = await open_store(), SampleSearch()
        await grow(store, search, 1)

        await store.keep_checkpoint(replace(CHECKPOINT, **{seen: 2}))

        assert await store.checkpoint() is None

    async def test_log_after_a_checkpoint_leaves_out_what_that_one_has_seen(self, open_store: OpenStore):
        store, search = await open_store(), SampleSearch()
        await store.adopt(edition(1, "deepen"))
        await grow(store, search, 4)
        await store.keep_audit(audit(1, search.placements[0], num_settled=4))
        seen = Checkpoint(num_settled=4, num_editions=1, num_audits=1)
        rest = [edition(2, "deepen", "widen", num_settled=4)]
        await store.adopt(rest[0])
        await grow(store, search, 2)
        later = audit(2, search.placements[1], num_settled=6)
        await store.keep_audit(later)

        left = [entry async for entry in store.log(seen)]

        assert left == [*rest, *search.placements[4:], later]

    async def test_many_slots_at_once_get_different_jobs(self, open_store: OpenStore):
        store = await open_store()

        claimed = await asyncio.gather(*(store.dispatch(slot) for slot in range(20)))

        assert sorted(job.number for job in claimed) == list(range(1, 21))


async def place_arms(store: SearchStore, num_settled: int, arms: str) -> list[Placement]:
    """Settle candidates: of the writer, the control arm or the fallback; in capitals, the world fails them."""
    placed = []
    for number, arm in enumerate(arms, num_settled + 1):
        who = {"by_rule": arm in "cC", "fallback": arm == "s"}
        job = await store.dispatch(0)
        if arm in "EC":
            placement, artefacts = failure(number, job, **who), Artefacts()
        else:
            placement, artefacts = success(number, job, **who)
        assert await store.commit(placement, artefacts)
        placed.append(placement)
    return placed


def folded(comparison: Comparison, placed: Iterable[Placement]) -> Comparison:
    return reduce(Comparison.after, placed, comparison)


def _with(placement: Placement, field: str, value: float) -> Placement:
    assert placement.report
    assert placement.offer
    match field:
        case "report.test_loss":
            return replace(placement, report=replace(placement.report, test_loss=value))
        case "offer.curiosity":
            return replace(placement, offer=replace(placement.offer, curiosity=value))
        case "curve":
            curve = tuple(epoch._replace(train_loss=value) for epoch in placement.report.curve)
            return replace(placement, report=replace(placement.report, curve=curve))
    return replace(placement, **{field: value})
