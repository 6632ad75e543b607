"""The server's side of submission (RFC 6409, RFC 5321): what a client's lines and octets mean, and how replies look.

Nothing here keeps a conversation; ``app.listener`` does. What a client may not say comes back as the ``Reply`` to it. The end
of a message's octets is CRLF.CRLF and nothing else, so that no two servers can see it at different places.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import NamedTuple

from postroom.outbound import Recipient

LINE = 12_290  # octets of a line, its end included: a response of SASL may have 12,288 (RFC 4954 section 4)
HEADS = 100  # Received fields that make a loop (RFC 5321 section 6.3)

_REPLY = 480  # octets of a reply's words; the line has at most 512 (RFC 5321 section 4.5.3.1.5)
_PATH = re.compile(r'<(?:@[^:<>\s]*:)?((?:"(?:[^"\\]|\\.)*"|[^<>"\s])*)>(?: +(.*))?\Z')  # a source route counts for nothing
_BARE_PATH = re.compile(r"([^<>\s]+)(?: +(.*))?\Z")  # as programs write it that are older than RFC 821 was read
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\s=\x00-\x1f\x7f][^\s\x00-\x1f\x7f]*))?\Z")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*\Z")  # RFC 3461 section 4
_HEX = re.compile(r"\+([0-9A-F]{2})")
_UNITEXT = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")  # RFC 6533 section 3
_RECEIVED = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)
# A line that begins with a dot, and begins or ends in CR or LF alone: some server would see the end of the message there.
_ELSEWHERE_THE_END = re.compile(rb"(?:(?<!\r)\n|\r(?!\n))\.|\r\n\.(?:\n|\r(?!\n))")
_END = b"\r\n.\r\n"


class Reply(NamedTuple):
    """A reply of one line (RFC 5321 section 4.2), with its enhanced code (RFC 2034) where the code is no 3xx."""

    code: int
    enhanced: str
    words: str

    def octets(self) -> bytes:
        """The line. Whatever the words hold, it is one line of printable ASCII."""
        words = "".join(c if " " <= c <= "~" else "?" for c in self.words)[:_REPLY]
        return f"{self.code} {self.enhanced} {words}\r\n".encode() if self.enhanced else f"{self.code} {words}\r\n".encode()


@dataclass(frozen=True, slots=True)
class Sender:
    """What MAIL said."""

    address: str  # as written, without its angles; empty for the null reverse-path
    size: int = 0  # octets that the message is said to have
    smtputf8: bool = False
    envid: str = ""
    ret: str = ""  # FULL or HDRS


def command_of(line: bytes) -> tuple[str, str] | Reply:
    """Verb, in upper case, and argument of a line without its LF."""
    if not line.endswith(b"\r") or b"\r" in line[:-1] or b"\0" in line:
        return Reply(500, "5.5.2", "A line ends in CR LF")  # RFC 5321 section 2.3.8
    verb, _, argument = line[:-1].decode("utf-8", "surrogateescape").partition(" ")
    return verb.upper(), argument.strip(" ")


def sender_of(argument: str, limit: int, *, extended: bool = True) -> Sender | Reply:
    """What MAIL says (RFC 5321 section 4.1.1.2), where messages have at most ``limit`` octets."""
    read = _path(argument, "FROM", extended)
    if isinstance(read, Reply):
        return read
    address, given = read
    size = given.pop("SIZE", "0")
    if not (size.isascii() and size.isdigit()) or len(size) > 20:  # RFC 1870 section 6.1
        return Reply(501, "5.5.4", "SIZE is a number of octets")
    if int(size) > limit:
        return Reply(552, "5.3.4", f"A message has at most {limit} octets here")
    if given.pop("BODY", "7BIT").upper() not in ("7BIT", "8BITMIME"):  # RFC 6152 section 3; the octets themselves decide
        return Reply(501, "5.5.4", "BODY is 7BIT or 8BITMIME")
    smtputf8 = given.pop("SMTPUTF8", None)
    if smtputf8:
        return Reply(501, "5.5.4", "SMTPUTF8 has no value")  # RFC 6531 section 3.4
    ret = given.pop("RET", "").upper()
    if ret not in ("", "FULL", "HDRS"):
        return Reply(501, "5.5.4", "RET is FULL or HDRS")  # RFC 3461 section 4.3
    envid = _from_xtext(given.pop("ENVID", ""), 100)
    if envid is None:
        return Reply(501, "5.5.4", "ENVID is xtext of at most 100 characters")  # RFC 3461 section 4.4
    given.pop("AUTH", None)  # RFC 4954 section 5: whom nobody here trusts to say it
    if given:
        return Reply(555, "5.5.4", f"{next(iter(given))} is not known here")
    if not address.isascii() and smtputf8 is None:
        return Reply(550, "5.6.7", "That address needs SMTPUTF8")  # RFC 6531 section 3.2
    return Sender(address, int(size), smtputf8 is not None, envid, ret)


def recipient_of(argument: str, *, smtputf8: bool, extended: bool = True) -> Recipient | Reply:
    """What RCPT says (RFC 5321 section 4.1.1.3)."""
    read = _path(argument, "TO", extended)
    if isinstance(read, Reply):
        return read
    address, given = read
    if not address:
        return Reply(553, "5.1.3", "A recipient has an address")
    if not address.isascii() and not smtputf8:
        return Reply(553, "5.6.7", "That address needs SMTPUTF8")
    notify = tuple(filter(None, given.pop("NOTIFY", "").upper().split(",")))
    if not set(notify) <= {"SUCCESS", "FAILURE", "DELAY"} and notify != ("NEVER",):
        return Reply(501, "5.5.4", "NOTIFY is NEVER, or of SUCCESS, FAILURE, DELAY")  # RFC 3461 section 4.1
    orcpt = _original(given.pop("ORCPT", ""))
    if orcpt is None:
        return Reply(501, "5.5.4", "ORCPT is an address type, a semicolon and xtext")  # RFC 3461 section 4.2
    if given:
        return Reply(555, "5.5.4", f"{next(iter(given))} is not known here")
    return Recipient(address, notify, orcpt)


def response_of(text: str) -> bytes | None:
    """A response of SASL out of its base64 (RFC 4954 section 4); "=" is the empty one. None where it is none."""
    if text == "=":
        return b""
    try:
        return base64.b64decode(text.encode("ascii", "replace"), validate=True)
    except binascii.Error:
        return None


def credentials_of(message: bytes) -> tuple[str, str] | None:
    """Name and password of PLAIN (RFC 4616). None where it is malformed, or somebody would act for somebody else."""
    try:
        acting, name, password = message.decode("utf-8").split("\0")
    except ValueError:  # of UTF-8 as well
        return None
    return (name, password) if name and password and acting in ("", name) else None


def looped(octets: bytes) -> bool:
    """Whether a message has gone round (RFC 5321 section 6.3)."""
    end = octets.find(b"\r\n\r\n")
    return sum(1 for _ in _RECEIVED.finditer(octets, 0, end if end >= 0 else len(octets))) > HEADS


class Gathering:
    """The octets of one message as they come after DATA (RFC 5321 section 4.1.1.4).

    What goes beyond ``limit`` is dropped as it comes, and read to its end all the same: the answer has its place there.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray(b"\r\n")  # the end may come at once: the line before it is DATA's
        self._dropping: Reply | None = None

    @property
    def held(self) -> int:
        """Octets of memory."""
        return len(self._held)

    def drop(self, reply: Reply) -> None:
        """Keep no more of it; it is answered so."""
        self._dropping = self._dropping or reply
        del self._held[: -(len(_END) - 1)]

    def feed(self, octets: bytes) -> bytes | None:
        """Take octets in. Those behind the message once its end came, until then None."""
        begin = max(len(self._held) - len(_END) + 1, 0)
        self._held += octets
        end = self._held.find(_END, begin)
        if end >= 0:
            rest = bytes(memoryview(self._held)[end + len(_END) :])
            del self._held[end + 2 :]
            return rest
        # Dots that were doubled do not count (RFC 1870 section 3); how many these are is known at the end.
        if self._dropping is not None or len(self._held) > self._limit + self._limit // 3 + 1024:
            self.drop(self._too_large())
        return None

    def message(self) -> bytes | Reply:
        """The message as it was meant; or why it is none, to be answered in place of the final reply."""
        if self._dropping is not None:
            return self._dropping
        held = self._held
        ends = held.count(b"\r\n")
        if (held.count(b"\n") != ends or held.count(b"\r") != ends) and _ELSEWHERE_THE_END.search(held):
            return Reply(550, "5.6.0", "A line with a dot begins or ends in CR or LF alone: lines end in CR LF")
        octets = bytes(held)
        if b"\r\n." in octets:
            octets = octets.replace(b"\r\n.", b"\r\n")  # RFC 5321 section 4.5.2
        octets = octets[2:]
        return octets if len(octets) <= self._limit else self._too_large()

    def _too_large(self) -> Reply:
        return Reply(552, "5.3.4", f"A message has at most {self._limit} octets here")


