"""Write IMAP commands (RFC 9051 section 6). Functions return the octets behind the tag, without the line end.

A literal stands in a command as RFC 9051 section 4.3 writes it, ``{n}`` CRLF and n octets: no other CRLF is in one, so that
``pieces`` finds where a server's leave is to be waited for. A folder's name is text, which is written in modified UTF-7, or
octets: those that this server knows it by.
"""

from __future__ import annotations

import base64
import datetime
import re
from collections.abc import Iterable, Mapping, Sequence

from postroom.errors import LocalProtocolError
from postroom.wire.imap import dates
from postroom.wire.imap.utf7 import encode

LINE = 8000
"""Longest command that we write, in octets (RFC 9051 section 4 names 8192)."""

UNLIMITED = 2**63
"""For ``pieces``: no literal needs the server's leave."""

_LITERAL = re.compile(rb"\{(\d+)\}\Z")


def quoted(octets: bytes) -> bytes:
    """quoted = DQUOTE *QUOTED-CHAR DQUOTE. Raises ``LocalProtocolError`` for what a quoted string cannot hold."""
    if any(octet in octets for octet in (b"\r", b"\n", b"\0")) or not octets.isascii():
        raise LocalProtocolError("a string with CR, LF, NUL or 8-bit octets")
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def string(octets: bytes) -> bytes:
    """string = quoted / literal. Eight-bit octets need no agreement on UTF-8 in a literal. ``LocalProtocolError`` for NUL."""
    if octets.isascii() and b"\r" not in octets and b"\n" not in octets:
        return quoted(octets)
    if b"\0" in octets:  # CHAR8: any OCTET except NUL
        raise LocalProtocolError("a string with NUL")
    return b"{%d}\r\n" % len(octets) + octets


def pieces(line: bytes, unasked: int) -> list[bytes]:
    """Cut a command behind each literal's announcement where the server's leave is to be waited for; without CRLFs at the cuts.

    A literal of up to ``unasked`` octets is announced so that it needs none (RFC 7888 section 4).
    """
    found: list[bytes] = []
    piece, start = b"", 0
    while (end := line.find(b"\r\n", start)) >= 0:
        announced = _LITERAL.search(line, start, end)
        if announced is None:
            raise LocalProtocolError("a line end within a command")
        size = int(announced[1])
        if size <= unasked:
            piece += line[start : announced.start()] + b"{%d+}\r\n" % size
        else:
            found.append(piece + line[start:end])
            piece = b""
        start = end + 2 + size
        piece += line[end + 2 : start]
    return [*found, piece + line[start:]]


def mailbox(name: str | bytes) -> bytes:
    """A folder's name, text in modified UTF-7 (RFC 3501 section 5.1.3). INBOX is case-insensitive, and a name like it is it."""
    if name.upper() in ("INBOX", b"INBOX"):
        return b"INBOX"
    return quoted(encode(name)) if isinstance(name, str) else string(name)


def select(name: str | bytes, *, condstore: bool, read_only: bool = False) -> bytes:
    """SELECT (RFC 9051 section 6.3.2), with the parameter of RFC 7162 section 3.1.8 where the server knows it.

    ``read_only``: EXAMINE (section 6.3.3), which changes no message, not even its being recent.
    """
    return (b"EXAMINE " if read_only else b"SELECT ") + mailbox(name) + (b" (CONDSTORE)" if condstore else b"")


def status(name: str | bytes, items: Sequence[bytes]) -> bytes:
    """STATUS (RFC 9051 section 6.3.11)."""
    return b"STATUS " + mailbox(name) + b" (" + b" ".join(items) + b")"


def authenticate(mechanism: str, initial: bytes | None) -> bytes:
    """AUTHENTICATE (RFC 9051 section 6.2.2); an initial response only where the server has SASL-IR (RFC 4959)."""
    line = b"AUTHENTICATE " + mechanism.encode("ascii")
    return line if initial is None else line + b" " + (base64.b64encode(initial) or b"=")


def response(octets: bytes) -> bytes:
    """A SASL response line."""
    return base64.b64encode(octets)


