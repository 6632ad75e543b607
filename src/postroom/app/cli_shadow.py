"""``postroom shadow`` on the command line."""

from __future__ import annotations

from pathlib import Path

import click

from postroom.app.root import chosen_one, cli, client_names, live_of
from postroom.app.terminal import UNUSABLE, Failure, run_to_end


@cli.command()
@click.option(
    "--maildir", type=click.Path(file_okay=False, exists=True, path_type=Path), help="What the other system has: its Maildir."
)
@click.option("--mbox", type=click.Path(dir_okay=False, exists=True, path_type=Path), help="… or its mbox.")
@click.option(
    "--message-ids", type=click.Path(dir_okay=False, exists=True, path_type=Path), help="… or a file of Message-IDs, one a line."
)
@click.option("--take-over", is_flag=True, help="Mark what the other system has as handled there; all else is handled here.")
@click.option("--despite-troubles", is_flag=True, help="With --take-over: also while messages could not be had.")
@click.option("--give-back", is_flag=True, help="Read a mailbox in shadow that was read here; what it is owed is settled first.")
@click.option(
    "--undo", is_flag=True, help="Go back behind the take-over, as long as nothing was captured, settled or handed on since."
)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object with the numbers, then one for each message only there or here."
)
@click.argument("client", shell_complete=client_names)
@click.pass_context
def shadow(
    context: click.Context,
    client: str,
    maildir: Path | None,
    mbox: Path | None,
    message_ids: Path | None,
    *,
    take_over: bool,
    despite_troubles: bool,
    give_back: bool,
    undo: bool,
    as_json: bool,
) -> None:
    """Read CLIENT's mailbox beside another system and compare: how many messages are both there and here, only there, only
    here. Exit status 4: some are only there or only here.

    Nothing is changed at the server, whatever the client's settings say, and nothing is handed on. So it stays, for the
    service too, until --take-over: stop the other system first. From then on the client's settings hold.
    """
    from postroom.app.operations.elsewhere import Elsewhere
    from postroom.app.operations.shadow import Wish
    from postroom.app.operations.shadow import shadow as carry_out

    live = live_of(context)
    section = chosen_one(live, client, mailboxes=True)
    given = [source for source in (maildir, mbox, message_ids) if source is not None]
    if len(given) > 1:
        raise Failure("name one of --maildir, --mbox and --message-ids", status=UNUSABLE)
    if take_over and not given:
        raise Failure(
            "--take-over needs to know what the other system has", "Name its --maildir, --mbox or --message-ids.", UNUSABLE
        )
    if undo and (given or take_over or give_back):
        raise Failure("--undo stands alone", status=UNUSABLE)
    wish = Wish(take_over, despite_troubles, undo, give_back)
    other = Elsewhere(maildir, mbox, message_ids)
    context.exit(run_to_end(lambda: carry_out(live, section, other, wish, as_json=as_json)))
