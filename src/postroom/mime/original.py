"""The message that a draft answers or forwards, as far as that needs it. Never raises on what a message holds."""

from __future__ import annotations

import re
from dataclasses import dataclass

from postroom.mime.addresses import Address, is_address, parse_list
from postroom.mime.examine import HEAD, examine
from postroom.mime.recipients import header_of, recipients
from postroom.mime.text import BODY, text_of

_FIELD = re.compile(
    rb"^(reply-to|from|to|cc|references|in-reply-to)[ \t]*:[ \t]*([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.IGNORECASE | re.MULTILINE
)
_IDENTITY = re.compile(r"<[!-;=?-~]{1,900}>")  # msg-id without blanks (RFC 5322 section 3.6.4)
_FOLD = re.compile(r"\r?\n(?=[ \t])")
_MOST_ANSWERED = 20  # addresses: a stranger must not make us write to hundreds


@dataclass(frozen=True, slots=True)
class Original:
    """A message's facts, decoded; empty where it says nothing."""

    message_id: str = ""  # with its angle brackets
    references: tuple[str, ...] = ()  # its ancestors, the eldest first
    subject: str = ""
    sender: str = ""  # From
    answer_to: tuple[Address, ...] = ()  # Reply-To, else From (RFC 5322 section 3.6.2)
    date: str = ""  # as it stands in the message
    to: str = ""
    cc: str = ""
    text: str = ""
    octets: bytes = b""  # the message itself, for a forward


def original_of(octets: bytes) -> Original:
    """Read a captured message."""
    facts = examine(octets[:HEAD])
    header = header_of(octets[:HEAD])[0]
    found: dict[str, bytes] = {}
    for name, value in _FIELD.findall(header):
        found.setdefault(name.decode().lower(), value)
    ancestors = _IDENTITY.findall(_text(found.get("references", b"")))
    if not ancestors and len(parents := _IDENTITY.findall(_text(found.get("in-reply-to", b"")))) == 1:
        ancestors = parents  # RFC 5322 section 3.6.4
    return Original(
        facts.message_id if _IDENTITY.fullmatch(facts.message_id) else "",
        tuple(ancestors),
        facts.subject,
        facts.sender,
        _mailboxes(found.get("reply-to", b"")) or _mailboxes(found.get("from", b"")),
        facts.date,
        _decoded(found.get("to", b"")),
        _decoded(found.get("cc", b"")),
        _text_of(octets),
        octets,
    )


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _decoded(value: bytes) -> str:
    """As ``examine`` decodes a field."""
    return examine(b"Subject: " + value + b"\r\n\r\n").subject


def _mailboxes(value: bytes) -> tuple[Address, ...]:
    """The addresses of a field; read leniently where they are not valid, and without those that cannot be sent to."""
    try:
        found = parse_list(_FOLD.sub(" ", _text(value)))
    except ValueError:
        found = [Address("", address) for address in recipients(b"To: " + value + b"\r\n")]
    if len(found) > _MOST_ANSWERED:
        return ()
    return tuple(Address(_decoded(name.encode()), address) for name, address in found if is_address(address))


def _text_of(octets: bytes) -> str:
    """The message's own text, as far as ``text`` reads it. A charset may make halves of characters (UTF-7): they cannot be sent."""
    return text_of(octets[:BODY], len(octets)).text.encode("utf-8", "replace").decode()
