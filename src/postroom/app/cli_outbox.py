"""The commands that send: ``send`` and ``outbox``."""

from __future__ import annotations

import base64
import mimetypes
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from postroom.app.root import cli, live_of, sender_names
from postroom.app.terminal import UNUSABLE, Failure, run_to_end

if TYPE_CHECKING:
    from postroom.app.config import Live

_STATES = ("queued", "sending", "sent", "in-doubt", "failed", "cancelled")
_OF_DRAFTS = ("subject", "text", "html", "attach", "reply_to_message", "quote")  # what a message as it is says itself


@cli.command()
@click.option("--from", "author", help="Who writes; else the address that the answered message came to, else default-from-address.")
@click.option("--to", multiple=True, help="A recipient; may be repeated.")
@click.option("--cc", multiple=True, help="A recipient in Cc; may be repeated.")
@click.option("--bcc", multiple=True, help="A recipient that nobody sees; may be repeated.")
@click.option("--subject", help="The subject.")
@click.option("--text", help="The text; - reads it from the standard input.")
@click.option("--html", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A file with the text as HTML.")
@click.option("--attach", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A file to attach.")
@click.option("--reply-to-message", help="The id of the captured message that this answers: it threads.")
@click.option("--quote", is_flag=True, help="Quote the answered message.")
@click.option(
    "--raw",
    is_flag=True,
    help="FILE is a whole message (RFC 5322), sent as it is; --to, --cc and --bcc stand in for its recipients.",
)
@click.option("--at", help="Not before: a time, or a span from now (10m, 2h).")
@click.option("--key", help="Handed in once, however often it is repeated with the same key.")
@click.option("--client", shell_complete=sender_names, help="The smtp-client that sends it; else the one for the From address.")
@click.option("--wait", is_flag=True, help="Wait until something became of it; without a running service it is sent from here.")
@click.option("--json", "as_json", is_flag=True, help="The submission as one JSON object.")
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.pass_context
def send(context: click.Context, /, file: Path | None, raw: bool, wait: bool, as_json: bool, **given: Any) -> None:
    """Send mail: a draft from FILE (JSON, as the API takes it; - is the standard input), or one made of the options, which
    go before what FILE says. A message as it is needs --raw.

    It is kept durably, then sent by the running service. Exit status 2: it is refused, with all that is wrong. With --wait
    1: for a recipient it failed, is in doubt, or was refused for now; 0: it is sent, or its time (--at) is yet to come.
    """
    from postroom.app.operations import outbox
    from postroom.app.operations.submissions import Hand
    from postroom.mime.raw import RawEnvelope
    from postroom.outbound import Recipient

    live = live_of(context)
    if given["key"] == "":
        raise Failure("--key is empty", "Give a key that is this message's alone, or none.", UNUSABLE)
    people = [*given["to"], *given["cc"], *given["bcc"]]
    envelope = RawEnvelope(given["author"], tuple(Recipient(address) for address in people))
    if raw:
        octets, document = _octets(context, file, given), None
    else:
        octets, document = None, _document(context, file, given)
    at, client = given["at"], given["client"]
    if isinstance(document, dict):
        at, client = _beside(document, "send_at", at), _beside(document, "client", client)
    send_at = outbox.time_to_send(at) if at else 0.0
    hand = Hand(key=given["key"], send_at=send_at, client=_sender(live, client) if client else None)
    context.exit(run_to_end(lambda: outbox.send(live, document, octets, envelope, hand, wait=wait, as_json=as_json)))


def _octets(context: click.Context, file: Path | None, given: dict[str, Any]) -> bytes:
    from postroom.app.operations.outbox import read

    if useless := [f"--{name.replace('_', '-')}" for name in _OF_DRAFTS if given[name]]:
        raise Failure(f"--raw sends FILE as it is, without {', '.join(useless)}", "Leave either out.", UNUSABLE)
    if file is None and sys.stdin.isatty():
        raise click.UsageError("name FILE", context)
    return read(file)


def _beside(document: dict[str, Any], member: str, option: str | None) -> str | None:
    """What the file says beside the draft, taken out of it; the option goes before."""
    value = document.pop(member, None)
    if value is not None and not isinstance(value, str):
        raise Failure(f"/{member} is no text", status=UNUSABLE)
    return option or value


def _document(context: click.Context, file: Path | None, given: dict[str, Any]) -> object:
    """The draft: what is in the file, with what the options say."""
    from postroom.app.operations.outbox import read_draft

    said = {
        "from": given["author"],
        "to": list(given["to"]),
        "cc": list(given["cc"]),
        "bcc": list(given["bcc"]),
        "subject": given["subject"],
        "text": sys.stdin.read() if given["text"] == "-" else given["text"],
        "html": _html(given["html"]) if given["html"] else None,
        "attachments": [_attachment(path) for path in given["attach"]],
        "in_reply_to_message": given["reply_to_message"],
        "quote": given["quote"] or None,
    }
    said = {name: value for name, value in said.items() if value not in (None, [])}
    if file is None and said:
        return said
    if file is None and sys.stdin.isatty():
        raise click.UsageError("name --to and --text, or FILE", context)
    document = read_draft(file)
    if isinstance(document, dict) and "raw" in document:
        raise Failure("/raw is not taken here", "A message as it is needs --raw, and is FILE itself.", UNUSABLE)
    return {**document, **said} if isinstance(document, dict) else document


def _html(file: Path) -> str:
    from postroom.app.operations.outbox import read

    try:
        return read(file).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Failure(
            f"--html {file} is not text in UTF-8", f"Octet {error.start + 1} is the first that is not.", UNUSABLE
        ) from None


def _attachment(path: Path) -> dict[str, str]:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return {"filename": path.name, "content_type": kind, "content": base64.b64encode(path.read_bytes()).decode()}


# --- outbox ---------------------------------------------------------------------------------------------------------------


@cli.group()
def outbox() -> None:
    """What is sent: list and look at it, take it back, send it again, resolve doubts."""


_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object for each submission.")


@outbox.command("list")
@click.option("--client", shell_complete=sender_names, help="Of this smtp-client only.")
@click.option("--state", "states", multiple=True, type=click.Choice(_STATES), help="In this state only; may be repeated.")
@click.option("--recipient", help="With this recipient only.")
@click.option("--limit", type=click.IntRange(1), help="So many at most; for people 50.")
@_JSON
@click.pass_context
def list_(
    context: click.Context, client: str | None, states: tuple[str, ...], recipient: str | None, limit: int | None, as_json: bool
) -> None:
    """List submissions, the newest first."""
    from postroom.app.operations import outbox as operations

    live = live_of(context)
    asked = _asked(live, client, states, recipient)
    run_to_end(lambda: operations.list_submissions(live, asked, limit=limit, as_json=as_json))


@outbox.command()
@click.option("--raw", is_flag=True, help="Its octets, as they are sent.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@click.argument("id")
@click.pass_context
def show(context: click.Context, id: str, raw: bool, as_json: bool) -> None:  # noqa: A002 - the name that is printed
    """Print what became of a submission: each recipient with the server's words, and its history."""
    from postroom.app.operations import outbox as operations

    live = live_of(context)
    run_to_end(lambda: operations.show(live, id, as_json=as_json, raw=raw))


@outbox.command()
@_JSON
@click.argument("ids", nargs=-1, required=True)
@click.pass_context
def cancel(context: click.Context, ids: tuple[str, ...], as_json: bool) -> None:
    """Take submissions back that no server may have yet."""
    from postroom.app.operations import outbox as operations

    live = live_of(context)
    context.exit(
        run_to_end(
            lambda: operations.change(
                live, ids, lambda core, id_: core.store.outbox.cancel(id_), lambda _: ["taken back"], as_json=as_json
            )
        )
    )


@outbox.command()
@click.option("--via", shell_complete=sender_names, help="By this smtp-client from now on.")
@click.option("--failed", is_flag=True, help="All that failed; with --client those of one.")
@click.option("--client", shell_complete=sender_names, help="With --failed: of this smtp-client only.")
@_JSON
@click.argument("ids", nargs=-1)
@click.pass_context
def replay(context: click.Context, ids: tuple[str, ...], via: str | None, failed: bool, client: str | None, as_json: bool) -> None:
    """Send again to the recipients that failed; or at once what waits for its next attempt."""
    from postroom.app.operations import outbox as operations

    live = live_of(context)
    if bool(ids) == failed:
        raise Failure("name submissions, or all that failed with --failed", status=UNUSABLE)
    if client and not failed:
        raise Failure("--client goes with --failed", "--via names the smtp-client that sends them from now on.", UNUSABLE)
    section = _sender(live, via) if via else None
    chosen = ids
    if failed:
        asked = _asked(live, client, ("failed",), None)
        chosen = run_to_end(lambda: operations.ids_of(live, asked))
        if not chosen:
            click.echo("Nothing failed.", err=True)
            return
    context.exit(
        run_to_end(
            lambda: operations.change(
                live, chosen, lambda core, id_: core.store.outbox.replay(id_, section), operations.replayed, as_json=as_json
            )
        )
    )


@outbox.command()
@click.option("--as", "outcome", type=click.Choice(("sent", "resend", "failed")), required=True, help="What is known, or decided.")
@click.option("--recipient", help="Of this recipient only.")
@_JSON
@click.argument("ids", nargs=-1, required=True)
@click.pass_context
def resolve(context: click.Context, ids: tuple[str, ...], outcome: str, recipient: str | None, as_json: bool) -> None:
    """End a doubt: the server had taken the message over (sent), send it once more (resend), or give it up (failed)."""
    from postroom.app.operations import outbox as operations
    from postroom.app.operations.submissions import RESOLUTIONS

    live = live_of(context)
    to = RESOLUTIONS[outcome]
    context.exit(
        run_to_end(
            lambda: operations.change(
                live, ids, lambda core, id_: core.store.outbox.resolve(id_, to, recipient), operations.resolved, as_json=as_json
            )
        )
    )


def _asked(live: Live, client: str | None, states: tuple[str, ...], recipient: str | None) -> Any:
    from postroom.outbound import STATE_WORDS
    from postroom.store.outbox_rows import Asked

    by_name = {word.replace(" ", "-"): state for state, word in STATE_WORDS.items()}
    return Asked(client=_section(live, client), states=tuple(by_name[state] for state in states), address=recipient)


def _section(live: Live, client: str | None) -> str | None:
    """Whose submissions are meant; one that is no longer configured is meant by its whole name."""
    return client if client is None or client.startswith("smtp-client-") else _sender(live, client)


def _sender(live: Live, name: str) -> str:
    """The smtp-client of the file that a whole or a short name means."""
    from postroom.errors import ConfigError

    try:
        return live.find_client(name, live.configuration.sender_sections)
    except ConfigError as error:
        raise Failure(error.detail.replace("no client is", "no smtp-client is"), status=UNUSABLE) from None
