"""``/v1/messages``: what was captured."""

from __future__ import annotations

import base64
import datetime
from typing import Annotated, Literal

from fastapi import Path, Query
from fastapi.responses import StreamingResponse
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from postroom.app.core import Core
from postroom.app.operations import messages as operation
from postroom.app.rest.operation import Answer, CoreHere, KeyHere, routes
from postroom.app.rest.problems import Problem, fault
from postroom.errors import ConfigError
from postroom.model import MessageRow, Reference
from postroom.store.apikeys import ApiKey

router = routes("Messages")

_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
Text = str | SkipJsonSchema[None]
Moment = Annotated[str, Field(pattern=_MOMENT, json_schema_extra={"format": "date-time"})] | SkipJsonSchema[None]

ID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
Cursor = Annotated[str, Field(pattern=f"^{ID}$")] | SkipJsonSchema[None]
MessageId = Annotated[str, Path(alias="id", pattern=f"^{ID}$", description="The id of a message, or of a copy.")]


class Copy(Answer):
    """A message once more, for one of its recipients."""

    id: str
    recipient: str


class Message(Answer):
    """A message's facts."""

    id: str
    copy_of: str | None = Field(None, description="The message, where this is a copy of it.")
    recipient: str | None = Field(None, description="Whom the copy is for.")
    client: str = Field(description="The section of the client that captured it.")
    folder: str
    identifier: str = Field(description="The server's own identity of it.")
    digest: str = Field(description="SHA-256 of the octets as the server held them, hexadecimal.")
    size: int = Field(description="Octets.")
    subject: str
    sender: str = Field(alias="from")
    message_id: str
    date: str = Field(description="As the message has it.")
    received: str = Field(description="When it was captured (RFC 3339).")
    fault: str = Field(description="What could not be read, and why.")
    handled: Literal["shadow", "elsewhere"] | None = Field(
        description="Whose it is while, or after, another system had the mailbox."
    )
    address: str = Field(description="The address that the mailbox served then.")
    copies: list[Copy]
    left_out: list[str] = Field(description="Recipients who got no copy, because of inbound-msg-copy-limit.")


class Messages(Answer):
    """A page of messages, the newest first."""

    items: list[Message]
    next: str | None = Field(description="The value of `after` for the page behind; null at the end.")


@router.get("/messages", response_model_exclude_unset=True)
async def list_messages(
    core: CoreHere,
    key: KeyHere,
    client: Annotated[Text, Query(max_length=200, description="Only this client's: the section, or its short name.")] = None,
    address: Annotated[Text, Query(max_length=320, description="Only those of mailboxes that served this address.")] = None,
    since: Annotated[Moment, Query(description="Captured then or later (RFC 3339).")] = None,
    after: Annotated[Cursor, Query(description="Behind this one: `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="Most items of the page.")] = 50,
) -> Messages:
    """List messages, the newest first. A key that names clients sees theirs alone."""
    clients = _seen(core, key, client)
    if clients is None:
        return Messages(items=[], next=None)
    rows = await core.store.message_page(
        limit + 1, clients=clients, address=address or "", since=_seconds(since), after=after or ""
    )
    if rows is None:
        raise Problem(422, "after is not the id of a message.", errors=[fault("after is not known here", parameter="after")])
    items = [_message(row) for row in rows[:limit]]
    return Messages(items=items, next=items[-1].id if len(rows) > limit else None)


@router.get("/messages/{id}", response_model_exclude_unset=True)
async def get_message(core: CoreHere, key: KeyHere, message_id: MessageId) -> Message:
    """Get one message's facts."""
    row, _ = await _one(core, key, message_id)
    return _message(row)


_OCTETS = {"content": {"message/rfc822": {"schema": {"type": "string", "format": "binary"}}}, "description": "The octets."}


@router.get("/messages/{id}/raw", response_class=StreamingResponse, responses={200: _OCTETS})
async def get_raw_message(core: CoreHere, key: KeyHere, message_id: MessageId) -> StreamingResponse:
    """Get one message's octets exactly as its server held them; of a copy, with the header that names its recipient."""
    row, reference = await _one(core, key, message_id)
    size, octets = operation.octets(core.store, row, reference)
    headers = {"Content-Length": str(size), "Content-Disposition": f'attachment; filename="{message_id}.eml"'}
    if row.copy is None:  # RFC 9530 section 3
        headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(row.digest)).decode()}:"
    return StreamingResponse(octets, headers=headers, media_type="message/rfc822")


def _message(row: MessageRow) -> Message:
    return Message.model_validate(operation.as_dict(row))


async def _one(core: Core, key: ApiKey, message_id: str) -> tuple[MessageRow, Reference]:
    found = await core.store.message(message_id)
    if found is None or (key.clients and found[0].client not in key.clients):
        raise Problem(404, "There is no message with this id.")
    return found


def _seen(core: Core, key: ApiKey, client: str | None) -> tuple[str, ...] | None:
    """The sections to look at, empty for all; None where there is nothing to see."""
    if client is None:
        return key.clients
    try:
        section = operation.known_section(core.live, client)
    except ConfigError:
        words = "client is not the name of one client"
        raise Problem(422, f"{words}.", errors=[fault(words, parameter="client")]) from None  # which there are is not everyone's
    return None if key.clients and section not in key.clients else (section,)


def _seconds(text: str | None) -> float:
    if text is None:
        return 0.0
    try:
        return datetime.datetime.fromisoformat(text.upper()).timestamp()
    except (ValueError, OverflowError):
        raise Problem(422, "since is no moment.", errors=[fault("since is no moment", parameter="since")]) from None
