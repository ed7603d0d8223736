"""Common parts of all commands: the group, exit codes, shared options, printing."""

import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from rich.console import Console

from llmatic_daemon import __version__, config
from llmatic_daemon.config.settings import Settings
from llmatic_daemon.domain.errors import LLMaticError, first_error

#: Meaning of each exit code.
EXIT_CODES: Mapping[int, str] = {
    0: "done",
    1: "not found, rejected or not verified",
    2: "wrong usage",
    69: "temporarily unavailable (disk full, no trainer starts): try again",
    75: "another daemon uses the state folder",
    78: "change a setting, file or permission first",
    130: "interrupted by Ctrl-C",
}
_EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + "."

Command = TypeVar("Command", bound=Callable[..., Any])


class CommandGroup(click.Group):
    """A group that reports our errors in one line and with an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; print one of our errors as one line."""
        try:
            return super().invoke(ctx)
        except* LLMaticError as errors:
            first = first_error(errors)
            assert isinstance(first, LLMaticError)
            click.echo(f"llmatic-daemon: {first}", err=True)
            ctx.exit(first.exit_code)
        except* OSError as errors:  # a file or folder that was named by an argument
            click.echo(f"llmatic-daemon: {first_error(errors)}", err=True)
            ctx.exit(1)


@click.group(cls=CommandGroup, epilog=_EPILOG)
@click.version_option(__version__, prog_name="llmatic-daemon")
def main() -> None:
    """Search for neural networks: an LLM writes them, two archives keep the best of each kind."""


PATH = click.Path(path_type=Path)
state_option = click.option(
    "--state",
    type=PATH,
    envvar="LLMATIC_STATE_DIR",
    help="State folder of the search; overrides state_dir of --config.  [env: LLMATIC_STATE_DIR]",
)
config_option = click.option(
    "--config",
    "file",
    type=PATH,
    help="Configuration file of the search.  [default: llmatic.toml, if it exists]",
)


def search_options(command: Command) -> Command:
    """Add --state and --config; the command receives the state folder as `state`.

    A group that takes both before its subcommand leaves them in the context's `obj`.
    """

    @wraps(command)
    def with_folder(*args: Any, state: Path | None, file: Path | None, **more: Any) -> Any:
        before = click.get_current_context().obj or (None, None)
        return command(*args, state=state_dir(state or before[0], file or before[1]), **more)

    return cast(Command, state_option(config_option(with_folder)))


def config_options(command: Command) -> Command:
    """Add --config and --preset."""
    preset = click.option(
        "--preset", default="", metavar="|".join(config.PRESETS), help="Preset that provides the defaults."
    )
    return preset(config_option(command))


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def example(text: str) -> Callable[[Command], Command]:
    """Append an example to the help of a command."""

    def add(command: Command) -> Command:
        command.__doc__ = f"{command.__doc__}\n\n    \b\n    Example:\n      {text}\n    "
        return command

    return add


def settings_of(file: Path | None, preset: str, state: Path | None, **more: Any) -> Settings:
    """Load the settings of a command."""
    if file is None and not preset and Path("llmatic.toml").exists():
        file = Path("llmatic.toml")
    overrides = {**more, **({"state_dir": str(state)} if state else {})}
    return config.load(file, preset=preset, overrides=overrides)


def state_dir(state: Path | None, file: Path | None = None) -> Path:
    """Return the state folder of a search; if it is given, no configuration is read."""
    return state or settings_of(file, "", None).state_dir


def a_console() -> Console:
    """Return a console as wide as the terminal; in a pipe, wide enough for the tables."""
    return Console() if sys.stdout.isatty() else Console(width=120)


def show(what: Any, plain: bool) -> None:
    """Print a rich renderable, or plain text."""
    if plain:
        click.echo(what)
    else:
        a_console().print(what)
