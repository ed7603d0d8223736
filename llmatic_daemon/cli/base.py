"""What all commands share: the group, its errors and exit codes, options, and how things are printed."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from llmatic_daemon import __version__, config
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain.errors import LLMaticError

EXIT_CODES = """\
Exit codes: 0 done; 1 not found, rejected or not verified; 2 wrong usage; 69 a part of the world is not
there (disk full, no trainer can be started): try again; 75 another daemon has the state folder; 78 a
setting, file or permission must be changed first.
"""

Command = TypeVar("Command", bound=Callable[..., Any])


class Friendly(click.Group):
    """A group whose own errors are one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; our errors end it in one line."""
        try:
            return super().invoke(ctx)
        except* LLMaticError as errors:
            first = _first(errors)
            assert isinstance(first, LLMaticError)
            click.echo(f"llmatic-daemon: {first}", err=True)
            ctx.exit(first.exit_code)
        except* OSError as errors:  # of a folder that a person named for files of theirs
            click.echo(f"llmatic-daemon: {_first(errors)}", err=True)
            ctx.exit(1)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@click.group(cls=Friendly, epilog=EXIT_CODES)
@click.version_option(__version__, prog_name="llmatic-daemon")
def main() -> None:
    """Search for neural networks: an LLM writes them, two archives keep the best of each kind."""


def state_option(command: Command) -> Command:
    """Let a command take the folder of a search."""
    option = click.option(
        "--state",
        "state",
        type=click.Path(path_type=Path),
        envvar="LLMATIC_STATE_DIR",
        help="Folder of the search.  [env: LLMATIC_STATE_DIR]",
    )
    return option(command)


def config_options(command: Command) -> Command:
    """Let a command take a configuration."""
    command = click.option(
        "--config",
        "file",
        type=click.Path(path_type=Path),
        help="Configuration file.  [default: llmatic.toml, if there is one and no --preset]",
    )(command)
    return click.option(
        "--preset", default="", metavar="|".join(config.PRESETS), help="Where defaults come from."
    )(command)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def example(text: str) -> Callable[[Command], Command]:
    """Put an example under a command's help."""

    def add(command: Command) -> Command:
        command.__doc__ = f"{command.__doc__}\n\n    \b\n    Example:\n      {text}\n    "
        return command

    return add


def settings_of(file: Path | None, preset: str, state: Path | None, **more: Any) -> Settings:
    """Put the settings of a command together."""
    if file is None and not preset and Path("llmatic.toml").exists():
        file = Path("llmatic.toml")
    overrides = {**more, **({"state_dir": str(state)} if state else {})}
    return config.load(file, preset=preset, overrides=overrides)


def state_dir(state: Path | None) -> Path:
    """Find the folder to look at; with its name given, no configuration is read."""
    return state or settings_of(None, "", None).state_dir


def a_console() -> Console:
    """Write as wide as the terminal, or wide enough for our tables into a pipe."""
    return Console() if sys.stdout.isatty() else Console(width=120)


def show(what: Any, plain: bool) -> None:
    """Print something drawn, or plain text."""
    if plain:
        click.echo(what)
    else:
        a_console().print(what)
