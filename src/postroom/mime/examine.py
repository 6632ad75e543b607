"""What a message says of itself (RFC 5322 section 3.6), from its header alone.

The ways in are ``examine`` and ``message_id_of``; they never raise. Limits stand in front: a header is looked at as far as
the caller read it, a field as far as ``_LONGEST``.
"""

from __future__ import annotations

import re

from postroom.mime.withheld import withheld_octets
from postroom.model import Facts

HEAD = 64 * 1024
"""Octets of a message that are looked at for its header."""

_LONGEST = 4096  # octets of one field
_FIELD = re.compile(rb"^(subject|from|date|message-id)[ \t]*:[ \t]*([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.IGNORECASE | re.MULTILINE)
_ID_FIELD = re.compile(rb"^message-id[ \t]*:[ \t]*([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.IGNORECASE | re.MULTILINE)
_FOLD = re.compile(rb"\r?\n[ \t]+")
_BACKSLASH = re.compile(r"(=\?[^?\s]*\?[bq]\?[^?]*\?=)|\\", re.IGNORECASE)  # outside encoded words: see _part
_MESSAGE_ID = re.compile(r"<[^<>\s]+>")


def examine(head: bytes) -> Facts:
    """Subject, From, Date and Message-ID of a message, decoded; the first of each where a field is repeated."""
    if head.startswith((b"\r\n", b"\n")):  # no header at all
        return Facts()
    end = _end(head)
    fields: dict[bytes, bytes] = {}
    for name, value in _FIELD.findall(head[:end]):
        fields.setdefault(name.lower(), value)
    faults: list[str] = [] if end < len(head) or len(head) < HEAD else [f"the header is longer than {HEAD} octets"]
    if (octets := withheld_octets(head)) is not None:
        faults.append(f"only the header was taken: the message has {octets} octets")
    message_id = _identity(fields.get(b"message-id", b""), faults)
    return Facts(
        _text(fields.get(b"subject", b""), "Subject", faults),
        _text(fields.get(b"from", b""), "From", faults),
        _text(fields.get(b"date", b""), "Date", faults),
        message_id,
        "; ".join(faults),
    )


def message_id_of(head: bytes) -> str:
    """The Message-ID alone, as ``examine`` tells it."""
    if head.startswith((b"\r\n", b"\n")):
        return ""
    found = _ID_FIELD.search(head, 0, _end(head))
    return _identity(found[1], []) if found else ""


def _end(head: bytes) -> int:
    """Where the header is over: behind the end of its last line, or where the octets are."""
    end = head.find(b"\n\r\n")
    bare = head.find(b"\n\n", 0, len(head) if end < 0 else end + 1)  # a header whose lines end in LF alone
    end = end if bare < 0 else bare
    return len(head) if end < 0 else end + 1


def _identity(octets: bytes, faults: list[str]) -> str:
    text = _text(octets, "Message-ID", faults)
    identified = _MESSAGE_ID.search(text)
    return identified[0] if identified else text


def _text(octets: bytes, name: str, faults: list[str]) -> str:
    if len(octets) > _LONGEST:
        octets = octets[:_LONGEST]
        faults.append(f"{name} is cut after {_LONGEST} octets")
    value = (_FOLD.sub(b" ", octets) if b"\n" in octets else octets).strip()
    text = _decoded(value)
    if "=?" in text:
        text = _words(text, name, faults)
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _decoded(octets: bytes) -> str:
    """UTF-8 (RFC 6532), else Windows' Latin-1, which is what unlabelled octets mostly are."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("cp1252", "replace")


def _words(text: str, name: str, faults: list[str]) -> str:
    """Encoded words (RFC 2047)."""
    from email.errors import HeaderParseError
    from email.header import decode_header

    try:
        parts = decode_header(_BACKSLASH.sub(lambda found: found[1] or "\\u005c", text))
    except (HeaderParseError, ValueError) as error:
        faults.append(f"{name}: {error}")
        return text
    # Text alone comes back as text: there was no encoded word.
    return "".join(text if isinstance(part, str) else _part(part, charset, name, faults) for part, charset in parts)


def _part(part: bytes, charset: str | None, name: str, faults: list[str]) -> str:
    if charset is None:
        return part.decode("raw-unicode-escape", "replace")  # decode_header's own form of the text between words
    try:
        return part.decode(charset, "replace")
    except (LookupError, ValueError):  # "replace" does not cover an unknown charset
        faults.append(f"{name}: unknown charset {charset[:40]!r}")
        return _decoded(part)
