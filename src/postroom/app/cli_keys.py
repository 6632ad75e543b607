"""``postroom keys`` on the command line."""

from __future__ import annotations

import click

from postroom.app.root import application_names, cli, client_names, key_names, live_of
from postroom.app.terminal import print_json, run_to_end


@cli.group()
def keys() -> None:
    """The keys of the REST API."""


@keys.command("create")
@click.option(
    "--role",
    required=True,
    type=click.Choice(["admin", "operator", "application", "reader"]),
    help="What the key may do; postroom keys roles explains.",
)
@click.option(
    "--client",
    "clients",
    multiple=True,
    help="This client alone, its messages or what is sent by it; may be repeated.",
    shell_complete=client_names,
)
@click.option(
    "--application",
    "applications",
    multiple=True,
    help="Only this application's messages by pull; may be repeated.",
    shell_complete=application_names,
)
@click.option(
    "--per-minute",
    type=click.IntRange(0),
    default=6000,
    show_default=True,
    help="Most requests a minute, a tenth of them at once; 0: no limit.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, the key in it.")
@click.argument("name")
@click.pass_context
def keys_create(
    context: click.Context,
    role: str,
    clients: tuple[str, ...],
    applications: tuple[str, ...],
    per_minute: int,
    *,
    as_json: bool,
    name: str,
) -> None:
    """Make a key. It is printed now and never again: only its hash is kept."""
    from postroom.app.core import at_work
    from postroom.app.operations import keys as operation
    from postroom.app.operations.roles import Role

    live = live_of(context)
    made, key = run_to_end(
        lambda: at_work(live, lambda core: operation.create_key(core, name, Role(role), clients, per_minute, applications))
    )
    if as_json:
        print_json({**operation.key_dict(made), "key": key.reveal()})
        return
    click.echo(f"{name} may act as {role}. Keep the key now; it is not shown again:", err=True)
    click.echo(key.reveal())


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each key.")
@click.pass_context
def keys_list(context: click.Context, as_json: bool) -> None:
    """List the keys, the revoked ones too. The keys themselves are nowhere."""
    from postroom.app.core import at_work
    from postroom.app.operations import keys as operation

    live = live_of(context)
    found = run_to_end(lambda: at_work(live, lambda core: core.store.api_keys.all()))
    if as_json:
        for key in found:
            print_json(operation.key_dict(key))
    else:
        click.echo("\n".join(operation.key_lines(found)))


@keys.command("revoke")
@click.argument("name", shell_complete=key_names)
@click.pass_context
def keys_revoke(context: click.Context, name: str) -> None:
    """End a key at once, by its NAME or id."""
    from postroom.app.core import at_work
    from postroom.app.operations import keys as operation

    live = live_of(context)
    run_to_end(lambda: at_work(live, lambda core: operation.revoke_key(core, name)))
    click.echo(f"{name} is revoked", err=True)


@keys.command("roles")
def keys_roles() -> None:
    """Explain the roles."""
    from postroom.app.operations import keys as operation

    click.echo("\n".join(operation.role_lines()))
