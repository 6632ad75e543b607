"""``postroom send`` and ``postroom outbox``: what they do and print."""

from __future__ import annotations

import datetime
import json
import shutil
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import click

from postroom.app.config import Live
from postroom.app.core import Core, for_command
from postroom.app.operations.shown import moment, shortened, summary
from postroom.app.operations.submissions import Hand, as_dict, history_as_dicts, state_of, submit_draft, submit_raw
from postroom.app.terminal import FAILED, UNUSABLE, Failure, print_json, shown_span
from postroom.clock import SystemClock
from postroom.errors import DraftRefused, NotFound, PostroomError
from postroom.mime.raw import RawEnvelope
from postroom.model import WorkState
from postroom.outbound import RecipientRow, RecipientState, SubmissionRow
from postroom.store.outbox_rows import RESOLVED, Asked

_COLOURS = {"queued": "cyan", "sending": "cyan", "sent": "green", "in doubt": "yellow", "failed": "red", "cancelled": "white"}
_ILL = {RecipientState.FAILED: "failed", RecipientState.DOUBT: "in doubt", RecipientState.BOUNCED: "bounced"}
_TAKEN_UP = 2.0  # seconds that a running service has to begin with what was handed in
_LOOK = 0.2


async def send(
    live: Live, document: object | None, raw: bytes | None, envelope: RawEnvelope, hand: Hand, *, wait: bool, as_json: bool
) -> int:
    """Hand in a draft or a raw message; with ``wait`` see what becomes of it. The exit status."""
    async with for_command(live) as core:
        try:
            if raw is not None:
                row, new = await submit_raw(core, raw, envelope, hand)
            else:
                row, new = await submit_draft(core, document, hand)
        except DraftRefused as error:
            return _refused(error, as_json=as_json)
        if wait:
            row = await _awaited(core, row)
        if as_json:
            print_json({**as_dict(row), "new": new})
        else:
            _print_handed(row, new=new, waited=wait)
            _print_when(core, row)
    return FAILED if wait and not _well(row) else 0


def _well(row: SubmissionRow) -> bool:
    """Whether all is sent, or nothing was tried yet."""
    untried = row.state is WorkState.READY and not row.attempts
    return (untried or row.state is WorkState.DONE) and not any(known.state in _ILL for known in row.recipients)


def _print_when(core: Core, row: SubmissionRow) -> None:
    """When it is sent, where that is not about now."""
    if row.state is not WorkState.READY:
        return
    if row.send_at > (now := core.clock.now()):
        click.echo(f"  it is sent at {moment(row.send_at)} (in {shown_span(row.send_at - now)})", err=True)
    if core.store.alone:
        click.echo("  no service runs now; postroom run sends it", err=True)


def _refused(error: DraftRefused, *, as_json: bool) -> int:
    """All that is wrong, at once."""
    if as_json:
        print_json({"error": error.message(), "faults": [_fault(fault) for fault in error.faults], "remedy": error.remedy})
        return UNUSABLE
    click.echo(f"{click.style('postroom:', fg='red')} {error.message()}.", err=True)
    for fault in error.faults:
        click.echo(f"  {fault}", err=True)
    click.echo(f"  {error.remedy}", err=True)
    return UNUSABLE


def _fault(fault: object) -> dict[str, object]:
    return {name: getattr(fault, name) for name in ("pointer", "value", "problem", "valid")}


async def _awaited(core: Core, row: SubmissionRow) -> SubmissionRow:
    """Its state once something became of it. Where no service sends it, it is sent from here."""
    from postroom.app.sending import senders_of

    await core.look_at_consents()
    until = core.clock.monotonic() + _TAKEN_UP
    while (now := await core.store.outbox.one(row.id)).state in (WorkState.READY, WorkState.LEASED):
        if now.state is WorkState.READY and (now.attempts or now.send_at > core.clock.now()):
            return now  # refused for now, or not due
        if now.state is WorkState.READY and core.clock.monotonic() >= until:
            await core.look_at_pauses()
            if row.client in core.paused:
                raise Failure(f"[{row.client}] is paused", f"postroom resume {row.client}. The mail waits unharmed: {row.id}.")
            [condition] = await senders_of(core).once([row.client])
            now = await core.store.outbox.one(row.id)
            if now.state is WorkState.READY and not now.attempts and condition.fault:
                raise Failure(f"[{row.client}] {condition.fault}", f"{condition.remedy} The mail waits unharmed: {row.id}.".strip())
            until = core.clock.monotonic() + _TAKEN_UP
        await core.clock.sleep(_LOOK)
    return now


