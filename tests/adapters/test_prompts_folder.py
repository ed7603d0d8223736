"""The folder of prompts: what is shipped, what is refused and how."""

import pytest

from llmatic_daemon.adapters.prompts import (
    MAX_PROMPT_BYTES,
    PromptFolder,
    default_folder,
    read_prompts,
)
from llmatic_daemon.errors import ConfigurationError
from llmatic_daemon.records import PromptKind, PromptSet

CROSSOVER = '+++\nkind = "crossover"\n+++\nJoin them.\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "widen.md").write_text("Widen it.\n")
    (tmp_path / "join.md").write_text(CROSSOVER)
    return tmp_path


def test_shipped_prompts_are_sixteen_and_a_crossover():
    mutation, crossover = read_prompts(default_folder())

    assert len(mutation) == 16
    assert [prompt.id for prompt in mutation] == sorted(prompt.id for prompt in mutation)
    assert crossover.id == "crossover"


def test_shipped_prompts_ask_for_a_class_and_fit_a_docstring():
    mutation, crossover = read_prompts(default_folder())

    for prompt in (*mutation, crossover):
        assert "class that inherits from nn.Module" in prompt.text
        assert '"""' not in prompt.text
        assert len(prompt.text) < 400


def test_prompt_is_its_stem_and_its_text(folder):
    (folder / "notes.txt").write_text("no prompt")
    (folder / ".draft.md").write_text("hidden")

    (widen,), join = read_prompts(folder)

    assert (widen.id, widen.kind, widen.text) == ("widen", PromptKind.MUTATION, "Widen it.")
    assert (join.id, join.kind, join.text) == ("join", PromptKind.CROSSOVER, "Join them.")


def test_mark_and_line_ends_of_other_systems_are_understood(folder):
    (folder / "widen.md").write_bytes(
        b"\xef\xbb\xbf+++\r\nkind = 'mutation'\r\n+++\r\nWiden.\r\nNow."
    )

    (widen,), _ = read_prompts(folder)

    assert widen.text == "Widen.\nNow."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must have a text"),
        (b"+++\nkind = 'mutation'\n+++\n \n", "must have a text"),
        (b"+++\nkid = 'mutation'\n+++\nx", r"unknown setting 'kid'; did you mean 'kind'\?"),
        (b"+++\ncolour = 1\n+++\nx", "unknown setting 'colour'; known is 'kind'"),
        (b"+++\nkind = 'both'\n+++\nx", "kind must be 'mutation' or 'crossover', got 'both'"),
        (b"+++\nkind = ['mutation']\n+++\nx", "kind must be"),
        (b"+++\nkind\n+++\nx", "must be TOML"),
        (b"+++\nkind = 'mutation'\nx", "must be closed"),
        (b"Widen \xff it", "must be UTF-8, found byte 0xff at position 6"),
        (b"x" * (MAX_PROMPT_BYTES + 1), "at most 16384 bytes"),
    ],
)
def test_bad_prompt_is_refused_in_one_line(folder, content, message):
    (folder / "widen.md").write_bytes(content)

    with pytest.raises(ConfigurationError, match=message) as caught:
        read_prompts(folder)

    assert str(caught.value).startswith(f"{folder / 'widen.md'}: ")
    assert "\n" not in str(caught.value)


def test_folder_without_mutation_prompts_is_refused(folder):
    (folder / "widen.md").unlink()

    with pytest.raises(ConfigurationError, match="at least one mutation prompt"):
        read_prompts(folder)


def test_folder_must_have_exactly_one_crossover_prompt(folder):
    (folder / "cross.md").write_text(CROSSOVER)
    with pytest.raises(ConfigurationError, match=r"found 'cross\.md', 'join\.md'"):
        read_prompts(folder)

    (folder / "cross.md").unlink()
    (folder / "join.md").unlink()
    with pytest.raises(ConfigurationError, match=r"exactly one .* found none"):
        read_prompts(folder)


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="must be a readable folder of prompts"):
        read_prompts(tmp_path / "nowhere")


def test_prompt_folder_holds_its_set(folder):
    mutation, crossover = read_prompts(folder)
    prompts = PromptSet(mutation=mutation, crossover=crossover, slots=(0,))

    assert PromptFolder(prompts).current() is prompts
