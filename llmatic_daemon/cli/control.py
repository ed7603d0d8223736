"""Commands to a running daemon, through its control socket."""

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
    """Have the running daemon start no job until 'resume', over a restart too."""
    _ask(state, "pause", _paused, as_json)


def _paused(answer: Answer) -> str:
    was = "" if answer["changed"] else " already"
    return f"the search is paused{was}: jobs under way go on, and none is started"


@main.command()
@search_options
@json_option
@example("llmatic-daemon resume")
def resume(state: Path, as_json: bool) -> None:
    """Have the running daemon start jobs again after 'pause'."""
    _ask(state, "resume", _resumed, as_json)


def _resumed(answer: Answer) -> str:
    return "the search goes on" if answer["changed"] else "the search was not paused"


@main.command()
@search_options
@json_option
@example("llmatic-daemon drain")
def drain(state: Path, as_json: bool) -> None:
    """Have the running daemon end when the jobs under way have, as SIGTERM does."""
    _ask(state, "drain", _draining, as_json)


def _draining(answer: Answer) -> str:
    return f"no job is started any more; those under way get {answer['drain_s']:g} s to finish"


@main.command("reload")
@search_options
@json_option
@example("llmatic-daemon reload")
def reload(state: Path, as_json: bool) -> None:
    """Have the running daemon read settings and prompts again, or say why not; as SIGHUP does."""
    _ask(state, "reload", _reloaded, as_json)


def _reloaded(answer: Answer) -> str:
    changed = ", ".join(answer["changed"]) or "no setting"
    later = ", ".join(answer["needs_restart"])
    prompts = answer["prompts"]
    taken = "prompts taken" if prompts["changed"] else "prompts unchanged"
    return f"changed: {changed}; {taken}" + (f"; from the next start: {later}" if later else "")


@main.command()
@click.argument("number", metavar="N", type=click.IntRange(min=1))
@search_options
@json_option
@example("llmatic-daemon slots 6")
def slots(number: int, state: Path, as_json: bool) -> None:
    """Have the running daemon develop N candidates at once, until the next 'reload' or start."""
    _ask(state, "slots", _resized, as_json, {"slots": number})


def _resized(answer: Answer) -> str:
    return f"{answer['slots']} slots, before {answer['before']}"


def _ask(
    state: Path,
    verb: str,
    say: Callable[[Answer], str],
    as_json: bool,
    body: Answer | None = None,
) -> None:
    answer = asyncio.run(ask(state, verb, body or {}))
    click.echo(views.as_json(answer) if as_json else say(answer))
