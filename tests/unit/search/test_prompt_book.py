"""Prompts of a search: versions, slots, what an edit empties, and who is drawn how often."""

from collections import Counter
from collections.abc import Sequence

import pytest

from llmatic_daemon.domain import Edition, Job, Prompt, PromptElite, PromptKind
from llmatic_daemon.domain.errors import ConfigurationError
from llmatic_daemon.search.evolution import Evolution, apply
from llmatic_daemon.search.placement import edit, place
from llmatic_daemon.search.prompt_book import highest_curiosity
from llmatic_daemon.search.proposals import propose, rng_for
from tests.support.fakes import evolution, prompt, prompts, proposal, report, trial, with_prompts

JOIN = prompt("join", "join them", kind=PromptKind.CROSSOVER)


def files(*ids: str, **texts: str) -> tuple[Prompt, ...]:
    """Make a set of prompt files: some with a text of their own."""
    return (*(prompt(id_, texts.get(id_, f"{id_} it")) for id_ in ids), JOIN)


def empty() -> Evolution:
    return evolution(1000, num_prompts=1, window_size=1)


def axis_positions(search: Evolution) -> dict[str, int]:
    current = search.prompts.current
    return dict(zip([p.id for p in current.mutation], current.axis_positions, strict=True))


def versions(search: Evolution) -> dict[str, int]:
    return {p.id: p.version for p in search.prompts.current.all}


def taken(*sets: Sequence[Prompt], axis_size: int = 4) -> Evolution:
    search = Evolution(rules=empty().rules, networks=empty().networks, individuals=empty().individuals)
    for each in sets:
        search = with_prompts(search, each, axis_size)
    return search


def used(search: Evolution, id_: str, objective: float) -> Evolution:
    """Settle a trained candidate of a prompt."""
    asked = next(p for p in search.prompts.current.mutation if p.id == id_)
    made = proposal(search.num_settled + 1, prompt=asked)
    return apply(search, place(search, trial(made, report(objective)), 0.0))


def edition(search: Evolution, *ids: str, **texts: str) -> Edition:
    made = edit(search, files(*ids, **texts), 4)
    assert made is not None
    return made


# --- versions ------------------------------------------------------------------------------------


def test_same_files_are_no_edition():
    assert edit(taken(files("a", "b")), files("a", "b"), 4) is None


def test_edited_text_is_a_new_version_and_the_others_stay():
    search = taken(files("a", "b"), files("a", "b", a="do a differently"))

    assert versions(search) == {"a": 2, "b": 1, "join": 1}


def test_text_that_was_there_before_is_its_old_version_again():
    search = taken(files("a", "b"), files("a", "b", a="new"), files("a", "b"), files("b", a=""))

    assert versions(with_prompts(search, files("a", "b", a="newer"), 4))["a"] == 3
    assert versions(with_prompts(search, files("a", "b", a="new"), 4))["a"] == 2


def test_weight_is_an_edition_and_no_version():
    heavier = (prompt("a", "a it", weight=3.0), JOIN)

    search = taken(files("a"), heavier)

    assert versions(search) == {"a": 1, "join": 1}
    assert search.prompts.edition is not None
    assert search.prompts.edition.number == 2


def test_prompt_that_becomes_the_crossover_prompt_is_a_new_version():
    changed = (prompt("join", "join them"), prompt("a", "a it", kind=PromptKind.CROSSOVER))

    search = taken(files("a"), changed)

    assert versions(search) == {"a": 2, "join": 2}
    assert axis_positions(search) == {"join": 1}


def test_edition_that_is_not_the_next_one_is_refused():
    search = taken(files("a"))
    made = edition(search, "a", "b")

    with pytest.raises(ValueError, match="edition 2 after 1 placements must come next"):
        apply(used(search, "a", 0.5), made)
    with pytest.raises(ValueError, match="edition 3"):
        apply(apply(search, made), made)


# --- slots ---------------------------------------------------------------------------------------


def test_added_file_does_not_shift_the_others():
    search = taken(files("b", "d"), files("a", "b", "c", "d"))

    assert axis_positions(search) == {"b": 0, "d": 1, "a": 2, "c": 3}


def test_prompt_that_comes_back_has_its_slot_again():
    search = taken(files("a", "b"), files("b"), files("b", "c"), files("a", "b", "c"))

    assert axis_positions(search) == {"a": 0, "b": 1, "c": 2}


def test_slot_of_the_prompt_that_was_retired_first_is_given_away_when_all_are_used():
    search = taken(files("a", "b", "c", "d"), files("b", "c", "d"), files("c", "d"))

    search = with_prompts(search, files("c", "d", "new"), 4)
    assert axis_positions(search) == {"c": 2, "d": 3, "new": 0}

    search = with_prompts(search, files("c", "d", "new", "newer"), 4)
    assert axis_positions(search) == {"c": 2, "d": 3, "new": 0, "newer": 1}


