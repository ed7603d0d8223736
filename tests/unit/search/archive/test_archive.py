"""The CVT archive: what enters, what is kept, who is near."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmatic_daemon.domain import AddStatus
from llmatic_daemon.search.archive.archive import CVTArchive
from tests.support.fakes import PROMPT_SPACE, centroids


def empty(num_cells: int = 9) -> CVTArchive[str]:
    return CVTArchive(space=PROMPT_SPACE, centroids=centroids(num_cells))


def offered(archive: CVTArchive[str], offer: tuple[float, float, float]) -> CVTArchive[str]:
    insertion = archive.judge(*offer)
    return archive.with_elite(insertion.cell, offer[2], "x") if insertion.status.added else archive


offers = st.lists(st.tuples(st.floats(-1, 17), st.floats(-1, 2), st.floats(-1e6, 1e6)), max_size=40)


@given(offers)
def test_archive_never_loses_quality_in_a_cell(made: list[tuple[float, float, float]]):
    archive = empty()
    for offer in made:
        after = offered(archive, offer)
        assert all(after[cell].objective >= held.objective for cell, held in archive.items())
        archive = after


@given(offers)
def test_archive_holds_the_best_ever_offered_to_each_cell(made: list[tuple[float, float, float]]):
    archive, best = empty(), dict[int, float]()
    for offer in made:
        cell, _ = archive.locate(*offer[:2])
        best[cell] = max(best.get(cell, -math.inf), offer[2])
        archive = offered(archive, offer)

    assert {cell: held.objective for cell, held in archive.items()} == best
    assert archive.qd_score == pytest.approx(sum(best.values()))
    assert archive.median_objective == (statistics.median(best.values()) if best else None)
    assert [cell for cell, _ in archive.items()] == list(best)


def test_judge_says_new_improved_or_not_added():
    archive = empty()
    cell = archive.judge(3.0, 0.5, 0.4).cell
    archive = archive.with_elite(cell, 0.5, "first")

    statuses = [archive.judge(3.0, 0.5, objective).status for objective in (0.4, 0.5, 0.6)]

    assert empty().judge(3.0, 0.5, 0.4).status is AddStatus.NEW
    assert statuses == [AddStatus.NOT_ADDED, AddStatus.NOT_ADDED, AddStatus.IMPROVED]


@pytest.mark.parametrize("objective", [math.nan, math.inf, -math.inf])
def test_judge_refuses_an_objective_that_is_not_finite(objective: float):
    with pytest.raises(ValueError, match="must be finite"):
        empty().judge(3.0, 0.5, objective)


def test_judge_tells_what_was_clipped():
    assert empty().judge(17.0, 0.5, 1.0).clipped
    assert not empty().judge(16.0, 1.0, 1.0).clipped


def test_with_elite_leaves_the_archive_before_as_it_was():
    before = empty()

    after = before.with_elite(4, 1.0, "elite")

    assert (len(before), len(after)) == (0, 1)
    assert before.get(4) is None
    assert 4 in after


@pytest.mark.parametrize("cell", [-1, 9])
def test_with_elite_refuses_a_cell_that_is_not_there(cell: int):
    with pytest.raises(ValueError, match=r"must be in \[0, 9\)"):
        empty().with_elite(cell, 1.0, "elite")


def test_nearest_filled_orders_by_distance_and_leaves_out_the_cell_itself():
    archive = empty(30)
    for cell in range(0, 30, 2):
        archive = archive.with_elite(cell, 1.0, "elite")
    points = archive.centroids.points
    by_distance = sorted(range(2, 30, 2), key=lambda cell: math.dist(points[0], points[cell]))

    assert archive.nearest_filled(0, 3) == by_distance[:3]
    assert len(archive.nearest_filled(0, 100)) == 14
