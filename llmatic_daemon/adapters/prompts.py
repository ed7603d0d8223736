"""The folder of prompts: one Markdown file each, its stem the prompt's id for ever."""

import difflib
import tomllib
from importlib import resources
from pathlib import Path

from llmatic_daemon.errors import ConfigurationError
from llmatic_daemon.ports import Prompts
from llmatic_daemon.records import Prompt, PromptKind, PromptSet

#: A prompt is a few sentences; more would not fit into the context of an LLM of 2,048 tokens.
MAX_PROMPT_BYTES = 16 << 10

_FENCE = "+++"
_KEYS = ("kind",)


class PromptFolder(Prompts):
    """The prompt set as it was read."""

    def __init__(self, prompts: PromptSet) -> None:
        self._prompts = prompts

    def current(self) -> PromptSet:
        """Return the set."""
        return self._prompts


def default_folder() -> Path:
    """Find the prompts that are shipped in the package."""
    return Path(str(resources.files("llmatic_daemon") / "prompts"))


def read_prompts(folder: Path) -> tuple[tuple[Prompt, ...], Prompt]:
    """Read all prompts of a folder: `*.md`, hidden files aside.

    Returns:
        The mutation prompts, sorted by id, and the crossover prompt.

    Raises:
        ConfigurationError: the folder or a file cannot be read, a file is no prompt, or there is
            no mutation prompt, or not exactly one crossover prompt.
    """
    prompts = [read_prompt(path) for path in _files(folder)]
    mutation = [prompt for prompt in prompts if prompt.kind is PromptKind.MUTATION]
    crossover = [prompt for prompt in prompts if prompt.kind is PromptKind.CROSSOVER]
    if not mutation:
        raise ConfigurationError(
            f"{folder}: there must be at least one mutation prompt (*.md), found none; "
            "'llmatic-daemon init' writes the ones that we ship"
        )
    if len(crossover) != 1:
        found = ", ".join(repr(f"{prompt.id}.md") for prompt in crossover) or "none"
        raise ConfigurationError(
            f'{folder}: there must be exactly one prompt with kind = "crossover" between '
            f"'{_FENCE}' lines, found {found}"
        )
    return tuple(mutation), crossover[0]


def _files(folder: Path) -> list[Path]:
    try:
        paths = [path for path in folder.iterdir() if path.suffix == ".md" and path.is_file()]
    except OSError as error:
        raise ConfigurationError(
            f"{folder}: must be a readable folder of prompts: {error.strerror or error}"
        ) from error
    return sorted((path for path in paths if path.name[0] != "."), key=lambda path: path.stem)


def read_prompt(path: Path) -> Prompt:
    """Read one prompt file: optional TOML between two `+++` lines, then the text.

    Raises:
        ConfigurationError: it cannot be read, is too large, not UTF-8, empty, or its head is wrong.
    """
    head, text = _parted(path, _content(path))
    if not text:
        raise ConfigurationError(
            f"{path}: a prompt must have a text, found none; write it or remove the file"
        )
    return Prompt(id=path.stem, kind=_kind(path, head), text=text)


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_PROMPT_BYTES + 1)
        if len(content) > MAX_PROMPT_BYTES:
            raise ConfigurationError(
                f"{path}: a prompt must have at most {MAX_PROMPT_BYTES} bytes, found more; shorten it"
            )
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{path}: a prompt must be UTF-8, found byte {content[error.start]:#04x} "
            f"at position {error.start}; save it as UTF-8"
        ) from error
    except OSError as error:
        raise ConfigurationError(f"{path}: must be readable: {error.strerror or error}") from error


def _parted(path: Path, content: str) -> tuple[str, str]:
    """Part a file into the TOML at its head and the text."""
    first, _, rest = content.partition("\n")
    if first.strip() != _FENCE:
        return "", content.strip()
    lines = rest.split("\n")
    for number, line in enumerate(lines):
        if line.strip() == _FENCE:
            return "\n".join(lines[:number]), "\n".join(lines[number + 1 :]).strip()
    raise ConfigurationError(
        f"{path}: the '{_FENCE}' in line 1 must be closed by another '{_FENCE}' line"
    )


def _kind(path: Path, head: str) -> PromptKind:
    try:
        settings = tomllib.loads(head)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"{path}: what is between the '{_FENCE}' lines must be TOML: {error}"
        ) from error
    for key in settings:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            hint = (
                f"did you mean {near[0]!r}?" if near else f"known is {', '.join(map(repr, _KEYS))}"
            )
            raise ConfigurationError(f"{path}: unknown setting {key!r}; {hint}")
    kind = settings.get("kind", PromptKind.MUTATION.value)
    if kind not in [known.value for known in PromptKind]:
        raise ConfigurationError(f"{path}: kind must be 'mutation' or 'crossover', got {kind!r}")
    return PromptKind(kind)
