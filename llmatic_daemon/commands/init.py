"""The first files of a search: an annotated configuration and editable prompts."""

from collections.abc import Mapping
from pathlib import Path

from llmatic_daemon.bootstrap import build
from llmatic_daemon.config.loading import load, preset_text
from llmatic_daemon.domain.errors import UserError

_HEADER = """\
# Your own search. Everything that is not set here comes from the preset.
preset = "{preset}"

"""


def first_files(
    folder: Path, preset: str, *, stem: str = "llmatic", prompts: str = "prompts"
) -> dict[Path, str]:
    """Return the texts of a configuration file and of a folder of prompts beside it, by path.

    Args:
        folder: Parent of the file and the prompt folder.
        preset: Preset whose settings the file contains.
        stem: Name of the configuration file without its ending.
        prompts: Name of the prompt folder.

    Raises:
        ConfigurationError: there is no such preset.
    """
    files = {folder / f"{stem}.toml": _configuration(preset, prompts)}
    shipped = build.prompt_path(load(preset=preset, environment={}))
    for prompt in sorted(shipped.glob("*.md")):
        files[folder / prompts / prompt.name] = prompt.read_text("utf-8")
    return files


def write_new(files: Mapping[Path, str], *, force: bool) -> None:
    """Write files and create their folders.

    Args:
        files: Texts by path.
        force: Overwrite existing files.

    Raises:
        UserError: a file exists; nothing is written then.
    """
    existing = [file for file in files if file.exists()]
    if existing and not force:
        raise UserError(f"{existing[0]} exists already; --force overwrites it")
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")


def _configuration(preset: str, prompts: str) -> str:
    """Return the annotated file of a preset; its prompts are those beside the file."""
    text = _HEADER.format(preset=preset) + preset_text(preset)
    if 'folder = ""' in text:
        return text.replace('folder = ""', f'folder = "{prompts}"')
    return text + f'\n[prompts]\n# Folder of prompt files, beside this file.\nfolder = "{prompts}"\n'
