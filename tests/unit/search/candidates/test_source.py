"""From a completion to a candidate's source: found, cut, written out; never run, never repaired."""

import ast
import time
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmatic_daemon.domain import Candidate, Completion, Outcome, Rejection
from llmatic_daemon.search.candidates.code_blocks import MAX_SOURCE_BYTES
from llmatic_daemon.search.candidates.source import class_name_of, read_source
from llmatic_daemon.search.operators import initial_source
from tests.support.fakes import TASK, proposal

IMPORTS = "import torch\nfrom torch import nn\n"
NET = "class Net(nn.Module):\n    def forward(self, x):\n        return x\n"
PARENT = initial_source(TASK)


def read(text: str, *parents: str, finish_reason: str = "stop") -> Candidate | Rejection:
    completion = Completion(text=text, writer="fake", model="fake-1", finish_reason=finish_reason)
    return read_source(completion, proposal(), parents or (PARENT,), TASK)


def source_of(text: str, *parents: str) -> str:
    candidate = read(text, *parents)
    assert isinstance(candidate, Candidate), candidate
    return candidate.source


def cause_of(text: str, *parents: str) -> Outcome:
    rejection = read(text, *parents)
    assert isinstance(rejection, Rejection), rejection
    return rejection.cause


def defined_in(source: str) -> list[str]:
    names: dict[str, object] = {}
    fallback = "class nn:\n    class Module: pass\nclass torch: pass\nF = None\n"
    lines = [line for line in source.split("\n") if not line.startswith(("import", "from"))]
    exec(compile(fallback + "\n".join(lines), "candidate", "exec"), names)
    return [name for name in names if name not in ("nn", "torch", "F", "__builtins__")]


# --- where the code is ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        IMPORTS + NET,
        f"Here it is:\n```python\n{IMPORTS}{NET}```\nIt is better because ...",
        f"```\n{IMPORTS}{NET}```",
        f"```python\n{IMPORTS}{NET}```\n```python\nclass Other(nn.Module):\n    pass\n```",
        f"```python\n{IMPORTS}{NET}",
        (IMPORTS + NET).replace("\n", "\r\n"),
        (IMPORTS + NET).replace("\n", "\r"),
        "\ufeff" + IMPORTS + NET,
        IMPORTS + NET + "\n\nclass Other(nn.Module):\n    def forward(self, x):\n        ret",
        IMPORTS + NET + '\n\nif __name__ == "__main__":\n    print(Net())\n',
        IMPORTS + NET + "\nnet = Net()\nprint(net)\ntrain(net)\n",
        IMPORTS + NET + "\n\nclass Second(nn.Module):\n    def forward(self, x):\n        return 2 * x\n",
        IMPORTS + NET + '\n\n"""Now add a layer',
    ],
    ids=[
        "plain",
        "fence",
        "fence-without-language",
        "second-fence",
        "open-fence",
        "crlf",
        "cr",
        "byte-order-mark",
        "half-a-class",
        "main-block",
        "statements",
        "second-class",
        "half-a-string",
    ],
)
def test_source_is_the_first_network_alone(text: str):
    assert source_of(text) == "from torch import nn\n\n\n" + NET


def test_source_may_be_indented_by_tabs():
    text = NET.replace("    ", "\t")

    assert source_of(text) == "from torch import nn\n\n\n" + text


def test_source_keeps_the_comments_of_its_class():
    text = NET.replace("return x", "return x  # as it is")

    assert text in source_of(text)


def test_continuation_uses_imports_and_helpers_of_the_parents_file():
    parent = IMPORTS + "WIDTH = 8\n\ndef twice(x):\n    return WIDTH * x\n\n" + NET
    child = "class Child(nn.Module):\n    def forward(self, x):\n        return twice(x)\n"

    source = source_of(child, parent)

    assert defined_in(source) == ["WIDTH", "twice", "Child"]


def test_second_parent_lends_nothing():
    child = "class Child(nn.Module):\n    def forward(self, x):\n        return twice(x)\n"

    assert "twice(x):" not in source_of(child, PARENT, "def twice(x):\n    return 2 * x\n")


def test_helper_of_the_completion_wins_over_the_parents():
    parent = IMPORTS + "def twice(x):\n    return 'parent'\n"
    child = (
        "def twice(x):\n    return 'child'\n"
        "class Child(nn.Module):\n    def forward(self, x):\n        return twice(x)\n"
    )

    assert "'child'" in source_of(child, parent)
    assert "'parent'" not in source_of(child, parent)