def _print_handed(row: SubmissionRow, *, new: bool, waited: bool) -> None:
    again = "" if new else " (handed in before with the same key)"
    click.echo(f"{row.id}  {_standing(row)} by {row.client}{again}")
    if not waited:
        click.echo(f"  postroom outbox show {row.id[:23]} tells what becomes of it", err=True)
        return
    for known in row.recipients:
        click.echo(f"  {_recipient(known)}")


def _standing(row: SubmissionRow) -> str:
    """Its state, with what is not well of it where the state alone does not say it."""
    state = state_of(row)
    words = [f"attempt {row.attempts} was refused or lost"] if row.state is WorkState.READY and row.attempts else []
    for ill, word in _ILL.items():
        number = sum(known.state is ill for known in row.recipients)
        if number and (word != state or number < len(row.recipients)):
            words.append(f"{number} of {len(row.recipients)} {word}")
    return click.style(state, fg=_COLOURS[state]) + (f" ({', '.join(words)})" if words else "")


def _recipient(known: RecipientRow, *, when: bool = False) -> str:
    """What became of a recipient, with the server's words."""
    state = f"{known.state.value} at {moment(known.at)}" if when and known.at else known.state.value
    if known.words == RESOLVED:
        return f"{known.address}: {state} ({known.words})"
    reply = " ".join(part for part in (str(known.code or ""), known.enhanced, known.words) if part)
    return f"{known.address}: {state}{': ' if reply else ''}{reply}"


# --- looking ------------------------------------------------------------------------------------------------------------


async def list_submissions(live: Live, asked: Asked, *, limit: int | None, as_json: bool) -> None:
    """Print submissions, the newest first."""
    async with for_command(live) as core:
        if as_json:
            async for row in core.store.outbox.pages(asked, limit):
                print_json(as_dict(row))
            return
        rows = [row async for row in core.store.outbox.pages(asked, limit or 50)]
        counts = await core.store.outbox.counts()
    if asked == Asked(client=asked.client):  # it counts all of a client
        for line in summary({client: count for client, count in counts.items() if asked.client in (None, client)}):
            click.echo(line)
    if not rows:
        click.echo("No submission is here." if asked == Asked() else "No submission is like that.")
    width = shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else 160
    for row in rows:
        click.echo(_line(row, width))


def _line(row: SubmissionRow, width: int) -> str:
    state = state_of(row)
    people = row.recipients[0].address if row.recipients else ""
    more = f" +{len(row.recipients) - 1}" if len(row.recipients) > 1 else ""
    start = f"{row.id[:23]}  {moment(row.created_at)[:16].replace('T', ' ')}Z  "
    left = f"{shortened(row.client.removeprefix('smtp-client-'), 14):14}  {shortened(people + more, 30):30}  "
    rest = max(width - len(start) - len(left) - 11, 20)
    return start + click.style(f"{state:9}", fg=_COLOURS[state]) + "  " + left + shortened(row.subject or "(no subject)", rest)


async def show(live: Live, public_id: str, *, as_json: bool, raw: bool) -> None:
    """Print all that is known of a submission, or its octets."""
    async with for_command(live) as core:
        row = await core.store.outbox.one(public_id)
        if raw:
            sys.stdout.buffer.writelines((await core.store.outbox.content(row.id)).pieces())
            sys.stdout.buffer.flush()
            return
        passages = await core.store.outbox.passages(row.id)
        now = core.clock.now()
    if as_json:
        print_json({**as_dict(row), "history": history_as_dicts(passages)})
        return
    for line in described(row, now):
        click.echo(line)
    for passage in passages:
        words = " ".join(part for part in (passage.event, passage.address, passage.words) if part)
        click.echo(f"  {moment(passage.at)}  {words}")