def _path(argument: str, keyword: str, extended: bool) -> tuple[str, dict[str, str]] | Reply:
    """The address and the parameters, by their names in upper case; one without a value has the empty one."""
    word, colon, rest = argument.partition(":")
    syntax = Reply(501, "5.5.4", f"The syntax is {keyword}:<address>")
    if word.strip(" ").upper() != keyword or not colon:
        return syntax
    rest = rest.lstrip(" ")  # RFC 5321 section 4.1.1.2 forbids the blank, and many programs write it
    found = (_PATH if rest.startswith("<") else _BARE_PATH).match(rest)
    if found is None:
        return syntax
    given: dict[str, str] = {}
    for word in (found[2] or "").split():
        parameter = _PARAMETER.match(word)
        if parameter is None or parameter[1].upper() in given:
            return Reply(501, "5.5.4", "A parameter is malformed, or comes twice")
        given[parameter[1].upper()] = parameter[2] or ""
    if given and not extended:
        return Reply(555, "5.5.4", "Parameters come after EHLO only")
    return found[1], given


def _from_xtext(text: str, longest: int) -> str | None:
    if not _XTEXT.match(text):
        return None
    plain = _HEX.sub(lambda found: chr(int(found[1], 16)), text)
    return plain if len(plain) <= longest and all(" " <= c <= "~" for c in plain) else None


def _original(text: str) -> str | None:
    """An original recipient without its encoding."""
    if not text:
        return ""
    kind, semicolon, address = text.partition(";")
    if not semicolon or not re.fullmatch(r"[A-Za-z0-9-]{1,40}", kind) or len(address) > 500:
        return None
    if kind.lower() == "utf-8":
        plain: str | None = _UNITEXT.sub(_character, address)
        return f"{kind};{plain}" if plain is not None and plain.isprintable() else None
    plain = _from_xtext(address, 500)
    return None if plain is None else f"{kind};{plain}"


def _character(found: re.Match[str]) -> str:
    number = int(found[1], 16)
    return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else "\0"