def test_parents_base_class_stands_before_the_class_that_inherits_from_it():
    parent = IMPORTS + "\n" * 50 + "class Block(nn.Module):\n    pass\n"
    child = "class Net(Block):\n    pass\n\nclass Other(Block):\n    pass\n"
    used = "class Part(Block):\n    pass\n\nclass Net(nn.Module):\n    made = Part\n"

    assert defined_in(source_of(child, parent)) == ["Block", "Net"]
    assert defined_in(source_of(used, parent)) == ["Block", "Part", "Net"]


def test_names_of_one_assignment_come_together():
    text = "A, (B, C) = 1, (2, 3)\n" + NET.replace("return x", "return x + B")

    assert "A, (B, C) = 1, (2, 3)\n" in source_of(text)


# --- which class ---------------------------------------------------------------------------------


def test_network_is_not_the_activation_that_it_is_made_of():
    text = (
        "class Swish(nn.Module):\n    def forward(self, x):\n        return x * torch.sigmoid(x)\n\n"
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.act = Swish()\n"
    )

    candidate = read(text)

    assert isinstance(candidate, Candidate)
    assert candidate.class_name == "Net"
    assert defined_in(candidate.source) == ["Swish", "Net"]


def test_run_on_that_inherits_from_the_network_does_not_replace_it():
    candidate = read(NET + "\nclass Better(Net):\n    pass\n")

    assert isinstance(candidate, Candidate)
    assert candidate.class_name == "Net"


@pytest.mark.parametrize(
    ("arguments", "accepted"),
    [
        ("self", True),
        ("self, width=8", True),
        ("self, *args, **kwargs", True),
        ("self, width", False),
        ("self, *, width", False),
        ("self, *, width=8", True),
    ],
)
def test_network_must_be_buildable_without_arguments(arguments: str, accepted: bool):
    text = f"class Net(nn.Module):\n    def __init__({arguments}):\n        pass\n"

    assert isinstance(read(text), Candidate) is accepted


def test_network_of_the_same_name_as_a_helper_is_the_one_written_out():
    text = "class Net(nn.Module):\n    def __init__(self, width):\n        pass\n\n" + NET

    assert source_of(text) == "from torch import nn\n\n\n" + NET


@pytest.mark.parametrize(
    "base", ["nn.Module", "torch.nn.Module", "Module", "Base", "nn.Sequential", "Sequential"]
)
def test_network_inherits_from_module_directly_or_not(base: str):
    text = f"class Base(nn.Module):\n    def __init__(self, x): pass\nclass Net({base}):\n    def __init__(self): pass\n"

    assert isinstance(read(text), Candidate)


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", Outcome.NOT_CODE),
        ("\n# nothing but a comment\n", Outcome.NOT_CODE),
        ("I cannot do that.", Outcome.NOT_CODE),
        ("class Net(nn.Module):\n    def forward(self, x):\n        ret = (", Outcome.NOT_CODE),
        ("x = 1\n", Outcome.NO_CLASS),
        ("class Net:\n    pass\n", Outcome.NO_CLASS),
        ("class A(B):\n    pass\nclass B(A):\n    pass\n", Outcome.NO_CLASS),
        ("class Net(Net):\n    pass\n", Outcome.NO_CLASS),
        ("import os\n" + NET.replace("return x", "return os"), Outcome.NO_CLASS),
        ("from subprocess import run\n" + NET.replace("return x", "run(x)"), Outcome.NO_CLASS),
        (NET.replace("return x", "import socket"), Outcome.NO_CLASS),
        (NET.replace("return x", "from . import sibling"), Outcome.NO_CLASS),
        ("from os import *\n" + NET, Outcome.NO_CLASS),
        ("#" * MAX_SOURCE_BYTES + "\n" + NET, Outcome.NOT_CODE),
        ("é" * (MAX_SOURCE_BYTES // 2 + 1), Outcome.NOT_CODE),
    ],
)
def test_completion_is_rejected_with_its_cause(text: str, cause: Outcome):
    assert cause_of(text) is cause


def test_import_that_is_not_used_is_left_out_rather_than_refused():
    assert "matplotlib" not in source_of("import matplotlib.pyplot as plt\n" + NET)


# --- nothing makes it raise ----------------------------------------------------------------------

PIECES = (
    "class Net(nn.Module):\n",
    "    def forward(self, x):\n",
    "        return x\n",
    "import torch\n",
    "```python\n",
    "```\n",
    "from x import *\n",
    "x = y\n",
    "\t",
    "\r\n",
    "(",
    '"""',
    "\\\n",
    "@",
    "é",
    "class A(Net, B):\n    pass\n",
    "\x00",
    "\ud800",
    "\x0c",
    "async def f(): pass\n",
    "~~~\n",
    "  ```\n",
    "````md\n",
    "</think>",
    "    @property\n",
    "    def __init__(self): pass\n",
    "'''",
    "# ",
    "a = 1; b = a\n",
    "x: int = 0x" + "f" * 4000 + "\n",
    "from __future__ import annotations\n",
    "\u200b",
)
texts = st.text() | st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@settings(max_examples=300, deadline=None)
@given(text=texts, parent=texts, finish_reason=st.sampled_from(["stop", "length", "eos_token"]))
def test_no_text_makes_it_raise(text: str, parent: str, finish_reason: str):
    result = read(text, parent, finish_reason=finish_reason)

    assert isinstance(result, Candidate | Rejection)


