"""What is told to the running service: ``postroom restart``, ``pause``, ``resume``."""

from __future__ import annotations

import getpass

import click

from postroom.app.root import chosen, cli, client_names, live_of
from postroom.app.terminal import run_to_end


def _whose() -> str:
    """Who sits at the terminal, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "the command line"


@cli.command()
@click.argument("client", shell_complete=client_names)
@click.pass_context
def restart(context: click.Context, client: str) -> None:
    """End CLIENT's conversation and begin it anew, with its settings as they are now; the service notices within a second."""
    from postroom.app.core import at_work
    from postroom.app.operations import commands as operation

    live = live_of(context)
    (section,) = chosen(live, (client,))
    run_to_end(lambda: at_work(live, lambda core: operation.restart_client(core, section, _whose())))
    click.echo(f"{section} is begun anew by the service, now or when it starts", err=True)


@cli.command()
@click.argument("client", shell_complete=client_names)
@click.pass_context
def pause(context: click.Context, client: str) -> None:
    """Let CLIENT stand still after the cycle that runs, until postroom resume; a restart of the service does not end it."""
    from postroom.app.core import at_work
    from postroom.app.operations import commands as operation

    live = live_of(context)
    (section,) = chosen(live, (client,))
    fresh = run_to_end(lambda: at_work(live, lambda core: operation.pause_client(core, section, _whose())))
    click.echo(f"{section} is paused" if fresh else f"{section} was paused already", err=True)


@cli.command()
@click.argument("client", shell_complete=client_names)
@click.pass_context
def resume(context: click.Context, client: str) -> None:
    """Let a paused CLIENT go on."""
    from postroom.app.core import at_work
    from postroom.app.operations import commands as operation

    live = live_of(context)
    (section,) = chosen(live, (client,))
    paused = run_to_end(lambda: at_work(live, lambda core: operation.resume_client(core, section)))
    click.echo(f"{section} goes on" if paused else f"{section} was not paused", err=True)
