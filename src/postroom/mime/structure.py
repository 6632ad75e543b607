"""Parts of a message (RFC 2045, RFC 2046): each becomes lines of ASCII that any server carries, so that 8BITMIME is not needed."""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from postroom.mime import fields
from postroom.mime.charsets import encoded

_LINE, _LONGEST_LINE = 78, 998  # octets that a line should and must not exceed (RFC 5322 section 2.1.1)
_MBOX = re.compile(rb"^From ", re.MULTILINE)  # some keepers of mail write ">From " instead (RFC 2049 section 3)
_READABLE = 76  # octets that a text in quoted-printable may be longer: filters of spam think little of texts in base64
_LINE_END = re.compile(r"\r\n?|\n")


class Part(NamedTuple):
    """A header of whole lines, and a body in pieces."""

    header: bytes
    pieces: Sequence[bytes]


def text_part(subtype: str, text: str, charset: str) -> Part:
    """A text; its lines end in CRLF, the last one too (RFC 2046 section 4.1.1)."""
    text = canonical(text)
    octets, label = encoded(text, charset)
    how, body = _transfer(octets)
    return Part(_content(f"text/{subtype}", [("charset", label)], how), (body,))


def file_part(content: bytes, content_type: str, parameters: Sequence[tuple[str, str]], more: bytes = b"") -> Part:
    """A file, octet for octet; ``more`` is further lines of its header."""
    return Part(_content(content_type, parameters, "base64") + more, (_base64(content),))


def message_part(octets: bytes, filename: str) -> Part:
    """A message within a message: as one when it can stand there unencoded, else as a file (RFC 2046 section 5.2.1)."""
    where = disposition("attachment", filename)
    if not (is_seven_bit(octets) and ends_lines_in_crlf(octets)) or longest_line(octets) > _LONGEST_LINE:
        return file_part(octets, "application/octet-stream", (), where)
    return Part(_content("message/rfc822", (), "7bit") + where, (octets,))


def multipart(subtype: str, parts: Sequence[Part], seed: bytes, parameters: Sequence[tuple[str, str]] = ()) -> Part:
    """Several parts as one. The boundary comes from the seed, and stands nowhere in the parts (RFC 2046 section 5.1.1)."""
    boundary = _boundary(seed, parts)
    pieces: list[bytes] = []
    for part in parts:
        pieces += [b"--", boundary, b"\r\n", part.header, b"\r\n", *part.pieces, b"\r\n"]
    pieces += [b"--", boundary, b"--\r\n"]
    header = fields.parameters("Content-Type", f"multipart/{subtype}", [*parameters, ("boundary", boundary.decode("ascii"))])
    return Part(header, pieces)


def disposition(kind: str, filename: str) -> bytes:
    """Content-Disposition (RFC 2183)."""
    return fields.parameters("Content-Disposition", kind, [("filename", filename)] if filename else [])


def canonical(text: str) -> str:
    """The text with CRLF at the end of every line, whatever ended them before."""
    text = _LINE_END.sub("\r\n", text)
    return text if not text or text.endswith("\r\n") else f"{text}\r\n"


def is_seven_bit(octets: bytes) -> bool:
    """7bit data but for the lines (RFC 2045 section 2.7)."""
    return octets.isascii() and b"\0" not in octets


def ends_lines_in_crlf(octets: bytes) -> bool:
    """Whether CR and LF stand together only."""
    return octets.count(b"\r\n") == octets.count(b"\n") == octets.count(b"\r")


def longest_line(octets: bytes) -> int:
    """Octets of the longest line that ends in CRLF, without its end."""
    return max(map(len, octets.split(b"\r\n")))


def _content(content_type: str, parameters: Sequence[tuple[str, str]], how: str) -> bytes:
    header = fields.parameters("Content-Type", content_type, parameters)
    return header + fields.tokens("Content-Transfer-Encoding", [how])


def _boundary(seed: bytes, parts: Iterable[Part]) -> bytes:
    # "=_" stands in no line of base64 or quoted-printable (RFC 2045 section 6.7): only what is sent as it is can hold it.
    pieces = [piece for part in parts for piece in part.pieces]
    number = 0
    while True:
        boundary = b"=_" + hashlib.sha256(b"%d:%b" % (number, seed)).hexdigest()[:32].encode()
        if not any(boundary in piece for piece in pieces):
            return boundary
        number += 1


def _transfer(octets: bytes) -> tuple[str, bytes]:
    """How a text is encoded, and the result: not at all, or in the way that is shorter (RFC 2045 section 6)."""
    if is_seven_bit(octets) and longest_line(octets) <= _LINE and not _MBOX.search(octets):
        return "7bit", octets
    printable = _MBOX.sub(b"=46rom=20=\r\n", binascii.b2a_qp(octets, istext=True))
    if len(printable) > (len(octets) + 2) // 3 * 4 * 78 // 76 + _READABLE:  # what base64 would take
        return "base64", _base64(octets)
    return "quoted-printable", printable


def _base64(octets: bytes) -> bytes:
    written = binascii.b2a_base64(octets, newline=False)
    return b"\r\n".join([written[start : start + 76] for start in range(0, len(written), 76)]) + (b"\r\n" if written else b"")
