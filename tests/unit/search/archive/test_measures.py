"""Where a solution stands: normalised, clipped and counted."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmatic_daemon.search.archive.measures import Axis, MeasureSpace
from tests.support.fakes import NETWORK_SPACE, centroids

numbers = st.floats(allow_nan=False)
LOG_SPACE = MeasureSpace(
    Axis(name="ratio", low=0.5, high=512.0, log=True), Axis(name="flops", low=1e5, high=1e9, log=True)
)
spaces = st.sampled_from([NETWORK_SPACE, LOG_SPACE])
CELLS = centroids(25)


@given(space=spaces, first=numbers, second=numbers)
def test_every_measure_lands_in_exactly_one_cell(space: MeasureSpace, first: float, second: float):
    point = space.normalise(first, second)

    squared = [(point.x - x) ** 2 + (point.y - y) ** 2 for x, y in CELLS.points]

    assert 0.0 <= point.x <= 1.0
    assert 0.0 <= point.y <= 1.0
    assert squared[CELLS.index_of(point.x, point.y)] == min(squared)


@given(space=spaces, first=numbers, second=numbers)
def test_normalise_tells_what_lay_outside(space: MeasureSpace, first: float, second: float):
    inside = space.first.low <= first <= space.first.high and space.second.low <= second <= space.second.high

    assert space.normalise(first, second).clipped is not inside


@pytest.mark.parametrize("space", [NETWORK_SPACE, LOG_SPACE])
def test_normalise_maps_bounds_to_the_borders(space: MeasureSpace):
    low = space.normalise(space.first.low, space.second.low)
    high = space.normalise(space.first.high, space.second.high)

    assert (low.x, low.y, low.clipped) == (0.0, 0.0, False)
    assert (high.x, high.y, high.clipped) == (1.0, 1.0, False)


def test_normalise_puts_the_geometric_mean_in_the_middle_of_a_log_scale():
    point = LOG_SPACE.normalise(16.0, 1e7)

    assert (point.x, point.y) == pytest.approx((0.5, 0.5))


def test_normalise_refuses_what_is_not_a_number():
    with pytest.raises(ValueError, match="must be numbers"):
        NETWORK_SPACE.normalise(math.nan, 1e9)


@pytest.mark.parametrize(
    ("low", "high", "log"), [(1, 1, False), (2, 1, False), (0, 1, True), (0, math.inf, False)]
)
def test_axis_refuses_bounds_that_span_nothing(low: float, high: float, log: bool):
    with pytest.raises(ValueError, match="low must be"):
        Axis(name="flops", low=low, high=high, log=log)
