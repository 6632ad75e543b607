"""Whom a message names in To and Cc (RFC 5322 section 3.6.3), for copies.

``recipients`` never raises, and its time grows with the octets alone. What is malformed is read as far as its meaning is
plain: lists with semicolons or blanks between addresses, quotes, comments and angles that are never closed, addresses within
encoded words. Display names do not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

HEADER = 256 * 1024
"""Octets of a message that are looked at for its recipients."""

_LONGEST = 320  # octets of an address: 64 before the @ and 255 behind it (RFC 5321 section 4.5.3.1)
_FIELD = re.compile(rb"^(to|cc)[ \t]*:[ \t]*([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.IGNORECASE | re.MULTILINE)
_FOLD = re.compile(r"\r?\n(?=[ \t])|[\r\n]")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\\.|\[[^\[\]\\]*\]|[,;:<>()]|[^,;:<>()"\\\[\s]+|\s+|.', re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_LOCAL = re.compile(r"[^\s()<>\[\]:;@\\,\"\x00-\x1f\x7f]+\Z")  # dot-atom, and the dots in odd places that are in use
_DOMAIN = re.compile(r"[\w-]+(?:\.[\w-]+)*\Z")
_LITERAL = re.compile(r"\[[!-Z^-~]+\]\Z")  # domain-literal (RFC 5322 section 3.4.1)
_AROUND = re.compile(r"\s*([.@])\s*")  # obs-local-part and obs-domain (RFC 5322 section 4.4) allow blanks there
_WORDS = re.compile(
    r"=\?[^?\s]+\?[bq]\?[^?]*\?=(?:\s+=\?[^?\s]+\?[bq]\?[^?]*\?=)*", re.IGNORECASE
)  # with the blanks between, which are not shown
_WORD = re.compile(r"=\?[^?\s]+\?[bq]\?[^?]*\?=", re.IGNORECASE)


def header_of(head: bytes) -> tuple[bytes, bool]:
    """The header within a message's first octets, and whether its end is among them."""
    if head.startswith((b"\r\n", b"\n")):  # no header at all
        return b"", True
    ends = [end for end in (head.find(b"\n\r\n"), head.find(b"\n\n")) if end >= 0]
    return (head[: min(ends) + 1], True) if ends else (head, False)


def recipients(header: bytes) -> tuple[str, ...]:
    """The addresses in To, then those in Cc, each once without regard to case, as first written."""
    lists: dict[bytes, list[bytes]] = {b"to": [], b"cc": []}
    for name, value in _FIELD.findall(header):
        lists[name.lower()].append(value)
    found: dict[str, str] = {}
    for value in [*lists[b"to"], *lists[b"cc"]]:
        for address in _addresses(_decoded(value)):
            found.setdefault(address.casefold(), address)
    return tuple(found.values())


class Person(NamedTuple):
    """Who is named in a header."""

    name: str  # empty where none is given
    address: str


def people(header: bytes, field_name: str) -> tuple[Person, ...]:
    """Everybody named in the fields of a name (From, Reply-To, To, Cc, …), in order."""
    found = re.findall(
        rb"^%s[ \t]*:[ \t]*([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)" % field_name.encode(), header, re.IGNORECASE | re.MULTILINE
    )
    return tuple(
        Person(_name(entry) if entry.angle is not None else "", address)
        for value in found
        for entry in _entries(_decoded(value))
        for address in _read(entry)
    )


