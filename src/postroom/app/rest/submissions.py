"""``/v1/submissions``: what is sent."""

from __future__ import annotations

import asyncio
import base64
import binascii
import datetime
import re
from typing import Annotated, Any, Literal

from fastapi import Body, Header, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import Field, WithJsonSchema

from postroom.app.core import Core
from postroom.app.operations import submissions as operation
from postroom.app.operations.roles import Role
from postroom.app.rest.messages import ID, Text
from postroom.app.rest.operation import Answer, CoreHere, Form, KeyHere, problems, routes
from postroom.errors import DraftFault, DraftRefused, NotFound
from postroom.mime.addresses import parse_mailbox
from postroom.mime.draft import parse_draft
from postroom.mime.raw import RawEnvelope
from postroom.outbound import STATE_WORDS, Recipient, SubmissionRow
from postroom.store.apikeys import ApiKey
from postroom.store.outbox_rows import Asked

router = routes("Submissions")
sending = routes("Submissions", large=True)

SubmissionId = Annotated[str, Path(alias="id", pattern=f"^{ID}$", description="The id of a submission.")]
State = Literal["queued", "sending", "sent", "in doubt", "failed", "cancelled"]
AskedState = Literal[State, "in-doubt"]  # as the command line has it: an address has no blanks
_STATES = {word: state for state, word in STATE_WORDS.items()}


class Delivery(Answer):
    """What became of one recipient."""

    address: str
    state: Literal["pending", "sending", "sent", "failed", "doubt", "cancelled", "bounced"]
    code: int | None = Field(description="The server's reply (RFC 5321 section 4.2).")
    enhanced: str | None = Field(description="Its enhanced code (RFC 3463).")
    words: str | None = Field(description="Its words; ours where there is no reply.")
    at: str | None = Field(description="When that changed last.")


class Submission(Answer):
    """A submission."""

    id: str
    client: str = Field(description="The section of the smtp-client that sends it.")
    state: State
    sender: str = Field(alias="from", description="The envelope's sender.")
    subject: str
    message_id: str
    size: int = Field(description="Octets.")
    created_at: str
    send_at: str
    in_reply_to_message: str | None
    attempts: int
    next_attempt_at: str | None
    fault: str | None = Field(description="Why it waits, or was given up.")
    recipients: list[Delivery]


class Event(Answer):
    """Something that happened on the way."""

    at: str
    event: str = Field(description="deferred, failed, doubt, found, resolved, resent, replayed, cancelled.")
    address: str | None
    words: str | None


class SubmissionHistory(Submission):
    """A submission with what happened to it."""

    history: list[Event] = Field(description="The oldest first; being sent at the first attempt is not among it.")


class Submissions(Answer):
    """A page of submissions, the newest first."""

    items: list[Submission]
    next: str | None = Field(description="The value of `after` for the page behind; null at the end.")


class Replay(Form):
    """How it is sent again."""

    client: str | None = Field(None, max_length=200, description="By this smtp-client from now on.")


class Resolution(Form):
    """What is known of a doubt, or decided."""

    outcome: Literal["sent", "resend", "failed"] = Field(
        description="sent: the server had taken it over; resend: once more, perhaps twice; failed: given up."
    )
    recipient: str | None = Field(None, max_length=320, description="Of this recipient only.")


_KEY = Header(
    alias="Idempotency-Key",
    min_length=1,
    max_length=255,
    pattern=r"^[!-~]+$",
    description="The same request again with the same key is the same submission, however often it comes.",
)
_AFTER = Query(
    pattern=f"^{ID}$",
    max_length=36,
    json_schema_extra={"pattern": f"^{ID}$"},  # which is lost where a parameter may be left out
    description="Behind this one: `next` of the page before.",
)
_SENT_BEFORE = {"Idempotent-Replayed": {"schema": {"type": "string"}, "description": "true: it was handed in before."}}
_WHERE = {"Location": {"schema": {"type": "string"}, "description": "The submission."}}
_ACCEPTED: dict[int | str, dict[str, Any]] = {202: {"headers": {**_WHERE, **_SENT_BEFORE}}}


