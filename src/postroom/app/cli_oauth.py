"""The commands around OAuth: authorize, forecast. They parse and print; what they do is in ``operations``."""

from __future__ import annotations

import datetime

import click

from postroom.app.root import chosen, cli, client_names, live_of
from postroom.app.terminal import FAILED, UNUSABLE, Failure, print_json, run_to_end


@cli.command()
@click.option("--all", "everything", is_flag=True, help="Every client whose consent is missing or refused, one after the other.")
@click.option(
    "--manual", "manner", flag_value="manual", help="For a machine without a browser: paste back what one ends on elsewhere."
)
@click.option("--device", "manner", flag_value="device", help="Enter a code on another device (not at Google).")
@click.option(
    "--oob", "manner", flag_value="oob", help="The page shows the code; Google allows it for applications in testing only."
)
@click.option("--no-browser", is_flag=True, help="Print the address and wait, without opening a browser.")
@click.option("--no-pkce", is_flag=True, help="Without code verifier and challenge, for an authority that refuses them.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1 that the browser ends on; free by default."
)
@click.option(
    "--timeout", type=click.FloatRange(0), default=None, help="Seconds to wait: 600 for a person, 1800 for a grant to spread."
)
@click.option("--print", "print_token", is_flag=True, help="Print the refresh token, for those who keep it in password.")
@click.option("--forget", is_flag=True, help="Take the consent out of the vault; what the file says acts again.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each client; the token is never in it.")
@click.argument("clients", nargs=-1, shell_complete=client_names)
@click.pass_context
def authorize(
    context: click.Context,
    everything: bool,
    manner: str | None,
    no_browser: bool,
    no_pkce: bool,
    port: int,
    timeout: float | None,
    print_token: bool,
    forget: bool,
    as_json: bool,
    clients: tuple[str, ...],
) -> None:
    """Connect mailboxes and accounts: get consent, check it, keep the token sealed in the vault.

    With grant-type = client_credentials it prints what an administrator does once for all mailboxes, and waits until it works.
    """
    from postroom.app.operations.authorize import Manner, Wish
    from postroom.app.operations.authorizing import authorize_clients, forget_consents
    from postroom.app.operations.talk import Terminal

    if everything == bool(clients):
        raise Failure("name the clients to connect, or --all", status=UNUSABLE)
    live = live_of(context)
    sections = chosen(live, clients)
    talk = Terminal()
    if forget:
        context.exit(run_to_end(lambda: forget_consents(live, sections, talk)))
    wish = Wish(
        Manner(manner) if manner else Manner.LOOPBACK,
        port,
        browser=not no_browser,
        pkce=not no_pkce,
        seconds=timeout,
        print_token=print_token,
    )
    context.exit(run_to_end(lambda: authorize_clients(live, sections, wish, talk, everything=everything, as_json=as_json)))


@cli.command()
@click.option("--at", "day", type=click.DateTime(["%Y-%m-%d"]), help="What will have ended by that day (YYYY-MM-DD).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each ending.")
@click.argument("clients", nargs=-1, shell_complete=client_names)
@click.pass_context
def forecast(context: click.Context, day: datetime.datetime | None, as_json: bool, clients: tuple[str, ...]) -> None:
    """Tell what ends when: tokens, secrets, certificates, and what providers announced."""
    from postroom.app.operations.forecast import as_lines, forecast_for

    live = live_of(context)
    sections = chosen(live, clients)
    at = day.replace(tzinfo=datetime.UTC).timestamp() if day is not None else None
    result = run_to_end(lambda: forecast_for(live, sections, at))
    if as_json:
        for ending in result.endings:
            print_json(ending.as_dict())
    else:
        for line in as_lines(result):
            click.echo(line)
    context.exit(FAILED if at is not None and any(ending.certain for ending in result.endings) else 0)
