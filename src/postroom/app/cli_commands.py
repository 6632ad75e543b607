"""What is told to the running service: ``postroom restart``, ``pause``, ``resume``; and ``connect``, which it serves."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

import click

from postroom.app.root import chosen_one, cli, client_names, live_of
from postroom.app.terminal import print_json, run_to_end

if TYPE_CHECKING:
    from postroom.app.core import Core


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
    section = chosen_one(live, client)
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
    section = chosen_one(live, client)
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
    section = chosen_one(live, client)
    paused = run_to_end(lambda: at_work(live, lambda core: operation.resume_client(core, section)))
    click.echo(f"{section} goes on" if paused else f"{section} was not paused", err=True)


@cli.command()
@click.option("--revoke", is_flag=True, help="Take back the addresses that were handed out and not used.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.argument("client", shell_complete=client_names)
@click.pass_context
def connect(context: click.Context, revoke: bool, as_json: bool, client: str) -> None:
    """Print an address to hand to the owner of CLIENT's mailbox: it leads to the provider's page, and the consent is kept.

    It is good for a day and for one consent, while the service runs. The application must have its public-url (or the address of
    listen) with /oauth/callback among its redirect addresses at the provider.
    """
    from postroom.app.core import at_work
    from postroom.app.operations import connecting as operation
    from postroom.app.operations.shown import moment

    live = live_of(context)
    section = chosen_one(live, client)
    if revoke:
        count = run_to_end(lambda: at_work(live, lambda core: operation.revoke_connect(core, section)))
        print_json({"client": section, "revoked": count}) if as_json else click.echo(f"{count} taken back", err=True)
        return

    async def make(core: Core) -> tuple[str, float]:
        return await operation.connect_client(core, section, operation.base_of(live.configuration.web), _whose())

    address, ends = run_to_end(lambda: at_work(live, make))
    if as_json:
        print_json({"client": section, "address": address, "expires": moment(ends)})
        return
    click.echo(f"Hand this address to the owner of {section}'s mailbox; it ends {moment(ends)}:", err=True)
    click.echo(address)
