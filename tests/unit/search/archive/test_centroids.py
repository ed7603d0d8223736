"""Which cell a point belongs to: exactly the nearest, the lowest of equally near ones."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmatic_daemon.search.archive.centroids import Centroids

Point = tuple[float, float]

unit = st.floats(0.0, 1.0)
#: Borders, corners, lattice lines and their neighbours in floating point.
awkward = st.sampled_from(
    [0.0, 1.0, 0.5, 0.25, 1 / 3, 2 / 3, 5e-324, math.nextafter(1.0, 0.0), math.nextafter(0.5, 0.0)]
)
anywhere = st.tuples(unit | awkward, unit | awkward)
scattered = st.lists(anywhere, min_size=1, max_size=60)
clustered = st.builds(
    lambda middle, offsets: [
        (min(max(middle[0] + dx, 0.0), 1.0), min(max(middle[1] + dy, 0.0), 1.0)) for dx, dy in offsets
    ],
    anywhere,
    st.lists(st.tuples(st.floats(-1e-3, 1e-3), st.floats(-1e-3, 1e-3)), min_size=1, max_size=60),
)
lattice = st.integers(1, 8).map(
    lambda side: [(x / side, y / side) for x in range(side + 1) for y in range(side + 1)]
)


def nearest(points: list[Point], x: float, y: float) -> int:
    """Look at every centroid."""
    squared = [(x - px) * (x - px) + (y - py) * (y - py) for px, py in points]
    return squared.index(min(squared))


@settings(max_examples=300, deadline=None)
@given(points=scattered | clustered | lattice, at=anywhere)
def test_index_of_equals_brute_force(points: list[Point], at: Point):
    assert Centroids(points).index_of(*at) == nearest(points, *at)


@settings(max_examples=100, deadline=None)
@given(points=lattice, at=st.data())
def test_index_of_a_centroid_is_its_own_lowest_cell(points: list[Point], at: st.DataObject):
    point = at.draw(st.sampled_from(points))

    assert Centroids(points).index_of(*point) == points.index(point)


def test_index_of_takes_the_lowest_of_equally_near_cells():
    cells = Centroids([(1.0, 1.0), (0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])

    assert cells.index_of(0.5, 0.5) == 0
    assert cells.index_of(0.0, 0.5) == 1


def test_index_of_finds_the_only_cell_from_everywhere():
    cells = Centroids([(1.0, 1.0)])

    assert [cells.index_of(x, y) for x in (0.0, 1.0) for y in (0.0, 1.0)] == [0, 0, 0, 0]


def test_index_of_widens_its_search_across_empty_buckets():
    points = [(0.999, 0.999 - i / 10_000) for i in range(400)]

    assert Centroids(points).index_of(0.0, 0.0) == nearest(points, 0.0, 0.0)


@pytest.mark.parametrize("points", [[], [(0.5, 1.1)], [(math.nan, 0.5)], [(-0.1, 0.5)]])
def test_centroids_refuse_none_and_those_outside_the_unit_square(points: list[Point]):
    with pytest.raises(ValueError, match=r"cell|unit square"):
        Centroids(points)