def uid_fetch(uids: bytes, items: bytes) -> bytes:
    """UID FETCH (RFC 9051 section 6.4.9)."""
    return b"UID FETCH " + uids + b" (" + items + b")"


def fetch(numbers: bytes, items: bytes) -> bytes:
    """FETCH by sequence numbers (RFC 9051 section 6.4.5)."""
    return b"FETCH " + numbers + b" (" + items + b")"


def uid_store(uids: bytes, flag: bytes) -> bytes:
    """UID STORE … +FLAGS.SILENT (RFC 9051 section 6.4.6)."""
    return b"UID STORE " + uids + b" +FLAGS.SILENT (" + flag + b")"


def uid_move(uids: bytes, target: str | bytes) -> bytes:
    """UID MOVE (RFC 6851 section 3.2)."""
    return b"UID MOVE " + uids + b" " + mailbox(target)


def uid_copy(uids: bytes, target: str | bytes) -> bytes:
    """UID COPY (RFC 9051 section 6.4.7)."""
    return b"UID COPY " + uids + b" " + mailbox(target)


def append(name: str | bytes, flag: bytes, when: float) -> bytes:
    """APPEND (RFC 9051 section 6.3.12) with a flag and an INTERNALDATE, up to the message, which follows as a literal."""
    return b"APPEND " + mailbox(name) + b" (" + flag + b") " + dates.date_time(when)


def uid_search(criteria: bytes, *, extended: bool) -> bytes:
    """UID SEARCH (RFC 9051 section 6.4.4); ``extended``: answered with ranges (RFC 4731 section 3.1)."""
    return b"UID SEARCH RETURN (ALL) " + criteria if extended else b"UID SEARCH " + criteria


def since(day: datetime.date) -> bytes:
    """The search-key SINCE (RFC 9051 section 6.4.4): by the server's date, whatever its time zone. date-month is English."""
    return b"SINCE " + dates.date(day)


def header(field: bytes, value: bytes) -> bytes:
    """The search-key HEADER (RFC 9051 section 6.4.4): the field holds this somewhere, in any case of its letters."""
    return b"HEADER " + field + b" " + string(value)


def gmail_search(query: str) -> bytes:
    """Gmail's own search-key: https://developers.google.com/gmail/imap/imap-extensions (X-GM-RAW)."""
    return b"X-GM-RAW " + string(query.encode())


def listing(pattern: str | bytes, *, special_use: bool = False) -> bytes:
    """LIST (RFC 9051 section 6.3.9); ``special_use``: only folders with a use (RFC 6154 section 3)."""
    octets = encode(pattern) if isinstance(pattern, str) else pattern
    return b"LIST " + (b"(SPECIAL-USE) " if special_use else b"") + b'"" ' + string(octets)


def enable(names: Iterable[str]) -> bytes:
    """ENABLE (RFC 5161 section 3.1)."""
    return b"ENABLE " + b" ".join(name.encode("ascii") for name in names)


def identification(fields: Mapping[str, str]) -> bytes:
    """ID (RFC 2971 section 3.1)."""
    return b"ID (" + b" ".join(quoted(octets.encode("ascii")) for pair in fields.items() for octets in pair) + b")"


def uid_expunge(uids: bytes) -> bytes:
    """UID EXPUNGE (RFC 4315 section 2.1)."""
    return b"UID EXPUNGE " + uids


def sequence_sets(uids: Iterable[int], *, longest: int = LINE - 200) -> list[bytes]:
    """Write UIDs as sequence-sets (RFC 9051 section 9) in as few octets as ranges allow, each no longer than ``longest``."""
    sets: list[bytes] = []
    line = b""
    for low, high in _ranges(uids):
        item = b"%d" % low if low == high else b"%d:%d" % (low, high)
        if line and len(line) + 1 + len(item) > longest:
            sets.append(line)
            line = b""
        line = line + b"," + item if line else item
    return [*sets, line] if line else sets


def _ranges(uids: Iterable[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for uid in sorted(set(uids)):
        if ranges and uid == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], uid)
        else:
            ranges.append((uid, uid))
    return ranges