@sending.post("/submissions", status_code=202, responses=_ACCEPTED)
async def create_submission(
    core: CoreHere,
    key: KeyHere,
    response: Response,
    document: Annotated[dict[str, Any], WithJsonSchema({"$ref": "#/components/schemas/Submit"}), Body()],
    idempotency_key: Annotated[Text, _KEY] = None,
) -> Submission:
    """Hand mail in to be sent. When this answers, it is kept durably; the state tells what becomes of it."""
    document = dict(document)
    faults: list[DraftFault] = []
    send_at = _moment(document.pop("send_at", None), faults)
    client = _client(core, document.pop("client", None), faults)
    hand = operation.Hand(key.id, idempotency_key, send_at, client, key.clients)
    raw = document.pop("raw", None)
    if raw is not None:
        octets, envelope = _raw(raw, faults), _envelope(document, faults)
        _refuse(faults)
        row, new = await operation.submit_raw(core, octets, envelope, hand)
    else:
        await _readable(core, key, document, faults)
        if faults:
            faults += await _of_draft(document, faults)
        _refuse(faults)
        row, new = await operation.submit_draft(core, document, hand)
    response.headers["Location"] = f"/v1/submissions/{row.id}"
    if not new:
        response.headers["Idempotent-Replayed"] = "true"
    return _submission(row)


@router.get("/submissions")
async def list_submissions(
    core: CoreHere,
    key: KeyHere,
    client: Annotated[Text, Query(max_length=200, description="Only this smtp-client's: its section.")] = None,
    state: Annotated[AskedState | None, Query(description="Only those in this state; in-doubt is in doubt.")] = None,
    recipient: Annotated[Text, Query(max_length=320, description="Only those with this recipient.")] = None,
    message_id: Annotated[Text, Query(max_length=1000, description="Only that with this Message-ID.")] = None,
    after: Annotated[Text, _AFTER] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="Most items of the page.")] = 50,
) -> Submissions:
    """List submissions, the newest first. An application's key sees its own alone."""
    states = (_STATES[state.replace("-", " ")],) if state else ()
    asked = Asked(client, states, owner=_owner(key), address=recipient, message_id=message_id, before=after, clients=key.clients)
    rows = await core.store.outbox.page(asked, limit + 1)
    items = [_submission(row) for row in rows[:limit]]
    return Submissions(items=items, next=items[-1].id if len(rows) > limit else None)


@router.get("/submissions/{id}")
async def get_submission(core: CoreHere, key: KeyHere, submission_id: SubmissionId) -> SubmissionHistory:
    """Get a submission with what became of each recipient, and its history."""
    row = await _one(core, key, submission_id)
    history = operation.history_as_dicts(await core.store.outbox.passages(row.id))
    return SubmissionHistory.model_validate({**operation.as_dict(row), "history": history})


_OCTETS = {"content": {"message/rfc822": {"schema": {"type": "string", "format": "binary"}}}, "description": "The octets."}


@router.get("/submissions/{id}/raw", response_class=StreamingResponse, responses={200: _OCTETS})
async def get_raw_submission(core: CoreHere, key: KeyHere, submission_id: SubmissionId) -> StreamingResponse:
    """Get a submission's octets, as they are sent."""
    row = await _one(core, key, submission_id)
    content = await core.store.outbox.content(row.id)
    headers = {"Content-Length": str(content.size), "Content-Disposition": f'attachment; filename="{row.id}.eml"'}
    return StreamingResponse(content.pieces(), headers=headers, media_type="message/rfc822")


@router.post("/submissions/{id}/cancel", responses=problems(409))
async def cancel_submission(core: CoreHere, key: KeyHere, submission_id: SubmissionId) -> Submission:
    """Take a submission back that no server may have yet."""
    row = await _one(core, key, submission_id)
    return _submission(await core.store.outbox.cancel(row.id))


@router.post("/submissions/{id}/replay", responses=problems(409))
async def replay_submission(core: CoreHere, key: KeyHere, submission_id: SubmissionId, form: Replay) -> Submission:
    """Send again to the recipients that failed; or at once what waits for its next attempt."""
    row = await _one(core, key, submission_id)
    faults: list[DraftFault] = []
    client = _client(core, form.client, faults)
    _refuse(faults)
    row = await core.store.outbox.replay(row.id, client)
    core.handed_in(row.client)
    return _submission(row)


@router.post("/submissions/{id}/resolve", responses=problems(409))
async def resolve_submission(core: CoreHere, key: KeyHere, submission_id: SubmissionId, form: Resolution) -> Submission:
    """End a doubt, as a person knows or decides."""
    row = await _one(core, key, submission_id)
    row = await core.store.outbox.resolve(row.id, operation.RESOLUTIONS[form.outcome], form.recipient)
    core.handed_in(row.client)
    return _submission(row)


