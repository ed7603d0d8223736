import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmatic_daemon.domain.nasbench_cells import NUM_CELLS, OPERATIONS, PATTERN, Cell, CellError, every_cell

CONV, SKIP, NONE, POOL = "nor_conv_3x3", "skip_connect", "none", "avg_pool_3x3"
cells = st.builds(Cell, st.tuples(*[st.sampled_from(OPERATIONS)] * 6))


@given(cells)
def test_cell_is_read_back_from_its_text(cell):
    assert Cell.parse(str(cell)) == cell
    assert re.fullmatch(PATTERN, str(cell))


def test_there_are_as_many_cells_and_functions_as_the_benchmark_says():
    every = list(every_cell())

    assert len(set(every)) == NUM_CELLS == 15_625
    assert len({cell.canonical for cell in every}) == 6_466


def test_isomorphic_cells_have_one_name():
    first = Cell((CONV, NONE, NONE, NONE, SKIP, NONE))

    assert first.canonical == Cell((SKIP, NONE, NONE, NONE, CONV, NONE)).canonical
    assert first.canonical != Cell((POOL, NONE, NONE, NONE, SKIP, NONE)).canonical


@pytest.mark.parametrize(
    ("operations", "length"),
    [
        ((NONE,) * 6, 0),
        ((SKIP,) * 6, 0),
        ((CONV, NONE, CONV, NONE, NONE, CONV), 3),
        ((CONV, NONE, CONV, NONE, NONE, NONE), 0),
        ((CONV, SKIP, POOL, SKIP, NONE, SKIP), 2),
    ],
)
def test_longest_path_counts_what_is_computed_on_the_way_to_the_output(operations, length):
    assert Cell(operations).longest_path == length


@pytest.mark.parametrize(
    "text",
    [
        "",
        "|none~0|",
        "|conv~0|+|none~0|none~1|+|none~0|none~1|none~2|",
        "|none~1|+|none~0|none~1|+|none~0|none~1|none~2|",
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|\n",
    ],
)
def test_what_is_no_cell_is_refused_with_the_form_of_one(text):
    with pytest.raises(CellError, match=r"must look like \|op~0\|"):
        Cell.parse(text)


def test_pattern_has_nothing_that_a_grammar_could_not_have():
    """Engines that build automata know no look-around, no back-references and no lazy repeats."""
    assert set(re.sub(r"[a-z0-3_~]", "", PATTERN.replace("(?:", "("))) == set("(|)\\+")
