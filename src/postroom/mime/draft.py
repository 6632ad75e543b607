"""A message as an application wants it sent: the JSON of the API, and the record that comes of it.

``parse_draft`` checks everything that can be told from the draft alone, and names all faults at once. Nothing is mended: what
could be meant in two ways, or could change what a reader sees, is a fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from postroom.errors import DraftRefused
from postroom.mime.addresses import Address
from postroom.mime.members import Reading, Reserved

_MEMBERS = (
    *("from", "sender", "to", "cc", "bcc", "reply_to", "subject", "text", "html", "attachments", "inline", "headers"),
    *("in_reply_to_message", "forward_message", "quote", "auto_submitted", "priority", "envid", "notify", "ret"),
)
_NOTIFY = ("NEVER", "SUCCESS", "FAILURE", "DELAY")
_AUTO = ("auto-generated", "auto-replied")

RESERVED = Reserved(
    MappingProxyType(
        {
            **{
                name: f'the member "{name.replace("-", "_")}"'
                for name in ("from", "sender", "to", "cc", "bcc", "reply-to", "subject")
            },
            "auto-submitted": 'the member "auto_submitted"',
            **dict.fromkeys(("importance", "priority", "x-priority"), 'the member "priority"'),
            **dict.fromkeys(
                ("date", "message-id", "mime-version", "return-path", "received", "dkim-signature"), "none: it is set here"
            ),
        }
    ),
    ("content-", "resent-", "arc-"),
)
"""Fields that a draft's ``headers`` may not hold, with what sets them instead; and how the names of others begin."""


@dataclass(frozen=True, slots=True)
class DraftLimits:
    """How large a draft may be."""

    recipients: int = 1000  # to, cc and bcc together
    octets: int = 50 * 1024 * 1024  # texts and decoded files together
    files: int = 100  # attachments and inline pictures together
    headers: int = 100
    characters: int = 10_000  # of the subject, or of the value of a header


@dataclass(frozen=True, slots=True)
class File:
    """An attachment, or a picture that the HTML shows by ``cid:``."""

    filename: str
    content_type: str  # type/subtype
    parameters: tuple[tuple[str, str], ...]  # of the type
    content: bytes
    content_id: str = ""  # without angle brackets


@dataclass(frozen=True, slots=True)
class Draft:
    """A message to be composed. What is not given is empty."""

    author: Address | None = None  # From; else default-from-address
    sender: Address | None = None
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    subject: str | None = None  # None: the original's, where there is one
    text: str | None = None
    html: str | None = None
    attachments: tuple[File, ...] = ()
    inline: tuple[File, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    in_reply_to_message: str = ""  # public id of a captured message
    forward_message: str = ""  # the same
    quote: bool = False
    auto_submitted: str = ""  # RFC 3834 section 5
    priority: str = ""  # high, normal, low
    envid: str = ""  # RFC 3461 section 4.4
    notify: tuple[str, ...] = ()  # RFC 3461 section 4.1
    ret: str = ""  # RFC 3461 section 4.3


def parse_draft(json_object: object, limits: DraftLimits | None = None) -> Draft:
    """The draft of a JSON document as ``json.loads`` gives it. Raises ``DraftRefused`` with all that is wrong."""
    limits = limits or DraftLimits()
    reading = Reading(limits.octets)
    members = reading.members(json_object, "", _MEMBERS)
    draft = _read(reading, members, limits)
    _check_whole(reading, draft, members, limits)
    if reading.faults:
        raise DraftRefused(reading.faults)
    return draft


def _read(reading: Reading, members: dict[str, Any], limits: DraftLimits) -> Draft:
    get = members.get
    answers = reading.identity(get("in_reply_to_message"), "/in_reply_to_message")
    automatic = {True: "auto-replied" if answers else "auto-generated", False: None}
    given = get("auto_submitted")
    to, cc, bcc, reply_to = (
        reading.mailboxes(get(name), f"/{name}", limits.recipients) for name in ("to", "cc", "bcc", "reply_to")
    )
    return Draft(
        author=reading.mailbox(get("from"), "/from"),
        sender=reading.mailbox(get("sender"), "/sender"),
        to=to,
        cc=cc,
        bcc=bcc,
        reply_to=reply_to,
        subject=reading.line(get("subject"), "/subject", limits.characters),
        text=reading.text(get("text"), "/text"),
        html=reading.text(get("html"), "/html"),
        attachments=tuple(File(*file) for file in reading.files(get("attachments"), "/attachments", limits.files, inline=False)),
        inline=tuple(File(*file) for file in reading.files(get("inline"), "/inline", limits.files, inline=True)),
        headers=reading.headers(get("headers"), RESERVED, limits.headers, limits.characters),
        in_reply_to_message=answers,
        forward_message=reading.identity(get("forward_message"), "/forward_message"),
        quote=reading.boolean(get("quote"), "/quote"),
        auto_submitted=reading.choice(
            automatic[given] if isinstance(given, bool) else given, "/auto_submitted", _AUTO, "true, false, "
        ),
        priority=reading.choice(get("priority"), "/priority", ("high", "normal", "low")),
        envid=reading.envid(get("envid")),
        notify=reading.choices(get("notify"), "/notify", _NOTIFY),
        ret=reading.choice(get("ret"), "/ret", ("FULL", "HDRS")),
    )


def _check_whole(reading: Reading, draft: Draft, members: dict[str, Any], limits: DraftLimits) -> None:
    """What only several members together can have wrong."""
    count = len(draft.to) + len(draft.cc) + len(draft.bcc)
    named = any(members.get(name) for name in ("to", "cc", "bcc"))
    if count > limits.recipients:
        reading.fault("", f"{count} recipients are too many", f"at most {limits.recipients} in to, cc and bcc together")
    if not named and not draft.in_reply_to_message:
        reading.fault("/to", "nobody is named to send it to", 'an address in "to", "cc" or "bcc"')
    if len(draft.attachments) + len(draft.inline) > limits.files:
        reading.fault("", "too many files", f"at most {limits.files} attachments and inline pictures together")
    if draft.in_reply_to_message and draft.forward_message:
        reading.fault("/forward_message", "a message is either an answer or a forward", "one of the two members")
    if draft.quote and not (draft.in_reply_to_message or draft.forward_message):
        reading.fault("/quote", "there is nothing to quote", 'with "in_reply_to_message" or "forward_message"')
    if draft.inline and draft.html is None and members.get("html") is None:
        reading.fault("/inline", "inline pictures are shown by HTML, and there is none", 'with "html"')
    if "NEVER" in draft.notify and len(draft.notify) > 1:
        reading.fault("/notify", "NEVER excludes the others (RFC 3461 section 4.1)", "NEVER alone")
    for name, _ in draft.headers:
        if draft.in_reply_to_message and name.lower() in ("references", "in-reply-to"):
            reading.fault("/headers", f"{name} is set from the message that is answered", "without it")