def _submission(row: SubmissionRow) -> Submission:
    return Submission.model_validate(operation.as_dict(row))


def _owner(key: ApiKey) -> str | None:
    return key.id if Role(key.role) is Role.APPLICATION else None


async def _one(core: Core, key: ApiKey, submission_id: str) -> SubmissionRow:
    try:
        row = await core.store.outbox.one(submission_id)
    except NotFound:
        row = None
    if row is None or _owner(key) not in (None, row.owner) or (key.clients and row.client not in key.clients):
        raise NotFound("no submission has this id")  # of another's as of one that never was
    return row


# --- what the request says beside the draft ------------------------------------------------------------------------------


def _refuse(faults: list[DraftFault]) -> None:
    if faults:
        raise DraftRefused(faults)


def _moment(value: object, faults: list[DraftFault]) -> float:
    if value is None:
        return 0.0
    try:
        found = datetime.datetime.fromisoformat(str(value).upper()) if isinstance(value, str) else None
        if found is not None and found.tzinfo is not None:
            return max(found.timestamp(), 0.0)
    except (ValueError, OverflowError):
        pass
    faults.append(DraftFault("/send_at", str(value)[:60], "is no moment", "as RFC 3339 has it: 2026-11-30T09:00:00Z"))
    return 0.0


def _client(core: Core, value: object, faults: list[DraftFault]) -> str | None:
    senders = core.live.configuration.senders
    if value is None or (isinstance(value, str) and value in senders):
        return value
    known = {section.removeprefix("smtp-client-"): section for section in senders}
    if isinstance(value, str) and value in known:
        return known[value]
    faults.append(DraftFault("/client", str(value)[:60], "is no smtp-client that can send", ", ".join(senders) or "there is none"))
    return None


async def _readable(core: Core, key: ApiKey, document: dict[str, Any], faults: list[DraftFault]) -> None:
    """An answer may quote: a key that names clients answers theirs alone. No beginning of an id is enough, which can be guessed."""
    for name in ("in_reply_to_message", "forward_message"):
        value = document.get(name)
        if not (value and isinstance(value, str)):
            continue  # which the draft's own rules judge
        found = await core.store.message(value) if re.fullmatch(ID, value) else None
        if found is None or (key.clients and found[0].client not in key.clients):
            faults.append(DraftFault(f"/{name}", value[:60], "no message has this id", "the id of a captured message"))


async def _of_draft(document: dict[str, Any], known: list[DraftFault]) -> list[DraftFault]:
    """What is wrong with the draft itself, beside what is known: whoever mends a request mends all of it at once."""
    try:
        await asyncio.to_thread(parse_draft, document, operation.LIMITS)
    except DraftRefused as error:
        places = {each.pointer for each in known}
        return [each for each in error.faults if each.pointer not in places]
    return []


def _raw(value: object, faults: list[DraftFault]) -> bytes:
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    faults.append(DraftFault("/raw", "", "is no base64", "the whole message (RFC 5322) in base64"))
    return b""


def _envelope(document: dict[str, Any], faults: list[DraftFault]) -> RawEnvelope:
    """The envelope of a raw message: what stands beside it."""
    mail_from = document.pop("from", None)
    people = []
    for name in ("to", "cc", "bcc"):
        given = document.pop(name, None) or []
        people += [(f"/{name}/{at}", one) for at, one in enumerate(given if isinstance(given, list) else [given])]
    valid = "raw, from, to, cc, bcc, send_at, client"
    faults.extend(DraftFault(f"/{name[:60]}", "", "goes with a draft, not with raw", valid) for name in document)
    sender = None if mail_from is None else _address("/from", mail_from, faults)
    recipients = tuple(Recipient(_address(pointer, one, faults)) for pointer, one in people)
    return RawEnvelope(sender, tuple(dict.fromkeys(recipients)))


def _address(pointer: str, value: object, faults: list[DraftFault]) -> str:
    text = value.get("address") if isinstance(value, dict) else value
    try:
        return parse_mailbox(text).address if isinstance(text, str) else _never(pointer, faults)
    except ValueError as error:
        faults.append(DraftFault(pointer, str(text)[:80], str(error), "an address"))
        return ""


def _never(pointer: str, faults: list[DraftFault]) -> str:
    faults.append(DraftFault(pointer, "", "is no address", '"ann@example.org", or {"address": "ann@example.org"}'))
    return ""
