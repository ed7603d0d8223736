"""What an LLM is asked: for models that continue a file, and for those that chat."""

import ast
from dataclasses import fields, replace

import pytest

from llmatic_daemon.adapters.prompts.prompt_files import default_folder, read_prompts
from llmatic_daemon.domain import Operator, PromptKind, Request
from llmatic_daemon.search.candidates.requests import STOPS, filled, placeholders, write_request
from llmatic_daemon.search.operators import initial_source
from tests.support.fakes import TASK, prompt, proposal, request_for

SOURCE = "from torch import nn\n\n\nclass Net(nn.Module):\n    pass\n"
DEEPEN = prompt("deepen", "Add a layer.")
JOIN = prompt("join", "Combine them.", kind=PromptKind.CROSSOVER)


# --- a model that continues a file ---------------------------------------------------------------


def test_completion_model_continues_after_source_and_docstring():
    request = request_for(DEEPEN, SOURCE)

    assert request.continuation == f'{SOURCE}\n\n"""Add a layer."""\n'


def test_prompt_that_places_the_source_is_the_whole_request():
    layout = prompt("layout", '# before\n{source}\n# after, for {num_classes} classes\n"""Go."""\n')

    request = request_for(layout, SOURCE)

    text = f'# before\n{SOURCE}\n# after, for 10 classes\n"""Go."""\n'
    assert (request.continuation, request.question) == (text, text)


def test_several_parents_are_numbered_in_their_order():
    request = request_for(JOIN, "A = 1\n", "B = 2\n", "C = 3\n")

    assert request.continuation == (
        '# Network 1\nA = 1\n\n\n# Network 2\nB = 2\n\n\n# Network 3\nC = 3\n\n\n"""Combine them."""\n'
    )


def test_several_parents_are_numbered_in_a_layout_too():
    layout = replace(JOIN, text="{source}\nnow join")

    request = request_for(layout, "A = 1\n", "B = 2\n")

    assert request.continuation == "# Network 1\nA = 1\n\n\n# Network 2\nB = 2\n\nnow join"


def test_braces_in_a_parents_source_stay_as_they_are():
    source = "sizes = {source: {1}}\nname = f'{x}{{y}}'\n"

    for asked in (DEEPEN, prompt("layout", "{source}")):
        assert source in request_for(asked, source).continuation


def test_first_request_shows_the_initial_network():
    request = request_for(DEEPEN)

    assert request.parents == (initial_source(TASK),)
    assert request.continuation.startswith(initial_source(TASK))


@pytest.mark.parametrize("asked", read_prompts(default_folder()), ids=lambda p: p.id)
def test_request_by_a_shipped_prompt_is_python_so_far(asked):
    sources = ("a = 1\n", "b = 2\n") if asked.kind is PromptKind.CROSSOVER else ("a = 1\n",)

    request = request_for(asked, *sources)

    ast.parse(request.continuation)
    assert "{" not in request.question


# --- a model that chats --------------------------------------------------------------------------


def test_chat_model_gets_the_source_in_a_fence_and_the_prompt_below():
    request = request_for(DEEPEN, SOURCE)

    assert request.question == f"```python\n{SOURCE}```\n\nAdd a layer."


def test_chat_model_is_told_what_networks_are_for():
    request = request_for(DEEPEN, SOURCE, task=replace(TASK, input_shape=(1, 8, 9), num_classes=7))

    assert "(batch, 1, 8, 9)" in request.system
    assert "(batch, 7)" in request.system
    assert "{" not in request.system


# --- placeholders --------------------------------------------------------------------------------


def test_placeholders_are_filled_from_the_task():
    asked = prompt("all", "{task}: {shape} to {num_classes}, {{kept}}")

    request = request_for(asked, SOURCE)

    assert '"""fake: 3 x 32 x 32 to 10, {kept}"""' in request.continuation
    assert request.question.endswith("fake: 3 x 32 x 32 to 10, {kept}")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", set()),
        ("plain", set()),
        ("{source}", {"source"}),
        ("{source} {shape} {source}", {"source", "shape"}),
        ("{{source}}", set()),
        ("{{{source}}}", {"source"}),
        ("{odd}", {"odd"}),
        ("{}", {""}),
    ],
)
def test_placeholders_are_named(text: str, names: set[str]):
    assert placeholders(text) == names


