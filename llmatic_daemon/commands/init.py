"""The first files of a search: an annotated configuration, and the prompts to be edited."""

from collections.abc import Mapping
from pathlib import Path

from llmatic_daemon.bootstrap import build
from llmatic_daemon.config.loading import load, preset_text
from llmatic_daemon.domain.errors import UserError

_HEADER = """\
# A search of your own. What is not set here comes from the preset.
preset = "{preset}"

"""


def first_files(
    folder: Path, preset: str, *, stem: str = "llmatic", prompts: str = "prompts"
) -> dict[Path, str]:
    """Make the texts of a configuration file, and of a folder of prompts beside it.

    Args:
        folder: Where they are to lie.
        preset: Whose settings are written out.
        stem: Of the configuration file's name.
        prompts: Name of the prompts' folder.

    Raises:
        ConfigurationError: there is no such preset.
    """
    files = {folder / f"{stem}.toml": _configuration(preset, prompts)}
    for prompt in sorted(_prompts_for(preset).glob("*.md")):
        files[folder / prompts / prompt.name] = prompt.read_text("utf-8")
    return files


def _prompts_for(preset: str) -> Path:
    """Find the prompts that a preset's candidates are asked for by."""
    return build.prompt_path(load(preset=preset, environment={}))


def write_new(files: Mapping[Path, str], *, force: bool) -> None:
    """Write files and the folders that they lie in.

    Args:
        files: Their texts.
        force: Overwrite what is there.

    Raises:
        UserError: a file is there already; nothing is written then.
    """
    there = [file for file in files if file.exists()]
    if there and not force:
        raise UserError(f"{there[0]} must not exist yet; --force overwrites it")
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")


def _configuration(preset: str, prompts: str) -> str:
    """Write a preset's file as one for a person: its prompts are those beside it."""
    text = _HEADER.format(preset=preset) + preset_text(preset)
    if 'folder = ""' in text:
        return text.replace('folder = ""', f'folder = "{prompts}"')
    return text + f'\n[prompts]\n# Folder of prompt files, beside this file.\nfolder = "{prompts}"\n'
