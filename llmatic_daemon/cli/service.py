"""Commands that install the daemon as a systemd service."""

import sys
import sysconfig
from pathlib import Path

import click

from llmatic_daemon.cli.base import example, main
from llmatic_daemon.commands.service_install import install_for_system, install_for_user


@main.group()
@example("llmatic-daemon service install --system")
def service() -> None:
    """Run searches as systemd services."""


@service.command()
@click.option("--system", "scope", flag_value="system", help="System service, as user llmatic.")
@click.option("--user", "scope", flag_value="user", help="User service; needs no root.")
@click.option("--name", help="Name of the search, to run more than one.")
@click.option("--force", is_flag=True, help="Overwrite existing units.")
@example("llmatic-daemon service install --system --name cifar")
def install(scope: str | None, name: str | None, force: bool) -> None:
    """Install units, a configuration and prompts; print the next commands."""
    if scope is None:
        raise click.UsageError("expected --system or --user")
    program = Path(sysconfig.get_path("scripts"), "llmatic-daemon")
    if scope == "system":
        python = Path(sys.base_prefix).resolve()
        installed = install_for_system(name, program, python, force=force)
    else:
        installed = install_for_user(name, program, force=force, home=Path.home())
    for file in installed.files:
        click.echo(file)
    click.echo(f"next: set data.folder in {installed.settings}, then run")
    for command in installed.commands:
        click.echo(command)
