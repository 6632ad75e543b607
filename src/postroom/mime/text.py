"""A message's own text, as well as its first octets tell: the first text/plain that is no attachment, else the text of its HTML.

``text_of`` never raises, and its time grows with the octets alone. Parts are looked at as far as ``_DEPTH`` and ``_PARTS``; what is
malformed is read as far as its meaning is plain: boundaries that never come, encodings cut in the middle, charsets that are
unknown, missing or wrong.
"""

from __future__ import annotations

import binascii
import codecs
import html
import re
from collections.abc import Iterator
from typing import NamedTuple

BODY = 256 * 1024
"""Octets of a message that are looked at for its text."""

LONGEST = 64 * 1024
"""Characters of a text that are kept."""

_DEPTH = 10
_PARTS = 100
_FIELD = re.compile(
    rb"^(content-type|content-transfer-encoding|content-disposition)[ \t]*:[ \t]*([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)",
    re.IGNORECASE | re.MULTILINE,
)
_PARAMETER = re.compile(r";\s*([a-z0-9-]+)\*?\s*=\s*(?:\"([^\"]*)\"|([^\s;\"]+))", re.IGNORECASE)
_TEXT_CHARSET = re.compile(r"(?:utf|iso|cp|koi|mac|gb|big|euc|shift|ascii|hz|johab|ptcp|tis|latin|hp)")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")
_BLANKS = re.compile(r"[ \t\r\n\f]+")
_EMPTY_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")
_TAG = re.compile(r"/?([a-z][a-z0-9]*)", re.IGNORECASE)
_BLOCKS = frozenset(
    {
        "address",
        "article",
        "aside",
        "blockquote",
        "br",
        "dd",
        "div",
        "dl",
        "dt",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "table",
        "tr",
        "ul",
    }
)
_SILENT = frozenset({"head", "script", "style", "title", "template", "noscript"})


class Text(NamedTuple):
    """What a message says."""

    text: str  # lines end in LF
    cut: bool = False  # more of it may follow


class _Part(NamedTuple):
    kind: str  # type/subtype in lower case
    charset: str
    encoding: str
    body: bytes
    whole: bool  # its end is among the octets that were read


def text_of(head: bytes, length: int) -> Text:
    """The text of a message of so many octets, of which ``head`` are the first."""
    parts = list(_parts(head, whole=len(head) >= length))
    for kind in ("text/plain", "text/html"):
        for part in (part for part in parts if part.kind == kind):
            text = _decoded(part)
            if text := (_of_html(text) if kind == "text/html" else text).strip():
                return Text(text[:LONGEST], not part.whole or len(text) > LONGEST)
    return Text("", cut=len(head) < length)


def _parts(octets: bytes, *, whole: bool) -> Iterator[_Part]:
    """The leaves of the tree, in order."""
    waiting, seen = [(octets, whole, 0)], 0
    while waiting and seen < _PARTS:
        entity, ends, depth = waiting.pop()
        seen += 1
        header, body = _split(entity)
        fields = {name.lower(): value.decode("latin-1") for name, value in reversed(_FIELD.findall(header))}
        kind, parameters = _parameters(fields.get(b"content-type", "text/plain"))
        disposition, _ = _parameters(fields.get(b"content-disposition", ""))
        if kind.startswith("multipart/") and parameters.get("boundary"):
            if depth < _DEPTH:
                inner = _within(body, parameters["boundary"].encode("latin-1"), whole=ends)
                waiting += [(part, end, depth + 1) for part, end in reversed(inner)]
        elif disposition != "attachment":
            encoding = fields.get(b"content-transfer-encoding", "").strip().lower()
            yield _Part(kind or "text/plain", parameters.get("charset", ""), encoding, body, ends)


def _split(entity: bytes) -> tuple[bytes, bytes]:
    """Header and body; the line between them may end in CRLF or LF."""
    if entity.startswith((b"\r\n", b"\n")):
        return b"", entity[entity.index(b"\n") + 1 :]
    ends = [(at, len(mark)) for mark in (b"\n\r\n", b"\n\n") if (at := entity.find(mark)) >= 0]
    if not ends:
        return entity, b""
    at, length = min(ends)
    return entity[: at + 1], entity[at + length :]


