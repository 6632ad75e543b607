"""What the sample messages are made of: header lines, MIME entities, and small files that are valid of their kind.

Everything is octets with CRLF, written out by hand rather than by the standard library's generator, so that each sample
has exactly the form that its sender's program would have given it.
"""

from __future__ import annotations

import base64
import quopri
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.utils import format_datetime

CRLF = b"\r\n"


@dataclass(frozen=True, slots=True)
class Letter:
    """What a maker of a sample may use: whom it is for, when it is written, and its identity."""

    to: str
    when: datetime
    message_id: str
    earlier: str  # Message-ID of the sample made before this one

    @property
    def date(self) -> str:
        """The Date field's value."""
        return format_datetime(self.when)

    def head(self, sender: str, subject: str, *fields: tuple[str, str], return_path: str | None = None) -> bytes:
        """The header that every message begins with, then ``fields``. The sender's address names the servers."""
        address = sender.rpartition("<")[2].rstrip(">")
        host = address.rpartition("@")[2]
        received = (
            f"from mail.{host} (mail.{host} [192.0.2.25])\r\n\tby mx.example.test with ESMTPS"
            f" (TLS1.3)\r\n\tfor <{self.to}>; {self.date}"
        )
        return header(
            ("Return-Path", f"<{address if return_path is None else return_path}>"),
            ("Received", received),
            ("Date", self.date),
            ("From", sender),
            ("To", self.to),
            ("Subject", subject),
            ("Message-ID", self.message_id),
            ("MIME-Version", "1.0"),
            *fields,
        )


Maker = Callable[[Letter], bytes]


def crlf(text: str, charset: str = "ascii") -> bytes:
    """The text's lines in a character set, each ended by CRLF."""
    return b"".join(line.encode(charset) + CRLF for line in text.strip("\n").split("\n"))


def word(text: str, charset: str) -> str:
    """The text as encoded words (RFC 2047), folded where one line does not hold it."""
    return Header(text, charset, maxlinelen=75).encode(linesep="\r\n")


def header(*fields: tuple[str, str]) -> bytes:
    """Header fields in their order; fields without a value are left out."""
    return b"".join(f"{name}: {value}\r\n".encode() for name, value in fields if value)


def entity(content_type: str, body: bytes, *fields: tuple[str, str]) -> bytes:
    """A MIME entity: its own header, an empty line, its body (RFC 2045 section 2.4)."""
    return header(("Content-Type", content_type), *fields) + CRLF + body


def as_quoted_printable(text: str, charset: str) -> bytes:
    """The text in quoted-printable (RFC 2045 section 6.7)."""
    return b"".join(quopri.encodestring(line.encode(charset)).replace(b"\n", CRLF) + CRLF for line in text.strip("\n").split("\n"))


def as_base64(octets: bytes) -> bytes:
    """The octets in base64, in lines of 76 characters (RFC 2045 section 6.8)."""
    return base64.encodebytes(octets).replace(b"\n", CRLF)


def text_entity(text: str, charset: str = "utf-8", encoding: str = "quoted-printable", subtype: str = "plain") -> bytes:
    """A text entity in a character set and transfer encoding."""
    body = as_quoted_printable(text, charset) if encoding == "quoted-printable" else as_base64(text.encode(charset))
    content_type = f'text/{subtype}; charset="{charset}"'
    return entity(content_type, body, ("Content-Transfer-Encoding", encoding))


def attachment(content_type: str, octets: bytes, *names: str) -> bytes:
    """An attached file in base64. ``names`` are the parameters of its Content-Disposition, ready to be written."""
    disposition = ";\r\n ".join(("attachment", *names))
    fields = (("Content-Transfer-Encoding", "base64"), ("Content-Disposition", disposition))
    return entity(content_type, as_base64(octets), *fields)


def multipart(boundary: str, *entities: bytes) -> bytes:
    """The body of a multipart entity (RFC 2046 section 5.1)."""
    opening = b"--" + boundary.encode() + CRLF
    return b"".join(opening + one + CRLF for one in entities) + b"--" + boundary.encode() + b"--" + CRLF


def png(width: int = 24, height: int = 24) -> bytes:
    """A picture with a soft gradient, as small as a logo in a signature."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (
        b"\0" + b"".join(bytes((36, 87 + 5 * x, 166 - 3 * y)) for x in range(width))  # filter type 0, then RGB
        for y in range(height)
    )
    shape = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", shape) + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")


def pdf(lines: tuple[str, ...]) -> bytes:
    """One A4 page with the lines on it (PDF 1.4), its cross-reference table exact."""
    shown = " ".join(f"({line.translate(_PDF_ESCAPES)}) Tj T*" for line in lines)
    content = f"BT /F1 12 Tf 16 TL 72 770 Td {shown} ET".encode("latin-1")
    resources = b"<< /Font << /F1 5 0 R >> >>"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources %b >>" % resources,
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    )
    octets = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    offsets = []
    for number, one in enumerate(objects, 1):
        offsets.append(len(octets))
        octets += b"%d 0 obj\n%b\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    count = len(objects) + 1
    trailer = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (count, len(octets))
    return octets + b"xref\n0 %d\n0000000000 65535 f \n" % count + table + trailer


_PDF_ESCAPES = str.maketrans({"(": r"\(", ")": r"\)", "\\": r"\\"})