@settings(max_examples=100, deadline=None)
@given(cut=st.integers(0, len(IMPORTS + NET)))
def test_no_half_completion_makes_it_raise(cut: int):
    text = (IMPORTS + NET)[:cut]

    assert isinstance(read(text), Candidate | Rejection)
    assert isinstance(read("```python\n" + text), Candidate | Rejection)
    assert isinstance(read(text, finish_reason="length"), Candidate) is (cut == len(IMPORTS + NET))


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(f"class C{i}(C{i + 1}): pass" for i in range(1500)),
        "\n".join(f"class C{i + 1}(C{i}): pass" for i in range(1500)),
        "\n".join(f"class C{i}(C{i + 1}, D{i + 1}): pass" for i in range(500)),
        "class Net(x" + ".a" * 900 + "): pass",
        "Z = " + "-" * 2000 + "1\nclass Net(nn.Module):\n    y = Z",
        "Z = " + "(" * 5000,
        "x = (\n" * 500,
    ],
    ids=["forward-bases", "bases", "two-bases", "attributes", "minus", "parentheses", "open-lines"],
)
def test_deeply_nested_text_is_read_without_raising(text: str):
    """Each of these ended the daemon, or took seconds, when `ast` or we recursed into it."""
    assert isinstance(read(text), Candidate | Rejection)


@pytest.mark.parametrize(("signs", "is_read"), [(197, True), (198, False), (2000, False), (15_000, False)])
def test_depth_is_bounded_alike_by_every_python(signs: int, is_read: bool):
    """A class, an assignment, its signs, a number: the parsers of newer Pythons take far more of them."""
    result = read(f"{IMPORTS}class Net(nn.Module):\n    a = {'-' * signs}1\n")

    assert isinstance(result, Candidate) is is_read
    if not is_read:
        assert result == Rejection(
            cause=Outcome.NOT_CODE, detail="code must be nested at most 200 levels deep"
        )


def test_class_of_a_deeper_source_that_is_stored_is_still_found():
    assert class_name_of(f"class Net(nn.Module):\n    a = {'-' * 1000}1\n") == "Net"


@pytest.mark.parametrize(
    "text",
    [
        "class Net(nn.Module):\n" + "    a = 1\n" * 6500 + "(",
        "\n".join(f"a{i} = a{i - 1}" for i in range(4000)) + "\n" + NET.replace("x\n", "a3999\n"),
        ("```python\n" + NET) * 3000,
        "```\n" * 60_000,
        "`" * 250_000 + "x",
        " \n" * 130_000,
        "import x y\n" * 5900,
        "class A(\n" * 6000,
        '"""\n' * 16_000,
        "import " + "a." * 30_000 + "b",
        "x = f'" + "{a}" * 20_000 + "'",
    ],
    ids=[
        "dense",
        "chain",
        "fenced-networks",
        "fences",
        "backticks",
        "blank",
        "half-imports",
        "half-classes",
        "docstrings",
        "dotted-name",
        "f-string",
    ],
)
@pytest.mark.parametrize("finish_reason", ["stop", "length"])
def test_worst_text_is_read_at_a_small_multiple_of_pythons_own_cost(text: str, finish_reason: str):
    """Reading blocks the event loop. A multiple is the same on a slow and on a busy machine."""
    parent = "class Net(nn.Module):\n" + "    b = 1\n" * 4000

    most_s = 50 * pythons_own_cpu_s()

    assert any(
        cpu_s(lambda: read(text, parent, parent, parent, finish_reason=finish_reason)) < most_s
        for _ in range(3)  # what is more than the best of three is the machine's
    )


@cache
def pythons_own_cpu_s() -> float:
    """Parse a dense source, and take the best of three."""
    dense = "class Net(nn.Module):\n" + "    a = 1\n" * 6500
    return min(cpu_s(lambda: ast.parse(dense)) for _ in range(3))


def cpu_s(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def test_candidate_carries_the_proposals_seed_and_its_task():
    candidate = read(NET)

    assert isinstance(candidate, Candidate)
    assert (candidate.seed, candidate.task) == (proposal().seed, TASK)