def _parameters(value: str) -> tuple[str, dict[str, str]]:
    """A value and its parameters (RFC 2045 section 5.1); of a repeated one the first."""
    found: dict[str, str] = {}
    for name, quoted, token in _PARAMETER.findall(value):
        found.setdefault(name.lower(), quoted or token)
    return value.partition(";")[0].strip().lower(), found


def _within(body: bytes, boundary: bytes, *, whole: bool) -> list[tuple[bytes, bool]]:
    """The parts of a multipart (RFC 2046 section 5.1.1), and whether each is here to its end."""
    mark = b"\n--" + boundary
    parts: list[tuple[bytes, bool]] = []
    body = b"\n" + body  # the first boundary may stand on the first line
    start, at = -1, body.find(mark)
    while at >= 0 and len(parts) < _PARTS:
        behind = at + len(mark)
        line = body.find(b"\n", behind)
        rest = body[behind : line if line >= 0 else len(body)].strip()
        if rest in (b"", b"--"):  # else a longer boundary, of a part within
            if start >= 0:
                parts.append((body[start:at].removesuffix(b"\r"), True))
            start = -1 if rest == b"--" or line < 0 else line + 1
            if rest == b"--":
                break
        at = body.find(mark, max(behind - 1, line))
    if start >= 0:  # the boundary that ends it is not here
        parts.append((body[start:], whole))
    return parts


def _decoded(part: _Part) -> str:
    body = part.body
    if part.encoding == "base64":
        octets = _NOT_BASE64.sub(b"", body)
        body = binascii.a2b_base64(octets[: len(octets) // 4 * 4] + _rest(octets[len(octets) // 4 * 4 :]))
    elif part.encoding == "quoted-printable":
        body = binascii.a2b_qp(body)
    return _characters(body, part.charset).replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def _rest(octets: bytes) -> bytes:
    """The last group of base64, filled up; one octet alone says nothing."""
    return octets + b"=" * (4 - len(octets)) if len(octets) > 1 else b""


def _characters(octets: bytes, charset: str) -> str:
    """By the charset that is named where that is possible, else UTF-8, else Windows' Latin-1."""
    try:
        name = codecs.lookup(charset.strip()).name if charset else ""
    except (LookupError, ValueError):
        name = ""
    if name in ("iso8859-1", "ascii"):  # as it is used: see https://encoding.spec.whatwg.org/#names-and-labels
        name = ""
    if _TEXT_CHARSET.match(name) and name != "utf-8":
        try:
            return octets.decode(name, "replace")
        except (LookupError, ValueError):  # the codec itself is strict, or is none for text
            pass
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":  # a character that was cut
            return octets[: error.start].decode("utf-8")
    text = octets.decode("utf-8", "replace")
    # Where nothing but ASCII can be read as UTF-8, it is none.
    return text if any(c > "\x7f" and c != "\ufffd" for c in text) else octets.decode("cp1252", "replace")


def _of_html(text: str) -> str:
    """What a reader sees of HTML, roughly: no style, no script, a line for each block."""
    seen: list[str] = []
    at = 0
    while (start := text.find("<", at)) >= 0:
        seen.append(_BLANKS.sub(" ", text[at:start]))
        tag = _TAG.match(text, start + 1)
        if text.startswith("<!--", start):
            end = text.find("-->", start + 4)
            at = end + 3 if end >= 0 else len(text)
        elif tag is None and text[start + 1 : start + 2] not in ("!", "?", "/"):
            seen.append("<")
            at = start + 1
        else:
            name = tag[1].lower() if tag else ""
            end = text.find(">", start)
            if name in _SILENT and not tag[0].startswith("/"):  # type: ignore[index] # a name was matched
                over = re.compile(f"</{name}", re.IGNORECASE).search(text, start)
                end = text.find(">", over.end()) if over else -1
            at = end + 1 if end >= 0 else len(text)
            seen.append("\n" if name in _BLOCKS else "")
    seen.append(_BLANKS.sub(" ", text[at:]))
    plain = html.unescape("".join(seen)).replace("\xa0", " ")
    return _EMPTY_LINES.sub("\n\n", "\n".join(" ".join(line.split()) for line in plain.split("\n")))