def chosen(found: Sequence[str], own: str, limit: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who of the recipients gets a copy, and who is left out by the limit. The mailbox's own address comes first."""
    folded = own.casefold()
    ordered = sorted(found, key=lambda address: address.casefold() != folded)
    return tuple(ordered[:limit]), tuple(ordered[limit:])


def header_line(name: str, recipient: str, head: bytes) -> bytes:
    """The line that stands before a message's octets in a copy. It ends as the message's first line does."""
    first = head.find(b"\n")
    end = b"\n" if first == 0 or (first > 0 and head[first - 1 : first] != b"\r") else b"\r\n"
    return f"{name}: {recipient}".encode() + end


def _decoded(octets: bytes) -> str:
    try:
        text = octets.decode("utf-8")  # RFC 6532
    except UnicodeDecodeError:
        text = octets.decode("cp1252", "replace")
    return _FOLD.sub("", text)


# --- address-list (RFC 5322 section 3.4)


@dataclass
class _Mailbox:
    """One entry of the list, as it is being read."""

    words: list[str] = field(default_factory=list)  # outside angles: display name, or the address itself
    angle: list[str] | None = None  # within the last angles
    within: bool = False
    route: bool = False  # obs-route = obs-domain-list ":" (RFC 5322 section 4.4): the commas in it part no mailboxes

    def take(self, token: str) -> None:
        if self.within and self.angle is not None:
            self.route = token != ":" and (self.route or (not self.angle and token.startswith("@")))  # noqa: S105
            self.angle.append(token)
        else:
            self.words.append(token)


def _addresses(text: str) -> Iterator[str]:
    for entry in _entries(text):
        yield from _read(entry)


def _name(entry: _Mailbox) -> str:
    """A display-name (RFC 5322 section 3.4) as text."""
    words = _unquoted(entry.words)
    text = " ".join((_WORDS.sub(_encoded, words) if "=?" in words else words).split())
    return "".join(c if c.isprintable() else " " for c in text)


def _entries(text: str) -> Iterator[_Mailbox]:
    tokens = _without_comments(_TOKEN.findall(text))
    entry = _Mailbox()
    for token in tokens:
        if token == "<":  # noqa: S105 - an angle, not a secret
            entry.angle, entry.within, entry.route = [], True, False
        elif token == ">":  # noqa: S105
            entry.within = entry.route = False
        elif token in (",", ";") and not entry.route:
            yield entry
            entry = _Mailbox()
        elif token == ":" and not entry.within:  # noqa: S105
            entry = _Mailbox()  # what stood before is a group's name, or "mailto"
        else:
            entry.take(token)
    yield entry


def _without_comments(tokens: list[str]) -> list[str]:
    """Leave out comments, nested ones included (RFC 5322 section 3.2.2). Brackets without their other half are left."""
    opened: list[int] = []
    closing: dict[int, int] = {}
    for at, token in enumerate(tokens):
        if token == "(":  # noqa: S105
            opened.append(at)
        elif token == ")" and opened:  # noqa: S105
            closing[opened.pop()] = at
    kept: list[str] = []
    at = 0
    while at < len(tokens):
        if at in closing:
            kept.append(" ")
            at = closing[at]
        elif tokens[at] not in ("(", ")"):
            kept.append(tokens[at])
        at += 1
    return kept


def _read(entry: _Mailbox) -> Iterator[str]:
    """The address of an entry; several where only blanks stand between them."""
    if entry.angle is not None and (address := _address("".join(entry.angle), route=True)):
        yield address
        return
    phrase = "".join(entry.words)
    if address := _address(phrase):
        yield address
        return
    plain = [address for word in _unquoted(entry.words).split() if (address := _address(word))]
    if not plain and "=?" in phrase:
        plain = [address for word in _WORD.sub(_encoded, phrase).split() if (address := _address(word.strip("<>,;")))]
    yield from plain


def _unquoted(tokens: Sequence[str]) -> str:
    return "".join(
        _QUOTED_PAIR.sub(r"\1", token[1:-1]) if len(token) > 1 and token[0] == token[-1] == '"' else token for token in tokens
    )


def _encoded(found: re.Match[str]) -> str:
    """An encoded word (RFC 2047) as text; as it stands when it cannot be read."""
    from email.errors import HeaderParseError
    from email.header import decode_header

    try:
        return "".join(
            part if isinstance(part, str) else part.decode(charset or "ascii", "replace")
            for part, charset in decode_header(found[0])
        )
    except (HeaderParseError, LookupError, ValueError):
        return found[0]


def _address(text: str, *, route: bool = False) -> str:
    """addr-spec (RFC 5322 section 3.4.1) in its shortest form; empty when the text is none."""
    text = text.strip()
    if len(text.encode("utf-8", "surrogatepass")) > 4 * _LONGEST:
        return ""
    if route and text.startswith("@"):
        text = text.rpartition(":")[2].strip()
    if text.startswith("'") and text.endswith("'"):  # as some programs quote what they copied
        text = text[1:-1]
    local, at, domain = text.rpartition("@")
    local, domain = local.strip(), domain.strip()
    if not at or not local:
        return ""
    if not (domain.startswith("[") and _LITERAL.match(domain)):
        domain = _AROUND.sub(r"\1", domain).rstrip(".")
        if not _DOMAIN.match(domain):
            return ""
    if local.startswith('"'):
        local = _local_of(local)
    else:
        local = _AROUND.sub(r"\1", local)
        if not _LOCAL.match(local) or not local.isprintable():
            return ""
    address = f"{local}@{domain}"
    return address if local and len(address.encode("utf-8", "surrogatepass")) <= _LONGEST else ""


def _local_of(quoted: str) -> str:
    """A quoted local part, without its quotes where it needs none; empty when it is malformed."""
    if not re.fullmatch(r'"(?:[^"\\]|\\.)*"', quoted) or not quoted.isprintable():
        return ""
    inner = _QUOTED_PAIR.sub(r"\1", quoted[1:-1])
    if _LOCAL.match(inner) and not inner.startswith(".") and not inner.endswith(".") and ".." not in inner:
        return inner
    return quoted if inner else ""
