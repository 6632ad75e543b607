"""Know a message again that another system has delivered. Systems write lines of their own into the header when they deliver
(RFC 5321 section 4.4), end lines in their own way and add a line end at the end: a fingerprint leaves all that out, on both
sides.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple

from postroom.mime.examine import examine

_HEADER = 256 * 1024  # octets of a header that are looked at; what is behind counts as text
_FIELD = re.compile(rb"[^\n]*(?:\n[ \t][^\n]*)*\n?")
_DELIVERY = re.compile(
    rb"(?:return-path|received|delivered-to|x-delivered-to|x-original-to|envelope-to|x-envelope-(?:to|from)|delivery-date"
    rb"|status|x-status|x-uid|x-uidl|x-keywords|content-length|lines|x-mozilla-(?:status2?|keys)|x-getmail-[a-z-]+"
    rb"|x-fetchmail-[a-z-]+)[ \t]*:",
    re.IGNORECASE,
)


class Fingerprint(NamedTuple):
    """What a message is known by."""

    digest: bytes  # SHA-256
    message_id: str


def fingerprint(pieces: Iterable[bytes]) -> Fingerprint:
    """Of a message that comes in pieces; holds its header and one piece. Never raises by what a message says."""
    code = hashlib.sha256()
    head, open_, blank, returned = b"", True, 0, b""
    for octets in pieces:
        piece = returned + octets
        returned = b"\r" if piece.endswith(b"\r") else b""  # its line feed may be in the next piece
        piece = piece[: len(piece) - len(returned)].replace(b"\r\n", b"\n")
        if open_:
            head += piece
            if len(head) < _HEADER and not head.startswith(b"\n") and b"\n\n" not in head:
                continue
            piece, open_ = _kept(head), False
        blank = _take(code, piece, blank)
    if open_:
        head += returned
        _take(code, _kept(head), blank)
    elif returned:
        _take(code, returned, blank)
    return Fingerprint(code.digest(), examine(head).message_id)


def known_as(message_id: str) -> str:
    """A Message-ID as it is compared: without its brackets, which are left out in lists."""
    return message_id.strip().removeprefix("<").removesuffix(">")


def _take(code: hashlib._Hash, piece: bytes, blank: int) -> int:
    """Hash a piece, and keep the line ends at its end back: they count only when more follows. How many are kept back."""
    text = piece.rstrip(b"\n")
    if not text:
        return blank + len(piece)
    code.update(b"\n" * blank + text)
    return len(piece) - len(text)


def _kept(head: bytes) -> bytes:
    """The octets without the fields of delivery in their header."""
    if head.startswith(b"\n"):
        return head
    end = head.find(b"\n\n", 0, _HEADER)
    end = _HEADER if end < 0 else end + 1
    header, rest = head[:end], head[end:]
    return b"".join(field for field in _FIELD.findall(header) if not _DELIVERY.match(field)) + rest
