"""Every completion of the corpus becomes what it must, and reading is safe, stable and fast."""

import ast
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmatic_daemon.domain import Candidate, Completion, Outcome, Rejection
from llmatic_daemon.search.candidates.source import class_name_of, read_source, read_text
from tests.corpus.completions import CASES, PARENT, Case
from tests.support.fakes import TASK, proposal

ACCEPTED = [case for case in CASES if not isinstance(case.expected, Outcome)]
SHORT = [case.text for case in CASES if isinstance(case.text, str) and len(case.text) < 4000]


def name_of(case: Case) -> str:
    return case.name


def read(case: Case) -> Candidate | Rejection:
    completion = Completion(
        text=case.content, writer="fake", model="fake-1", finish_reason=case.finish_reason
    )
    return read_source(completion, proposal(), case.parents, TASK)


def defined_in(source: str) -> list[str]:
    """Name what a source defines, imports aside; read, not run."""
    names = []
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef):
            names.append(statement.name)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            names += [n.id for n in ast.walk(statement) if isinstance(n, ast.Name)][:1]
    return names


def test_corpus_has_at_least_sixty_completions_of_different_names():
    assert len({case.name for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_completion_becomes_what_it_must(case: Case):
    result = read(case)

    if isinstance(case.expected, Outcome):
        assert isinstance(result, Rejection)
        assert (result.cause, result.detail != "") == (case.expected, True)
        return
    assert isinstance(result, Candidate), result
    assert result.class_name == case.expected == class_name_of(result.source)
    assert defined_in(result.source) == list(case.defined or [case.expected])
    assert [part for part in case.has if part not in result.source] == []
    assert [part for part in case.lacks if part in result.source] == []


@pytest.mark.parametrize("case", ACCEPTED, ids=name_of)
def test_accepted_source_compiles(case: Case):
    result = read(case)

    assert isinstance(result, Candidate)
    compile(result.source, "candidate", "exec", dont_inherit=True)


@pytest.mark.parametrize("case", ACCEPTED, ids=name_of)
def test_accepted_source_reads_as_itself(case: Case):
    """Nothing is lost or moved; the parents tell a network from one that it inherits from."""
    first = read(case)

    assert isinstance(first, Candidate)
    assert read_text(first.source, case.parents, seed=first.seed, task=TASK) == first


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_completion_is_read_within_a_second(case: Case):
    """Reading blocks the event loop; CPU time, so that a busy machine does not fail the test."""
    parents = (*case.parents, PARENT.replace("Net", "DeepNet"), case.content[:60_000])
    text, start = case.content, time.process_time()

    read_text(text, parents, seed=1, task=TASK, cut=case.finish_reason == "length")

    assert time.process_time() - start < 1


# --- whatever the text ---------------------------------------------------------------------------


@st.composite
def mutations(draw: st.DrawFn) -> str:
    """Cut, double or splice completions of the corpus."""
    one, other = draw(st.sampled_from(SHORT)), draw(st.sampled_from(SHORT))
    first, second = draw(st.integers(0, len(one))), draw(st.integers(0, len(other)))
    middle = draw(st.sampled_from(["", "\n", "```\n", '"""', "(", "\x00", "    ", "\ud800", one]))
    return one[:first] + middle + other[second:]


@settings(max_examples=300, deadline=1000)
@given(text=mutations(), parent=st.sampled_from(SHORT) | st.text(max_size=20), cut=st.booleans())
def test_no_mutated_completion_makes_it_raise(text: str, parent: str, cut: bool):
    result = read_text(text, (parent, PARENT), seed=1, task=TASK, cut=cut)

    if isinstance(result, Candidate):
        ast.parse(result.source)
        assert class_name_of(result.source) == result.class_name
