"""The command ``init``: it parses; what it does is in ``operations``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from postroom.app.root import cli
from postroom.app.terminal import run_to_end


@cli.command()
@click.option("--name", help="The sections are pop-client-NAME and smtp-client-NAME; from the address by default.")
@click.option(
    "--grant",
    type=click.Choice(["refresh_token", "client_credentials", "service_account", "password"]),
    help="How the mailbox is opened; password is basic authentication. Asked by default.",
)
@click.option("--application", type=click.Path(dir_okay=False, path_type=Path), help="Google's downloaded client_secret_….json.")
@click.option("--client-id", help="The application's client ID.")
@click.option("--directory-id", help="The directory (tenant) ID at Microsoft.")
@click.option(
    "--secret-file", type=click.Path(dir_okay=False, path_type=Path), help="File with the client_secret, key or password."
)
@click.option("--expires", help="The day on which the client_secret ends: YYYY-MM-DD.")
@click.option("--publishing-status", type=click.Choice(["testing", "production", "internal"]), help="Of a Google application.")
@click.option("--oauth-user", help="The account that consents, where the mailbox is another's.")
@click.option("--first-read", help="What of the messages that are there is read: all, new, or a day, YYYY-MM-DD. Asked by default.")
@click.option(
    "--send/--no-send",
    default=None,
    help="Also send by this account: smtp-client-NAME. Asked by default; without a terminal it does.",
)
@click.option("--manual", "manner", flag_value="manual", help="Consent without a browser on this machine.")
@click.option("--device", "manner", flag_value="device", help="Consent by a code on another device (not at Google).")
@click.option("--no-browser", is_flag=True, help="Print the address instead of opening a browser.")
@click.option("--capture/--no-capture", default=None, help="Capture the newest message at the end; asked by default.")
@click.option("--yes", "-y", is_flag=True, help="Write the sections without asking.")
@click.argument("address")
@click.pass_context
def init(context: click.Context, /, address: str, manner: str | None, no_browser: bool, **given: Any) -> None:
    """Connect a mailbox from its address alone: find its servers, write its sections, get consent, check, capture.

    Its account sends too, by the same application and consent, where it is known who takes its mail.
    """
    from postroom.app.config import FILE_NAME
    from postroom.app.operations.authorize import Manner, Wish
    from postroom.app.operations.init import Given
    from postroom.app.operations.init import init as initialise
    from postroom.app.operations.talk import Terminal

    file = context.obj or Path(FILE_NAME)
    wish = Wish(Manner(manner) if manner else Manner.LOOPBACK, browser=not no_browser)
    context.exit(run_to_end(lambda: initialise(file, Given(address, **given), wish, Terminal())))
