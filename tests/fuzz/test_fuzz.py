"""The judge meets thousands of hostile inputs, and answers each of them with one of its own errors."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import mutations
from tests.fuzz.judging import judge_network, judge_result

SEEDS = st.integers(0, 2**32).map(random.Random)


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(st.binary(max_size=300))
def test_any_bytes_are_no_result(data):
    assert judge_result(data) == "no result"


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(SEEDS)
def test_changed_result_is_judged(rng):
    assert judge_result(mutations.result_bytes(rng)) in ("no result", "refused", "accepted")


@settings(max_examples=600, deadline=None, derandomize=True)
@given(SEEDS)
def test_changed_graph_is_judged(rng):
    graph = mutations.graph_bytes(rng)

    weights, order = mutations.weight_bytes(rng, graph), mutations.order(rng, graph)

    assert judge_network(graph, weights, order) in ("refused", "accepted")


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.sampled_from(range(len(mutations.GRAPHS))), st.data())
def test_changed_weights_are_judged(number, data):
    graph = json.dumps(mutations.GRAPHS[number], separators=(",", ":")).encode()
    weights = mutations.weight_bytes(data.draw(SEEDS), graph)

    assert judge_network(graph, weights, []) in ("refused", "accepted")


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "[" * 9999])
def test_number_that_json_does_not_have_is_refused(text):
    graph = json.dumps(mutations.GRAPHS[0], separators=(",", ":")).replace("3", text, 1).encode()

    assert judge_network(graph, b"", []) == "refused"


def test_mutations_reach_the_validator():
    """They would prove little if the reader refused them all."""
    verdicts = []
    for seed in range(60):
        rng = random.Random(seed)
        graph = mutations.graph_bytes(rng)
        verdicts.append(judge_network(graph, mutations.weight_bytes(rng, graph), []))

    assert verdicts.count("accepted") >= 3
