"""Prompt files: what is shipped, what is refused, and in which words."""

import os
from pathlib import Path

import pytest

from llmatic_daemon.adapters.prompts.prompt_files import MAX_PROMPT_BYTES, default_folder, read_prompts
from llmatic_daemon.domain import Prompt, PromptKind
from llmatic_daemon.domain.errors import ConfigurationError

CROSSOVER = '+++\nkind = "crossover"\n+++\nJoin them.\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "widen.md").write_text("Widen it.\n")
    (tmp_path / "join.md").write_text(CROSSOVER)
    return tmp_path


def test_shipped_prompts_are_sixteen_and_a_crossover():
    prompts = read_prompts(default_folder())

    assert len([p for p in prompts if p.kind is PromptKind.MUTATION]) == 16
    assert [p.id for p in prompts if p.kind is PromptKind.CROSSOVER] == ["crossover"]
    assert [prompt.id for prompt in prompts] == sorted(prompt.id for prompt in prompts)


def test_shipped_prompts_ask_for_a_class_and_fit_a_docstring():
    for prompt in read_prompts(default_folder()):
        assert "class that inherits from nn.Module" in prompt.text
        assert '"""' not in prompt.text
        assert len(prompt.text) < 400


def test_prompt_is_its_stem_and_its_text(folder: Path):
    (folder / "notes.txt").write_text("no prompt")
    (folder / ".draft.md").write_text("hidden")

    assert read_prompts(folder) == (
        Prompt(id="join", kind=PromptKind.CROSSOVER, text="Join them."),
        Prompt(id="widen", kind=PromptKind.MUTATION, text="Widen it."),
    )


def test_mark_and_line_ends_of_other_systems_are_understood(folder: Path):
    (folder / "widen.md").write_bytes(b"\xef\xbb\xbf+++\r\nkind = 'mutation'\r\n+++\r\nWiden.\r\nNow.")

    assert read_prompts(folder)[1].text == "Widen.\nNow."


def test_weight_is_read_and_a_disabled_prompt_left_out(folder: Path):
    (folder / "widen.md").write_text("+++\nweight = 2.5\n+++\nWiden.")
    (folder / "other.md").write_text("+++\nenabled = false\n+++\nNot now.")

    assert [(p.id, p.weight) for p in read_prompts(folder)] == [("join", 1.0), ("widen", 2.5)]


def test_link_within_the_folder_is_followed(folder: Path):
    (folder / "versions").mkdir()
    (folder / "versions" / "wide").write_text("Widen it a lot.")
    (folder / "widen.md").unlink()
    (folder / "widen.md").symlink_to("versions/wide")

    assert read_prompts(folder)[1].text == "Widen it a lot."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ": a prompt must have a text"),
        (b"+++\nkind = 'mutation'\n+++\n \n", ": a prompt must have a text"),
        (b"+++\n\nkid = 'mutation'\n+++\nx", r", line 3: unknown setting 'kid'; did you mean 'kind'\?"),
        (b"+++\ncolour = 1\n+++\nx", ", line 2: unknown setting 'colour'; known are 'kind'"),
        (b"+++\nkind = 'both'\n+++\nx", ", line 2: kind must be 'mutation' or 'crossover', got 'both'"),
        (b"+++\nkind = ['mutation']\n+++\nx", "kind must be"),
        (b"+++\nenabled = 'no'\n+++\nx", ", line 2: enabled must be true or false, got 'no'"),
        (b"+++\nweight = 0\n+++\nx", ", line 2: weight must be above 0 and at most 1e6, got 0"),
        (b"+++\nkind = 'mutation'\nweight = true\n+++\nx", ", line 3: weight must be above 0"),
        (b"+++\nweight = nan\n+++\nx", "weight must be above 0"),
        (b"+++\nkind = 'mutation' it\n+++\nx", "must be TOML: .*line 2"),
        (b"+++\nkind = 'mutation'\nx", ", line 1: the '[+]{3}' must be closed"),
        (b"Widen\nby \xff it", ", line 2: a prompt must be UTF-8, found byte 0xff"),
        (b"x" * (MAX_PROMPT_BYTES + 1), ": a prompt must have at most 16384 bytes"),
        (b"Widen\n{sorce}", r", line 2: unknown placeholder \{sorce\}; did you mean \{source\}\?"),
        (b"+++\n+++\n\n{} it", r", line 4: unknown placeholder \{\}; known are \{source\}"),
        (b"{source.__class__}", r"unknown placeholder \{source.__class__\}"),
        (b"{source!r}", "unknown placeholder"),
        (b"Widen {", ", line 1: a brace must be part of a placeholder"),
        (b'Look:\n"""Widen it."""', r", line 2: .* must contain \{source\}, found none"),
    ],
)
def test_bad_prompt_is_refused_with_its_file_line_and_reason(folder: Path, content: bytes, message: str):
    (folder / "widen.md").write_bytes(content)

    with pytest.raises(ConfigurationError, match=message) as caught:
        read_prompts(folder)

    assert str(caught.value).startswith(f"{folder / 'widen.md'}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["Set {{x}} to 1.", '{source}\n"""Widen {num_classes}."""'])
def test_doubled_braces_and_known_placeholders_are_taken(folder: Path, text: str):
    (folder / "widen.md").write_text(text)

    assert read_prompts(folder)[1].text == text


def test_link_out_of_the_folder_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    outside = tmp_path_factory.mktemp("outside") / "secret.md"
    outside.write_text("A secret.")
    (folder / "widen.md").unlink()
    (folder / "widen.md").symlink_to(outside)

    with pytest.raises(ConfigurationError, match=r"widen\.md: must lie in its folder, found a link"):
        read_prompts(folder)


def test_folder_in_the_place_of_a_prompt_is_refused(folder: Path):
    (folder / "deep.md").mkdir()

    with pytest.raises(ConfigurationError, match=r"deep\.md: must be a file"):
        read_prompts(folder)


@pytest.mark.parametrize("name", [b"two\nlines.md", b"not-utf-8-\xff.md", b"bell\x07.md"])
def test_name_that_cannot_be_shown_is_refused_in_one_line(folder: Path, name: bytes):
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text("Widen it.")

    with pytest.raises(ConfigurationError, match="must have a name of printable Unicode") as caught:
        read_prompts(folder)

    assert str(caught.value).isprintable()


def test_link_to_itself_is_refused(folder: Path):
    (folder / "loop.md").symlink_to("loop.md")

    with pytest.raises(ConfigurationError, match=r"loop\.md: must be readable"):
        read_prompts(folder)


def test_folder_without_mutation_prompts_is_refused(folder: Path):
    (folder / "widen.md").unlink()

    with pytest.raises(ConfigurationError, match="at least one mutation prompt"):
        read_prompts(folder)


def test_folder_must_have_exactly_one_crossover_prompt(folder: Path):
    (folder / "cross.md").write_text(CROSSOVER)
    with pytest.raises(ConfigurationError, match=r"found 'cross\.md', 'join\.md'"):
        read_prompts(folder)

    (folder / "cross.md").unlink()
    (folder / "join.md").unlink()
    with pytest.raises(ConfigurationError, match=r"exactly one .* found none"):
        read_prompts(folder)


def test_missing_folder_is_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="must be a readable folder of prompts"):
        read_prompts(tmp_path / "nowhere")
