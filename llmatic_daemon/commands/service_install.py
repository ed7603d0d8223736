"""The files that `service install` writes: units, a configuration, prompts."""

import re
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path

from llmatic_daemon.commands.init import first_files, write_new
from llmatic_daemon.domain.errors import UserError

#: Path of the program in the unit files; replaced by the real one.
PROGRAM = "/opt/llmatic-daemon/bin/llmatic-daemon"
DEFAULT_NAME = "llmatic"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
#: Folders that systemd's ProtectHome= hides.
_HOMES = ("/home", "/root", "/run/user")


@dataclass(frozen=True, kw_only=True, slots=True)
class Installed:
    """The installed files."""

    files: tuple[Path, ...]
    #: The configuration file.
    settings: Path
    #: The next commands, in this order.
    commands: tuple[str, ...]


def unit_text(name: str) -> str:
    """Return a file of the folder `systemd/`, which a wheel contains as `llmatic_daemon/commands/units`."""
    return resources("llmatic_daemon.commands").joinpath("units", name).read_text("utf-8")


def install_for_system(
    name: str | None, program: Path, python: Path, *, force: bool, root: Path = Path("/")
) -> Installed:
    """Write the files of a system service; start nothing.

    Args:
        name: Of the search, to run more than one; None: the only one.
        program: Path of `llmatic-daemon`.
        python: Folder of the Python that runs it.
        force: Overwrite existing units.
        root: Root of the file system; tests and images use others.

    Raises:
        UserError: another unit exists, the name is invalid, or the service could not read the program.
    """
    _check_name(name)
    for needed in (program, python):
        if any(needed.is_relative_to(home) for home in _HOMES):
            raise UserError(
                f"expected a program that the service can read, got {str(needed)!r}: it cannot read "
                f"{', '.join(_HOMES)}; install llmatic-daemon into a virtual environment in "
                "/opt/llmatic-daemon, made by a Python of the system, or use --user"
            )
    units = root / "etc/systemd/system"
    unit = "llmatic-daemon.service" if name is None else "llmatic-daemon@.service"
    texts = {units / unit: _with_program(unit_text(unit), program)}
    for kind in ("service", "timer"):
        backup = f"llmatic-daemon-backup{'' if name is None else '@'}.{kind}"
        texts[units / backup] = _with_program(unit_text(backup), program)
    for kind in ("sysusers", "tmpfiles"):
        texts[root / f"etc/{kind}.d/llmatic.conf"] = unit_text(f"llmatic.{kind}.conf")
    commands = (
        "systemd-sysusers && systemd-tmpfiles --create llmatic.conf && systemctl daemon-reload",
        f"systemctl enable --now {unit.replace('@', f'@{name}')}",
    )
    return _write(texts, root / "etc/llmatic", name, commands, force=force)


def install_for_user(name: str | None, program: Path, *, force: bool, home: Path) -> Installed:
    """Write the files of a user service; start nothing.

    Raises:
        UserError: another unit exists, or the name is invalid.
    """
    _check_name(name)
    unit = "llmatic-daemon@.service"
    text = _with_program(unit_text(f"user/{unit}"), program)
    texts = {home / ".config/systemd/user" / unit: text}
    service = unit.replace("@", f"@{name or DEFAULT_NAME}")
    commands = ("systemctl --user daemon-reload", f"systemctl --user enable --now {service}")
    return _write(texts, home / ".config/llmatic", name, commands, force=force)


def _check_name(name: str | None) -> None:
    if name is not None and not _NAME.fullmatch(name):
        raise UserError(f"--name: expected letters, digits, dots, dashes, underscores, got {name!r}")


def _with_program(text: str, program: Path) -> str:
    return text.replace(PROGRAM, str(program))


def _write(
    units: dict[Path, str], folder: Path, name: str | None, commands: tuple[str, ...], *, force: bool
) -> Installed:
    """Write missing and changed units; existing settings and prompts are never overwritten."""
    stem = name or DEFAULT_NAME
    prompts = "prompts" if name is None else f"{name}.prompts"
    first = first_files(folder, "default", stem=stem, prompts=prompts)
    new = {file: text for file, text in units.items() if not _holds(file, text)}
    new |= {file: text for file, text in first.items() if not file.exists()}
    write_new(new, force=force)
    return Installed(files=tuple(new), settings=folder / f"{stem}.toml", commands=commands)


def _holds(file: Path, text: str) -> bool:
    return file.exists() and file.read_text("utf-8") == text
