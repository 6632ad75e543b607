"""Write IMAP commands (RFC 9051 section 6). Functions return the octets behind the tag, without the line end."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence

from postroom.errors import LocalProtocolError
from postroom.wire.imap.utf7 import encode

LINE = 8000
"""Longest command that we write, in octets (RFC 9051 section 4 names 8192)."""


def quoted(octets: bytes) -> bytes:
    """quoted = DQUOTE *QUOTED-CHAR DQUOTE. Raises ``LocalProtocolError`` for what a quoted string cannot hold."""
    if any(octet in octets for octet in (b"\r", b"\n", b"\0")) or not octets.isascii():
        raise LocalProtocolError("a string with CR, LF, NUL or 8-bit octets")
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def mailbox(name: str) -> bytes:
    """A folder's name in modified UTF-7 (RFC 3501 section 5.1.3), quoted. INBOX is case-insensitive, and a name like it is it."""
    return b"INBOX" if name.upper() == "INBOX" else quoted(encode(name))


def select(name: str, *, condstore: bool, read_only: bool = False) -> bytes:
    """SELECT (RFC 9051 section 6.3.2), with the parameter of RFC 7162 section 3.1.8 where the server knows it.

    ``read_only``: EXAMINE (section 6.3.3), which changes no message, not even its being recent.
    """
    return (b"EXAMINE " if read_only else b"SELECT ") + mailbox(name) + (b" (CONDSTORE)" if condstore else b"")


def status(name: str, items: Sequence[bytes]) -> bytes:
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
    """FETCH by message sequence numbers (RFC 9051 section 6.4.5)."""
    return b"FETCH " + numbers + b" (" + items + b")"


def uid_search(numbers: bytes) -> bytes:
    """UID SEARCH of messages by their sequence numbers (RFC 9051 section 6.4.9): which UIDs they have."""
    return b"UID SEARCH " + numbers


def uid_store(uids: bytes, flag: bytes) -> bytes:
    """UID STORE … +FLAGS.SILENT (RFC 9051 section 6.4.6)."""
    return b"UID STORE " + uids + b" +FLAGS.SILENT (" + flag + b")"


def uid_move(uids: bytes, target: str) -> bytes:
    """UID MOVE (RFC 6851 section 3.2)."""
    return b"UID MOVE " + uids + b" " + mailbox(target)


def uid_copy(uids: bytes, target: str) -> bytes:
    """UID COPY (RFC 9051 section 6.4.7)."""
    return b"UID COPY " + uids + b" " + mailbox(target)


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
