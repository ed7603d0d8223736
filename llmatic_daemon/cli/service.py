"""Commands that make the daemon a service of systemd."""

import sys
import sysconfig
from pathlib import Path

import click

from llmatic_daemon.cli.base import example, main
from llmatic_daemon.commands.service_install import install_for_system, install_for_user


@main.group()
@example("llmatic-daemon service install --system")
def service() -> None:
    """Have systemd run searches, for months."""


@service.command()
@click.option("--system", "scope", flag_value="system", help="Of the machine, as user llmatic.")
@click.option("--user", "scope", flag_value="user", help="Of yourself; needs no root.")
@click.option("--name", help="Of the search, when there is to be more than one.")
@click.option("--force", is_flag=True, help="Overwrite units that are there.")
@example("llmatic-daemon service install --system --name cifar")
def install(scope: str | None, name: str | None, force: bool) -> None:
    """Put units, a configuration and the prompts in place, and say what to type next."""
    if scope is None:
        raise click.UsageError("say --system or --user")
    program = Path(sysconfig.get_path("scripts"), "llmatic-daemon")
    if scope == "system":
        python = Path(sys.base_prefix).resolve()
        installed = install_for_system(name, program, python, force=force)
    else:
        installed = install_for_user(name, program, force=force, home=Path.home())
    for file in installed.files:
        click.echo(file)
    click.echo(f"next: say in {installed.settings} where your data lie (data.folder), then")
    for command in installed.commands:
        click.echo(command)
