"""Commands that are sent to a running daemon through its control socket."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from llmatic_daemon.adapters.http.control_socket import ask
from llmatic_daemon.cli import views
from llmatic_daemon.cli.base import example, json_option, main, search_options

Answer = Mapping[str, Any]


@main.command()
@search_options
@json_option
@example("llmatic-daemon pause")
def pause(state: Path, as_json: bool) -> None:
    """Pause the running daemon: no new job starts until 'resume', even after a restart."""
    _ask(state, "pause", _paused, as_json)


def _paused(answer: Answer) -> str:
    was = "" if answer["changed"] else " already"
    return f"the search is paused{was}: running jobs continue, no new job starts"


@main.command()
@search_options
@json_option
@example("llmatic-daemon resume")
def resume(state: Path, as_json: bool) -> None:
    """Resume the running daemon after 'pause'."""
    _ask(state, "resume", _resumed, as_json)


def _resumed(answer: Answer) -> str:
    return "the search continues" if answer["changed"] else "the search was not paused"


@main.command()
@search_options
@json_option
@example("llmatic-daemon drain")
def drain(state: Path, as_json: bool) -> None:
    """Stop the running daemon after its running jobs have ended, as SIGTERM does."""
    _ask(state, "drain", _draining, as_json)


def _draining(answer: Answer) -> str:
    return f"no new job starts; running jobs have {answer['drain_s']:g} s to end"


@main.command("reload")
@search_options
@json_option
@example("llmatic-daemon reload")
def reload(state: Path, as_json: bool) -> None:
    """Reload settings and prompts in the running daemon, or report why not; as SIGHUP does."""
    _ask(state, "reload", _reloaded, as_json)


def _reloaded(answer: Answer) -> str:
    changed = ", ".join(answer["changed"]) or "no setting"
    later = ", ".join(answer["needs_restart"])
    prompts = answer["prompts"]
    loaded = "prompts loaded" if prompts["changed"] else "prompts unchanged"
    return f"changed: {changed}; {loaded}" + (f"; after a restart: {later}" if later else "")


@main.command()
@click.argument("number", metavar="N", type=click.IntRange(min=1))
@search_options
@json_option
@example("llmatic-daemon slots 6")
def slots(number: int, state: Path, as_json: bool) -> None:
    """Set how many candidates the running daemon develops at once, until 'reload' or restart."""
    _ask(state, "slots", _resized, as_json, {"slots": number})


def _resized(answer: Answer) -> str:
    return f"{answer['slots']} slots, previously {answer['before']}"


def _ask(
    state: Path, verb: str, describe: Callable[[Answer], str], as_json: bool, body: Answer | None = None
) -> None:
    answer = asyncio.run(ask(state, verb, body or {}))
    click.echo(views.as_json(answer) if as_json else describe(answer))