def test_more_prompts_than_slots_are_refused():
    with pytest.raises(ConfigurationError, match=r"at most 4 mutation prompts .* found 5"):
        edit(taken(files("a")), files("a", "b", "c", "d", "e"), 4)


# --- credit --------------------------------------------------------------------------------------


def test_edit_empties_the_cells_of_the_older_version_alone():
    search = used(used(taken(files("a", "b")), "a", 0.5), "b", 0.6)
    cells = {held.elite.prompt: cell for cell, held in search.individuals.items()}

    made = edition(search, "a", "b", a="do a differently")

    assert made.emptied == (cells["a"],)
    assert [held.elite.prompt for _, held in apply(search, made).individuals.items()] == ["b"]


def test_new_version_starts_with_no_score_and_the_old_one_keeps_its_own():
    search = taken(files("a", "b"))
    for objective in (0.5, 0.6, 0.7):
        search = used(search, "a", objective)
    old_score = search.scores["a", 1]

    search = with_prompts(search, files("a", "b", a="do a differently"), 4)
    search = used(search, "a", 0.1)

    assert old_score == 2.0
    assert (search.scores.get(("a", 2), 0.0), search.scores["a", 1]) == (0.0, 2.0)
    assert [held.objective for _, held in search.individuals.items()] == [0.0]


def test_retired_prompt_keeps_its_cells_until_its_slot_is_given_away():
    search = used(taken(files("a", "b", "c", "d")), "a", 0.5)

    retired = with_prompts(search, files("b", "c", "d"), 4)
    given = with_prompts(retired, files("b", "c", "d", "e"), 4)

    assert len(retired.individuals) == 1
    assert len(given.individuals) == 0


def test_candidate_of_an_older_version_credits_that_version_and_is_not_offered():
    search = used(taken(files("a", "b")), "b", 0.1)
    asked = search.prompts.current.mutation[0]
    under_way = proposal(7, prompt=asked)
    search = with_prompts(search, files("a", "b", a="do a differently"), 4)

    placement = place(search, trial(under_way, report(0.9)), 0.0)

    assert (placement.prompt, placement.prompt_version) == ("a", 1)
    assert placement.offer is None
    assert placement.score_change == 1.0
    assert dict(apply(search, placement).scores) == {("a", 1): 1.0}


def test_stand_in_earns_its_prompt_nothing():
    search = used(taken(files("a", "b")), "a", 0.1)
    cell, held = next(search.individuals.items())
    made = proposal(
        9, prompt=search.prompts.current.mutation[0], credited_cell=cell, credited_job=held.elite.job
    )

    placement = place(search, trial(made, report(0.9), fallback=True), 0.0)

    assert placement.fallback
    assert placement.status.added
    assert (placement.credited_cell, placement.score_change, placement.offer) == (None, 0.0, None)


def test_individual_of_an_older_version_is_not_the_most_curious():
    search = evolution(num_initial=1, mutation_ratio=1.0, curious_ratio=1.0, num_prompts=2)
    search = used(search, "p00", 0.5)
    edited = [prompt("p00", "new"), *prompts(2)[1:]]

    search = with_prompts(search, edited)
    made = [propose(search, job, rng_for(1, job)) for job in _jobs(50)]

    assert all(p.credited_job is None for p in made)


def test_highest_curiosity_is_that_of_the_texts_in_use():
    search = evolution(num_prompts=2)
    archive = search.individuals
    for cell, (prompt_id, version, curiosity) in enumerate(
        [("p00", 1, -1.0), ("p00", 1, 2.5), ("p00", 2, 9.0), ("gone", 1, 9.0)]
    ):
        elite = PromptElite(
            job=cell, prompt=prompt_id, prompt_version=version, temperature=0.5, curiosity=curiosity
        )
        archive = archive.with_elite(cell, 0.0, elite)

    assert highest_curiosity(archive, search.prompts.current) == {"p00": 2.5}


# --- drawing -------------------------------------------------------------------------------------


def _jobs(count: int) -> list[Job]:
    return [Job(number=number, attempt=1) for number in range(1, count + 1)]


def test_prompts_are_drawn_by_their_weights():
    weighted = (prompt("a", "a", weight=1.0), prompt("b", "b", weight=3.0), JOIN)
    search = with_prompts(empty(), weighted)

    drawn = Counter(propose(search, job, rng_for(1, job)).prompt.id for job in _jobs(2000))

    assert drawn["b"] / 2000 == pytest.approx(0.75, abs=0.03)
    assert set(drawn) == {"a", "b"}