def described(row: SubmissionRow, now: float) -> list[str]:
    """A submission for people."""
    facts = {
        "id": row.id,
        "state": _standing(row) + (f", {row.attempts} attempts" if row.attempts > 1 else ""),
        "client": row.client,
        "from": row.mail_from or "<> (the null reverse-path)",
        "subject": row.subject,
        "message-id": row.message_id,
        "answers": row.answers,
        "size": f"{row.size} octets",
        "handed in": moment(row.created_at) + (f" by {row.owner}" if row.owner else ""),
        "next": _next(row, now),
        "fault": row.fault,
    }
    lines = [f"{name + ':':12} {value}" for name, value in facts.items() if value]
    return lines + [f"  {_recipient(known, when=True)}" for known in row.recipients]


def _next(row: SubmissionRow, now: float) -> str:
    if row.state is not WorkState.READY or row.not_before <= now:
        return ""
    return f"{moment(row.not_before)} (in {shown_span(row.not_before - now)})"


# --- changing -----------------------------------------------------------------------------------------------------------


async def change(
    live: Live,
    ids: Sequence[str],
    verb: Callable[[Core, str], Awaitable[SubmissionRow]],
    done: Callable[[SubmissionRow], Sequence[str]],
    *,
    as_json: bool,
) -> int:
    """Do something to each of the submissions; what cannot be done to one holds up no other. ``done`` says what was done, in
    lines. The exit status."""
    status = 0
    async with for_command(live) as core:
        for public_id in ids:
            try:
                row = await verb(core, public_id)
            except PostroomError as error:
                status = UNUSABLE if isinstance(error, NotFound) else FAILED
                if as_json:
                    print_json({"id": public_id, "error": str(error), "remedy": error.remedy})
                else:
                    click.echo(f"{public_id}: {click.style(str(error), fg='red')}. {error.remedy}", err=True)
                continue
            if (lead := row.send_at - core.clock.now()) > 0 and row.state is WorkState.READY:
                click.echo(f"{row.id}  goes ahead of its time, {moment(row.send_at)} (in {shown_span(lead)})", err=True)
            print_json(as_dict(row)) if as_json else click.echo(f"{row.id}  " + "\n  ".join(done(row)))
    return status


def replayed(row: SubmissionRow) -> list[str]:
    """That a submission is sent again, or ahead of its next attempt."""
    return [f"queued to be sent now by {row.client}"]


def resolved(row: SubmissionRow) -> list[str]:
    """What became of the recipients that were in doubt."""
    return ["resolved", *(_recipient(known) for known in row.recipients if known.words == RESOLVED)]


async def ids_of(live: Live, asked: Asked) -> list[str]:
    """The ids of all submissions like that."""
    async with for_command(live) as core:
        return [row.id async for row in core.store.outbox.pages(asked)]


def read(file: Path | None) -> bytes:
    """What is in a file, or comes by the standard input. Raises ``Failure``."""
    try:
        return sys.stdin.buffer.read() if file is None or str(file) == "-" else file.read_bytes()
    except OSError as error:
        remedy = "Name a file that can be read, or - for the standard input."
        raise Failure(f"{file} cannot be read: {error.strerror}", remedy, UNUSABLE) from None


def read_draft(file: Path | None) -> object:
    """A draft's JSON from a file or the standard input. Raises ``Failure``."""
    try:
        return json.loads(read(file))
    except (ValueError, RecursionError) as error:
        place = "the standard input" if file is None or str(file) == "-" else str(file)
        remedy = "docs/guides/sending.md shows a draft; a message as it is needs --raw."
        raise Failure(f"{place} is no JSON: {error}", remedy, UNUSABLE) from None


def time_to_send(text: str) -> float:
    """A time as RFC 3339 has it, or a span from now (10m, 2h). Raises ``Failure``."""
    from postroom.settings import values
    from postroom.settings.option import NOWHERE

    try:
        return SystemClock().now() + values.time_span(minimum=0)(text, NOWHERE)
    except ValueError:
        pass
    try:
        read = datetime.datetime.fromisoformat(text)
    except ValueError:
        valid = "a time as 2026-11-30T09:00:00+01:00, or a span from now as 90s, 10m, 2h"
        raise Failure(f"{text} is no time to send at", f"Valid is {valid}.", UNUSABLE) from None
    return (read if read.tzinfo else read.astimezone()).timestamp()
