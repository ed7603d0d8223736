"""The files that `init` writes: an annotated llmatic.toml, and the prompts to be edited."""

from pathlib import Path

from llmatic_daemon.adapters.prompts import default_folder
from llmatic_daemon.config import preset_text
from llmatic_daemon.errors import UserError

_HEADER = """\
# A search of your own. What is not set here comes from the preset.
preset = "{preset}"

"""


def write_first_files(folder: Path, preset: str, *, force: bool) -> list[Path]:
    """Write llmatic.toml and prompts/*.md into a folder.

    Args:
        folder: Made when it is missing.
        preset: Whose settings are written out.
        force: Overwrite what is there.

    Returns:
        The files.

    Raises:
        UserError: a file is there already; nothing is written then.
        ConfigurationError: there is no such preset.
    """
    files = {folder / "llmatic.toml": _configuration(preset)}
    for prompt in sorted(default_folder().glob("*.md")):
        files[folder / "prompts" / prompt.name] = prompt.read_text("utf-8")
    there = [file for file in files if file.exists()]
    if there and not force:
        raise UserError(f"{there[0]} must not exist yet; --force overwrites it")
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    return list(files)


def _configuration(preset: str) -> str:
    """Write a preset's file as one for a person: its prompts are those beside it."""
    text = _HEADER.format(preset=preset) + preset_text(preset)
    if 'folder = ""' in text:
        return text.replace('folder = ""', 'folder = "prompts"')
    return text + '\n[prompts]\n# Folder of prompt files, beside this file.\nfolder = "prompts"\n'
