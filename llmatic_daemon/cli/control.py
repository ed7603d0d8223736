"""Commands that are sent to a running daemon through its control socket."""

import asyncio
from collections.abc import Mapping
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
    answer = _ask(state, "pause")
    was = "" if answer["changed"] else " already"
    _print(answer, f"the search is paused{was}: running jobs continue, no new job starts", as_json)


@main.command()
@search_options
@json_option
@example("llmatic-daemon resume")
def resume(state: Path, as_json: bool) -> None:
    """Resume the running daemon after 'pause'."""
    answer = _ask(state, "resume")
    text = "the search continues" if answer["changed"] else "the search was not paused"
    _print(answer, text, as_json)


@main.command()
@search_options
@json_option
@example("llmatic-daemon drain")
def drain(state: Path, as_json: bool) -> None:
    """Stop the running daemon after its running jobs have ended, as SIGTERM does."""
    answer = _ask(state, "drain")
    _print(answer, f"no new job starts; running jobs have {answer['drain_s']:g} s to end", as_json)


@main.command("reload")
@search_options
@json_option
@example("llmatic-daemon reload")
def reload(state: Path, as_json: bool) -> None:
    """Reload settings and prompts in the running daemon, or report why not; as SIGHUP does."""
    answer = _ask(state, "reload")
    changed = ", ".join(answer["changed"]) or "no setting"
    later = ", ".join(answer["needs_restart"])
    loaded = "prompts loaded" if answer["prompts"]["changed"] else "prompts unchanged"
    restart = f"; after a restart: {later}" if later else ""
    _print(answer, f"changed: {changed}; {loaded}{restart}", as_json)


@main.command()
@click.argument("number", metavar="N", type=click.IntRange(min=1))
@search_options
@json_option
@example("llmatic-daemon slots 6")
def slots(number: int, state: Path, as_json: bool) -> None:
    """Set how many candidates the running daemon develops at once, until 'reload' or restart."""
    answer = _ask(state, "slots", slots=number)
    _print(answer, f"{answer['slots']} slots, previously {answer['before']}", as_json)


def _ask(state: Path, verb: str, **body: int) -> Answer:
    return asyncio.run(ask(state, verb, body))


def _print(answer: Answer, text: str, as_json: bool) -> None:
    click.echo(views.as_json(answer) if as_json else text)
