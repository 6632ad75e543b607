"""Header fields as they are written: encoded words (RFC 2047), addresses (RFC 5322 section 3.4), parameters (RFC 2231), folded
(RFC 5322 section 2.2.3) in lines of 76 octets where that is possible and never of more than 998.

Each function returns whole lines. What must not stand in a header raises ``ValueError`` here too, whoever let it through.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence

from postroom.mime.addresses import Address, quoted
from postroom.mime.characters import unsafe
from postroom.mime.charsets import encoded

_LINE = 76  # RFC 2047 section 2 for lines with encoded words
_LONGEST_WORD = 900  # octets that may stay without a blank: with the longest name they fit into 998
_NAME = re.compile(r"[!-9;-~]{1,76}\Z")  # ftext, RFC 5322 section 2.2
_BETWEEN = re.compile(r"(?<=[^ ]) (?=[^ ])")  # single blanks: there a line can be folded without changing the text
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+\Z")
_QUOTABLE = re.compile(r"[A-Za-z0-9 !#$&'()+,./:;=?@^_`{|}~-]{0,60}\Z")  # readers differ about quoted pairs, angles and per cents
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+\Z")  # RFC 2045 section 5.1
_Q_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")  # RFC 2047 section 5 (3)
_ATTRIBUTE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&+-.^_`{|}~")  # RFC 2231 section 7


def is_field_name(name: str) -> bool:
    """Whether it can be the name of a field."""
    return bool(_NAME.match(name))


def unstructured(name: str, value: str, charset: str = "utf-8") -> bytes:
    """A field of free text (RFC 5322 section 3.2.5); read again, it is the same text."""
    return _folded(name, _BETWEEN.split(value) if is_plain(value) else _encoded_words(value, charset, len(name)))


def is_plain(value: str) -> bool:
    """Whether the text can stand in a field without encoded words."""
    if not value.isascii() or "=?" in value or value != value.strip():
        return False
    return len(value) <= _LONGEST_WORD or max(map(len, _BETWEEN.split(value))) <= _LONGEST_WORD


def addresses(name: str, values: Sequence[Address], charset: str = "utf-8") -> bytes:
    """A field of addresses. Display names become encoded words; an address beyond ASCII stands as it is (RFC 6532)."""
    tokens: list[str] = []
    for at, address in enumerate(values):
        phrase = _phrase(address.name, charset, 0 if at else len(name))
        tokens += [*phrase, f"<{address.address}>," if phrase else f"{address.address},"]
    return _folded(name, [*tokens[:-1], tokens[-1].removesuffix(",")])


def tokens(name: str, values: Sequence[str]) -> bytes:
    """A field of words in ASCII that are written as they are, such as msg-ids."""
    return _folded(name, values)


def parameters(name: str, value: str, pairs: Iterable[tuple[str, str]]) -> bytes:
    """A field of a value with parameters (RFC 2045 section 5.1)."""
    words = [value]
    for key, content in pairs:
        words += _parameter(key, content)
    return _folded(name, [*(f"{word};" for word in words[:-1]), words[-1]])


def _folded(name: str, words: Iterable[str]) -> bytes:
    if not _NAME.match(name):
        raise ValueError(f"no name of a field: {name[:80]!r}")
    lines: list[str] = []
    line, width = f"{name}:", len(name) + 1
    for word in filter(None, words):
        octets = len(word) if word.isascii() else len(word.encode("utf-8", "surrogatepass"))
        if width + 1 + octets > _LINE and line != f"{name}:":
            lines.append(line)
            line, width = "", 0
        line, width = f"{line} {word}", width + 1 + octets
    field = "\r\n".join([*lines, line])
    if reason := next((reason for line in (*lines, line) if (reason := unsafe(line))), ""):
        raise ValueError(f"{name}: {reason}")
    return f"{field}\r\n".encode()


def _phrase(name: str, charset: str, before: int) -> list[str]:
    """A display name, ready to be folded; before it stands a field's name of so many octets."""
    if not name:
        return []
    if not name.isascii() or "=?" in name or len(name) > 60:
        return _encoded_words(name, charset, before)
    words = name.split(" ")
    return words if all(_ATOM.match(word) for word in words) else [quoted(name)]


def _encoded_words(text: str, charset: str, before: int) -> list[str]:
    """Encoded words of at most 75 characters each, none ending within a character (RFC 2047 sections 2 and 5). The first stands
    behind a field's name of so many octets.
    """
    octets, label = encoded(text, charset)
    by_q = _q_length(octets) <= 2 * len(octets)  # most of it stays readable (RFC 2047 section 4)
    room = 75 - len(f"=?{label}?q??=")
    first = max(30, room - before - 1) if before else room
    words: list[str] = []
    start = 0
    while start < len(text):
        end = _end_of_word(text, start, label, by_q, room if start else first)
        piece = text[start:end].encode(label)
        written = "".join(map(_Q.__getitem__, piece)) if by_q else base64.b64encode(piece).decode("ascii")
        words.append(f"=?{label}?{'q' if by_q else 'b'}?{written}?=")
        start = end
    return words


_Q = [chr(octet) if octet in _Q_SAFE else "_" if octet == 0x20 else f"={octet:02X}" for octet in range(256)]


def _q_length(octets: bytes) -> int:
    return sum(1 if octet in _Q_SAFE or octet == 0x20 else 3 for octet in octets)


def _end_of_word(text: str, start: int, label: str, by_q: bool, room: int) -> int:
    """The last end of a piece that still fits, at least one character on."""
    end = start + 1
    while end < len(text):
        piece = text[start : end + 1].encode(label)
        if (_q_length(piece) if by_q else (len(piece) + 2) // 3 * 4) > room:
            break
        end += 1
    return end


def _parameter(key: str, content: str) -> list[str]:
    """One parameter; in pieces, each within a line, where it is long or beyond ASCII (RFC 2231 sections 3 and 4)."""
    if _QUOTABLE.match(content):
        return [f"{key}={content}" if _TOKEN.match(content) else f"{key}={quoted(content)}"]
    pieces = [""]
    for character in content:
        written = "".join(chr(octet) if octet in _ATTRIBUTE else f"%{octet:02X}" for octet in character.encode())
        if len(pieces[-1]) + len(written) > 50:
            pieces.append("")
        pieces[-1] += written
    if len(pieces) == 1:
        return [f"{key}*=utf-8''{pieces[0]}"]
    first, *rest = pieces
    return [f"{key}*0*=utf-8''{first}", *(f"{key}*{number}*={piece}" for number, piece in enumerate(rest, 1))]
