"""Addresses that mail is sent to and from (RFC 5322 section 3.4, RFC 6532), strictly: what is not valid is refused with the
reason, and nothing is mended, for a wrong guess would reach a stranger. Domains become A-labels (RFC 5890, UTS #46).

How addresses are read in mail that came from outside is another matter: ``recipients``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import NamedTuple

from postroom.mime.characters import disguised, unsafe

LONGEST = 10_000
"""Characters of one mailbox, display name included."""

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]"  # RFC 5322 section 3.2.3, RFC 6532 section 3.2
_DOT_ATOM = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*\Z")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z")
_PLAIN = re.compile(r"[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,185}\Z")  # most addresses: nothing in them needs a parser
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\[[^\[\]\\]*\]|[()<>,;:@\\"\[\]]|[^ \t()<>,;:@\\"\[\]]+|[ \t]+')
_QUOTED_PAIR = re.compile(r"\\(.)")
_TO_QUOTE = re.compile(r'(["\\])')


class Address(NamedTuple):
    """A mailbox: whom it belongs to, and where it is."""

    name: str  # display name, as text; may be empty
    address: str  # addr-spec; its domain in A-labels

    @property
    def key(self) -> str:
        """Equal for two addresses that are one: the domain counts without case (RFC 5321 section 2.4)."""
        local, _, domain = self.address.rpartition("@")
        return f"{local}@{domain.lower()}"


def parse_address(text: str) -> str:
    """An addr-spec alone. Raises ``ValueError`` with the reason."""
    if _PLAIN.match(text):
        return _joined(*text.split("@"))
    mailbox = parse_mailbox(text)
    if mailbox.name or "<" in text:
        raise ValueError("an address alone is wanted, without a name")
    return mailbox.address


def is_address(text: str) -> bool:
    """Whether mail can be sent to it, as it stands."""
    try:
        return parse_address(text) == text
    except ValueError:
        return False


def parse_mailbox(text: str) -> Address:
    """One mailbox, as ``a@example.org`` or ``Ann <a@example.org>``. Raises ``ValueError`` with the reason."""
    if _PLAIN.match(text):
        return Address("", _joined(*text.split("@")))
    if len(text) > LONGEST:
        raise ValueError(f"it is longer than {LONGEST} characters")
    found, grouped = _read(text)
    if len(found) != 1 or grouped:
        raise ValueError("one address is wanted at this place" if found or grouped else "it is empty")
    return found[0]


def parse_list(text: str) -> list[Address]:
    """An address-list, groups included (their members). Raises ``ValueError`` with the reason."""
    return _read(text)[0]


def quoted(text: str) -> str:
    """A quoted-string (RFC 5322 section 3.2.4)."""
    return '"' + _TO_QUOTE.sub(r"\\\1", text) + '"'


def _read(text: str) -> tuple[list[Address], bool]:
    """The mailboxes, and whether any stood in a group."""
    if reason := unsafe(text.replace("\t", " ")):
        raise ValueError(reason)
    reading = _Reading()
    for token in _tokens(text):
        reading.take(token)
    reading.end_of_entry()
    if reading.group:
        raise ValueError("a group is not closed with ';'")
    return reading.found, reading.grouped


class _Reading:
    """An address-list as it is read (RFC 5322 section 3.4)."""

    def __init__(self) -> None:
        self.found: list[Address] = []
        self.group = self.grouped = False  # within a group now, ever
        self._words: list[str] = []  # outside angles: display name, or the address itself
        self._angle: list[str] | None = None  # within angles
        self._within = False

    def take(self, token: str) -> None:
        if self._within:
            self._take_within(token)
        elif token == "<":  # noqa: S105 - an angle, not a secret
            if self._angle is not None:
                raise ValueError("it holds two addresses without a comma between them")
            self._angle, self._within = [], True
        elif token == ":":  # noqa: S105
            self._begin_group()
        elif token in (",", ";"):
            self.end_of_entry()
            if token == ";" and not self.group:  # noqa: S105
                raise ValueError("';' stands where no group ends; a comma parts addresses")
            self.group = self.group and token == ","  # noqa: S105
        elif self._angle is not None and not token.isspace():
            raise ValueError("something stands behind the angle brackets")
        else:
            self._words.append(token)

    def end_of_entry(self) -> None:
        """A mailbox is over; an empty place in a list is none (RFC 5322 section 4.4)."""
        if self._within:
            raise ValueError("an angle bracket is not closed")
        if self._angle is not None:
            self.found.append(Address(_phrase(self._words), _addr_spec(self._angle)))
        elif "".join(self._words).strip():
            self.found.append(Address("", _addr_spec(self._words)))
        self._words, self._angle = [], None

    def _take_within(self, token: str) -> None:
        if token in ("<", ",", ";", ":"):
            raise ValueError(f"{token!r} stands within angle brackets")
        if token == ">":  # noqa: S105
            self._within = False
        elif self._angle is not None:
            self._angle.append(token)

    def _begin_group(self) -> None:
        if self.group or self._angle is not None or not _phrase(self._words):
            raise ValueError("':' stands where no group begins")
        self.group = self.grouped = True
        self._words = []


def _tokens(text: str) -> Iterator[str]:
    """The tokens without comments (RFC 5322 section 3.2.2)."""
    depth = 0
    for found in _TOKEN.finditer(text):
        token = found[0]
        if depth == 0 and token in ('"', "[", "]", "\\", ")"):
            raise ValueError(f"{token!r} stands alone")
        if token in ("(", ")"):
            depth += 1 if token == "(" else -1  # noqa: S105
        elif depth == 0:
            yield token
    if depth:
        raise ValueError("a comment is not closed")


def _entry(words: list[str], angle: list[str] | None) -> list[Address]:
    if angle is not None:
        return [Address(_phrase(words), _addr_spec(angle))]
    if not "".join(words).strip():
        return []  # an empty place in a list (RFC 5322 section 4.4)
    return [Address("", _addr_spec(words))]


def _phrase(words: list[str]) -> str:
    if any(word in ("@", ">") for word in words):
        raise ValueError("the name must stand in quotes, for it holds '@' or '>'")
    # Blanks within quotes are the name's own; between words they are one (RFC 5322 section 3.2.5).
    return "".join(_unquoted(word) if word.startswith('"') else " " if word.isspace() else word for word in words).strip()


def _unquoted(token: str) -> str:
    return _QUOTED_PAIR.sub(r"\1", token[1:-1])


def _addr_spec(tokens: list[str]) -> str:
    parts = list(tokens)
    while parts and not parts[-1].strip():
        parts.pop()
    while parts and not parts[0].strip():
        parts.pop(0)
    if parts.count("@") != 1:
        raise ValueError("there is no '@' in it" if "@" not in parts else "it has more than one '@'")
    if len(parts) != 3 or parts[1] != "@":  # nothing before or behind it, or blanks, or words in pieces
        at = parts.index("@")
        empty = "nothing stands before the '@'" if at == 0 else "nothing stands behind the '@'"
        raise ValueError(empty if at in (0, len(parts) - 1) else "it holds blanks or a name without angle brackets")
    return _joined(parts[0], parts[2])


def _joined(local: str, domain: str) -> str:
    local, domain = _local(local), _domain(domain)
    if len(local.encode()) > 64:  # RFC 5321 section 4.5.3.1.1
        raise ValueError("more than 64 octets stand before the '@'")
    if len(local.encode()) + len(domain) + 1 > 254:  # a path of 256 with its angle brackets, RFC 5321 section 4.5.3.1.3
        raise ValueError("it is longer than 254 octets")
    return f"{local}@{domain}"


def _local(token: str) -> str:
    if not token.isprintable():
        raise ValueError(disguised(token) or "it holds a character before the '@' that cannot be seen")
    if token.startswith('"'):
        text = _unquoted(token)
        if not text:
            raise ValueError("nothing stands before the '@'")
        # Quoted only where it must be (RFC 5321 section 4.1.2).
        return text if _DOT_ATOM.match(text) else quoted(text)
    if not _DOT_ATOM.match(token):
        raise ValueError("dots stand at an end or side by side before the '@' (in quotes they may)")
    return token


def _domain(token: str) -> str:
    if token.startswith("["):
        return _literal(token)
    if len(token) > 255:
        raise ValueError("its domain is longer than 255 characters")
    if not token.isascii():
        token = _a_labels(token)
    if not _DOMAIN.match(token) or len(token) > 253:
        raise ValueError("its domain is none: labels of letters, digits and hyphens, parted by single dots")
    return token


def _a_labels(domain: str) -> str:
    import idna

    try:
        return idna.encode(domain, uts46=True, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        words = str(error)
        raise ValueError(
            f"its domain cannot be an internationalized one ({words[:100] if words.isprintable() else 'IDNA'})"
        ) from None


def _literal(token: str) -> str:
    """address-literal (RFC 5321 section 4.1.3)."""
    text = token[1:-1]
    try:
        if text[:5].lower() == "ipv6:":
            return f"[IPv6:{ipaddress.IPv6Address(text[5:])}]"
        return f"[{ipaddress.IPv4Address(text)}]"
    except ValueError:
        raise ValueError("its domain in square brackets is no IP address ([192.0.2.1], [IPv6:2001:db8::1])") from None