@pytest.mark.parametrize("text", ["{", "}", "{source", "a } b", "{{}"])
def test_single_brace_is_refused(text: str):
    with pytest.raises(ValueError, match=r"\w"):
        placeholders(text)


def test_doubled_braces_become_single_ones():
    assert filled("{{{a}}} {{}} {b}", {"a": "{1}", "b": "2"}) == "{{1}} {} 2"


# --- stops ---------------------------------------------------------------------------------------


def test_stops_follow_the_prompts_kind():
    assert request_for(DEEPEN, SOURCE).stops == STOPS[PromptKind.MUTATION]
    assert request_for(JOIN, SOURCE, SOURCE).stops == STOPS[PromptKind.CROSSOVER]


@pytest.mark.parametrize("kind", PromptKind)
def test_stops_are_no_more_than_tgi_takes(kind: PromptKind):
    assert 1 <= len(STOPS[kind]) <= 4
    assert all(stop.startswith("\n") for stop in STOPS[kind])


@pytest.mark.parametrize("kind", PromptKind)
def test_no_stop_is_met_within_a_network(kind: PromptKind):
    network = initial_source(TASK)

    assert not any(stop in network for stop in STOPS[kind])


# --- the request itself --------------------------------------------------------------------------


def test_request_takes_over_what_the_proposal_says():
    made = proposal(operator=Operator.MUTATION, prompt=DEEPEN, sampling_temperature=0.3, seed=9)

    request = write_request(made, [SOURCE], TASK)

    assert (request.temperature, request.seed, request.prompt) == (0.3, 9, DEEPEN)
    assert (request.operator, request.parents, request.task) == (Operator.MUTATION, (SOURCE,), TASK)


ASKED = request_for(DEEPEN, SOURCE)


@pytest.mark.parametrize(
    "change",
    [
        {"continuation": "other"},
        {"stops": ("\n",)},
        {"system": "other"},
        {"question": "other"},
        {"temperature": 0.51},
        {"seed": 8},
    ],
    ids=lambda change: next(iter(change)),
)
def test_digest_changes_with_what_an_llm_answers_by(change):
    assert replace(ASKED, **change).digest != ASKED.digest


def test_digest_is_the_same_for_what_an_llm_never_sees():
    renamed = replace(ASKED, prompt=replace(DEEPEN, id="other", weight=3.0, version=4))

    assert renamed.digest == ASKED.digest == request_for(DEEPEN, SOURCE).digest


@pytest.mark.parametrize(
    "other",
    [
        request_for(replace(DEEPEN, text="Add two layers."), SOURCE),
        request_for(DEEPEN, SOURCE + "\n"),
        request_for(DEEPEN, SOURCE, task=replace(TASK, num_classes=11)),
        request_for(replace(DEEPEN, kind=PromptKind.CROSSOVER), SOURCE),
    ],
    ids=["prompt", "source", "task", "kind"],
)
def test_digest_changes_with_prompt_source_and_task(other: Request):
    assert other.digest != ASKED.digest


def test_every_field_of_a_request_is_in_the_digest_or_unseen():
    """A new field must be put on one side or the other."""
    seen = {"continuation", "stops", "system", "question", "temperature", "seed"}
    unseen = {"operator", "prompt", "parents", "task"}

    assert {part.name for part in fields(Request)} == seen | unseen


def test_digest_takes_any_text():
    assert len(replace(ASKED, continuation="\ud800\x00").digest) == 64


def test_writer_is_told_how_accurate_the_networks_of_its_history_are():
    made = proposal(results=(0.75, 0.5))

    request = write_request(made, [SOURCE, SOURCE], TASK)

    assert "# Network 1, accuracy 0.7500\n" in request.question
    assert "# Network 2, accuracy 0.5000\n" in request.continuation
    alone = write_request(proposal(results=(0.75,)), [SOURCE], TASK)
    assert alone.question.startswith("```python\n# Network 1, accuracy 0.7500\n")
