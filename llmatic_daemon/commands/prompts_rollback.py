"""Put an older version of a prompt back into its file; the daemon takes it as any other edit."""

from pathlib import Path

from llmatic_daemon.adapters.prompts.files import default_folder
from llmatic_daemon.adapters.storage.files import os_errors_as, write_atomically
from llmatic_daemon.adapters.storage.history_records import PromptVersion
from llmatic_daemon.domain import PromptKind
from llmatic_daemon.domain.errors import UserError


def write_version(folder: Path, version: PromptVersion, weight: float = 1.0) -> Path:
    """Write a version's text into the prompt's file, in one step.

    Args:
        folder: Of the prompts.
        version: What is to be in force again.
        weight: That the file is to keep.

    Returns:
        The file.

    Raises:
        UserError: the prompts are the ones that we ship, the version has no text, or the file
            cannot be written.
    """
    if folder.is_relative_to(default_folder()):
        raise UserError(
            "prompts.folder must be a folder of yours, found the prompts that come with "
            "llmatic-daemon; 'llmatic-daemon init' writes a copy to edit"
        )
    if not version.text:
        raise UserError(
            f"{version.prompt} v{version.version} must have a text, found none: it is of a "
            "llmatic-daemon that kept none"
        )
    file = folder / f"{version.prompt}.md"
    with os_errors_as(UserError, f"{file} must be writable", "change its owner or mode, or make room"):
        write_atomically(file, _head(version, weight) + version.text + "\n")
    return file


def _head(version: PromptVersion, weight: float) -> str:
    lines = []
    if version.kind is PromptKind.CROSSOVER or version.text.startswith("+++"):
        lines.append(f'kind = "{version.kind}"')
    if weight != 1.0:
        lines.append(f"weight = {weight!r}")
    return "\n".join(["+++", *lines, "+++", ""]) if lines else ""
