"""Commands for prompts: results, history, check, rollback, trial."""

import asyncio
import secrets
import sys
from pathlib import Path

import click

from llmatic_daemon.adapters.http import control_socket
from llmatic_daemon.adapters.prompts.prompt_files import read_prompts
from llmatic_daemon.adapters.storage.history import History
from llmatic_daemon.bootstrap import build
from llmatic_daemon.bootstrap.saved_settings import read_settings
from llmatic_daemon.cli import base, prompt_views, views
from llmatic_daemon.commands.prompts_rollback import write_version
from llmatic_daemon.commands.prompts_try import try_prompt
from llmatic_daemon.domain import Network
from llmatic_daemon.domain.errors import UserError
from llmatic_daemon.search.prompt_book import EMPTY_BOOK


@base.main.group(invoke_without_command=True)
@base.state_option
@base.config_option
@click.option("--all", "everything", is_flag=True, help="Include older versions and retired prompts.")
@base.json_option
@base.example("llmatic-daemon prompts --all")
@click.pass_context
def prompts(
    ctx: click.Context, state: Path | None, file: Path | None, everything: bool, as_json: bool
) -> None:
    """List the prompts: version, position, times selected and entered, curiosity, score."""
    if ctx.invoked_subcommand is not None:
        ctx.obj = state, file
        return
    with History(base.state_dir(state, file)) as history:
        found = [each for each in history.prompt_credit() if everything or each.in_use]
    base.show(views.as_json(found) if as_json else prompt_views.credits(found), as_json)


@prompts.command()
@click.argument("folder", metavar="DIR", type=base.PATH)
@base.config_options
@base.example("llmatic-daemon prompts check my-search/prompts")
@click.pass_context
def check(ctx: click.Context, folder: Path, file: Path | None, preset: str) -> None:
    """Check whether a folder is a valid prompt set; report file, line and reason if not."""
    num_slots = base.settings_of(file or ctx.obj[1], preset, None).archives.prompt_axis_size
    taken = EMPTY_BOOK.numbered(read_prompts(folder), num_slots)
    click.echo(
        f"{folder}: a valid set of {len(taken.mutation)} prompts for mutation (of {num_slots} "
        f"slots) and {taken.crossover.id!r} for crossover"
    )


@prompts.command()
@click.argument("prompt", metavar="ID")
@base.search_options
@base.json_option
@base.example("llmatic-daemon prompts history widen")
def history(prompt: str, state: Path, as_json: bool) -> None:
    """Show the versions of a prompt: their results, and the changes between them."""
    with History(state) as opened:
        versions = opened.prompt_versions(prompt)
        earned = [each for each in opened.prompt_credit() if each.prompt == prompt]
    facts = {"versions": versions, "credit": earned}
    base.show(views.as_json(facts) if as_json else prompt_views.versions(versions, earned), as_json)


@prompts.command()
@click.argument("prompt", metavar="ID")
@click.argument("version", type=click.IntRange(min=1))
@base.search_options
@base.example("llmatic-daemon prompts rollback widen 1")
def rollback(prompt: str, version: int, state: Path) -> None:
    """Restore an older version of a prompt's file, and reload it in a running daemon."""
    with History(state) as opened:
        versions = opened.prompt_versions(prompt)
        is_running = opened.status().holder is not None
        weight = opened.prompt_weight(prompt)
    if version > len(versions):
        raise UserError(f"expected a version of prompt {prompt!r} from 1 to {len(versions)}, got {version}")
    prompt_folder = build.prompt_path(read_settings(state))
    written = write_version(prompt_folder, versions[version - 1], weight)
    click.echo(f"restored version {version} in {written}")
    if is_running:
        _reload(state)
    else:
        click.echo("no daemon is running: the next start loads it")


@prompts.command("reload")
@base.search_options
@base.example("llmatic-daemon prompts reload")
def reload(state: Path) -> None:
    """Load the current files of the prompt folder into the running daemon, or report why not."""
    _reload(state)


def _reload(folder: Path) -> None:
    answer = asyncio.run(control_socket.ask(folder, "prompts/reload"))
    what = "is now active" if answer["changed"] else "was active already"
    click.echo(f"edition {answer['edition']} with {answer['num_prompts']} prompts {what}")


@prompts.command("try")
@click.argument("prompt", metavar="ID")
@base.state_option
@base.config_options
@click.option("--temperature", default=0.6, show_default=True, type=click.FloatRange(0.01, 1.0))
@click.option("--seed", type=int, help="Seed of the completion.  [default: random]")
@base.example("llmatic-daemon prompts try widen --temperature 0.8")
@click.pass_context
def try_(
    ctx: click.Context,
    prompt: str,
    state: Path | None,
    file: Path | None,
    preset: str,
    temperature: float,
    seed: int | None,
) -> None:
    """Request one completion for the best network; show its diff, and whether it lifts (else 1)."""
    state, file = state or ctx.obj[0], file or ctx.obj[1]
    if file or preset:
        settings = base.settings_of(file, preset, state)
        folder = settings.state_dir
    else:
        folder = base.state_dir(state)
        settings = read_settings(folder)
    seed = secrets.randbelow(2**31) if seed is None else seed
    trial = asyncio.run(try_prompt(settings, folder, prompt, temperature=temperature, seed=seed))
    base.show(prompt_views.trial(trial), False)
    sys.exit(int(not isinstance(trial.network, Network)))
