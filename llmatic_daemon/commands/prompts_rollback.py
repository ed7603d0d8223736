"""Restore an older version of a prompt's file; the daemon loads it like any other edit."""

from pathlib import Path

from llmatic_daemon.adapters.prompts.prompt_files import default_folder
from llmatic_daemon.adapters.storage.disk import os_errors_as, write_atomically
from llmatic_daemon.adapters.storage.history_records import PromptVersion
from llmatic_daemon.domain import PromptKind
from llmatic_daemon.domain.errors import UserError


def write_version(folder: Path, version: PromptVersion, weight: float = 1.0) -> Path:
    """Write the text of a version into the prompt's file, atomically.

    Args:
        folder: Of the prompts.
        version: The version to restore.
        weight: Current weight of the prompt, which the file keeps.

    Returns:
        The file.

    Raises:
        UserError: the prompts are the shipped ones, the version has no text, or the file
            cannot be written.
    """
    if folder.is_relative_to(default_folder()):
        raise UserError(
            "prompts.folder: expected your own folder, got the shipped prompts; "
            "'llmatic-daemon init' writes a copy to edit"
        )
    if not version.text:
        raise UserError(
            f"expected a text of {version.prompt} v{version.version}, found none: an older "
            "version of llmatic-daemon did not store it"
        )
    file = folder / f"{version.prompt}.md"
    expected, remedy = f"expected {file} to be writable", "change its owner or mode, or make room"
    with os_errors_as(UserError, expected, remedy):
        write_atomically(file, _head(version, weight) + version.text + "\n")
    return file


def _head(version: PromptVersion, weight: float) -> str:
    lines = []
    if version.kind is PromptKind.CROSSOVER or version.text.startswith("+++"):
        lines.append(f'kind = "{version.kind}"')
    if weight != 1.0:
        lines.append(f"weight = {weight!r}")
    return "\n".join(["+++", *lines, "+++", ""]) if lines else ""
