"""A message that an application made itself: taken as it is, but for what could not be sent so, or would tell too much.

What changes: every line ends in CRLF (a lone CR or LF is a line end, and CRs before one belong to it), so no octets can be
read as the end of the data by one server and not by the next; Bcc, Resent-Bcc and Return-Path are removed (RFC 5322 section
3.6.3, RFC 5321 section 4.4); a missing Date, Message-ID or From is added (RFC 6409 section 8). MIME-Version is not. Everything
else stays octet for octet, so that signatures hold.

What is refused: no header, lines of more than 998 octets (RFC 5322 section 2.1.1; to encode them anew would break
signatures), NUL, fields that are none, a header in an unnamed charset, addresses that are not valid.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from postroom.errors import DraftFault, DraftRefused
from postroom.mime import fields
from postroom.mime.addresses import Address, parse_address, parse_list, parse_mailbox
from postroom.mime.characters import shown
from postroom.mime.compose import Given, collapsed, date_of
from postroom.mime.examine import examine
from postroom.mime.structure import ends_lines_in_crlf, longest_line
from postroom.outbound import Body, Composed, Envelope, Recipient

_LINE_END = re.compile(rb"\r+\n|\r|\n")
_AUTHORS = (b"resent-sender", b"resent-from", b"sender", b"from")
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)\r\n")
_TOO_LONG = re.compile(rb"^[^\n]{1000}", re.MULTILINE)  # with its CR
_IDENTITY = re.compile(r"\s*(<[!-;=?-~]{1,900}>)\s*\Z")
_REMOVED = frozenset({b"bcc", b"resent-bcc", b"return-path"})


@dataclass(frozen=True, slots=True)
class RawEnvelope:
    """What is known of the envelope beside the message. Recipients that are given are all there are."""

    mail_from: str | None = None  # None: Sender or From say it; empty: the null reverse-path
    recipients: tuple[Recipient, ...] = ()
    envid: str = ""
    ret: str = ""


@dataclass(frozen=True, slots=True)
class _Field:
    name: bytes  # in lower case
    value: bytes
    line: bytes  # as it stands, with its line end


def take_raw(octets: bytes, hints: RawEnvelope, given: Given, *, most_recipients: int = 1000) -> Composed:
    """The message for the queue. Raises ``DraftRefused`` with all that is wrong; the pointers of its faults are empty."""
    if not (ends_lines_in_crlf(octets) and octets.endswith(b"\r\n")):
        octets = _LINE_END.sub(b"\r\n", octets)
        octets += b"" if octets.endswith(b"\r\n") else b"\r\n"
    faults: list[DraftFault] = []
    header, body = _parted(octets, faults)
    _check(octets, header, faults)
    reading = _Envelope(header, faults)
    mail_from, recipients = reading.mail_from(hints, given), reading.recipients(hints, given)
    if len(recipients) > most_recipients:
        _fault(faults, f"{len(recipients)} recipients are too many", f"at most {most_recipients}")
    if faults:
        raise DraftRefused(faults)
    added, message_id = _added(header, given)
    kept = b"".join(field.line for field in header if field.name not in _REMOVED)
    whole = kept + added + b"\r\n" + body
    facts = examine(kept)
    beyond = not (kept.isascii() and mail_from.isascii() and all(one.address.isascii() for one in recipients))
    kind = Body.EIGHT_BIT if beyond or not body.isascii() else Body.SEVEN_BIT
    return Composed(Envelope(mail_from, recipients, kind, beyond, hints.envid, hints.ret), whole, message_id, facts.subject)


def author_of(header: bytes) -> str:
    """Who a message is from by its header, however its lines end: as where no sender is known beside it. Empty where that cannot
    be told."""
    faults: list[DraftFault] = []
    fields_, _ = _parted(_LINE_END.sub(b"\r\n", header) + b"\r\n", faults)
    reading = _Envelope(fields_, faults)
    return next((found[0].address for name in _AUTHORS if (found := reading._addresses(name))), "")


def _fault(faults: list[DraftFault], problem: str, valid: str, value: str = "") -> None:
    faults.append(DraftFault("", value, problem, valid))


def _parted(octets: bytes, faults: list[DraftFault]) -> tuple[list[_Field], bytes]:
    """The fields of the header, and the body."""
    header: list[_Field] = []
    at = 0
    while at < len(octets) and not octets.startswith(b"\r\n", at):
        found = _FIELD.match(octets, at)
        if found is None:
            line, number = octets[at : octets.index(b"\r\n", at)], octets.count(b"\n", 0, at) + 1
            words = f"line {number} of the header is no field"
            _fault(faults, words, "Name: value (RFC 5322 section 2.2)", shown(line.decode("utf-8", "replace")))
            return header, b""
        header.append(_Field(found[1].lower(), found[2], found[0]))
        at = found.end()
    return header, octets[at + 2 :]


def _check(octets: bytes, header: Sequence[_Field], faults: list[DraftFault]) -> None:
    if longest_line(octets) > 998 and (found := _TOO_LONG.search(octets)):
        length = octets.index(b"\r\n", found.start()) - found.start()
        number = octets.count(b"\n", 0, found.start()) + 1
        _fault(faults, f"line {number} has {length} octets", "at most 998 in a line: encode the part as quoted-printable or base64")
    if b"\0" in octets:
        _fault(faults, f"it holds NUL at octet {octets.index(0) + 1}", "octets other than NUL: encode the part as base64")
    for field in header:
        try:
            field.value.decode("utf-8")
        except UnicodeDecodeError:
            name = field.name.decode("ascii").title()
            _fault(
                faults,
                f"{name} holds octets that are no UTF-8",
                "encoded words (RFC 2047), or UTF-8 (RFC 6532)",
                shown(_text(field)),
            )


def _text(field: _Field) -> str:
    return field.value.decode("utf-8", "replace").replace("\r\n", "").strip()


class _Envelope:
    """What the header says of the envelope. Where it was sent again, the latest Resent fields do (RFC 5322 section 3.6.6)."""

    def __init__(self, header: Sequence[_Field], faults: list[DraftFault]) -> None:
        self._header = header
        self._faults = faults
        self._resent = _latest_resent(header)

    def mail_from(self, hints: RawEnvelope, given: Given) -> str:
        if hints.mail_from is not None:
            return self._address(hints.mail_from, "the envelope's sender") if hints.mail_from else ""
        for name in _AUTHORS:
            if found := self._addresses(name):
                return found[0].address
        if not given.default_from or self._has(b"from"):
            self._missing_author()
            return ""
        return parse_mailbox(given.default_from).address

    def recipients(self, hints: RawEnvelope, given: Given) -> tuple[Recipient, ...]:
        if hints.mail_from is not None and not given.default_from and not self._has(b"from"):
            self._missing_author()
        hidden = [parse_address(given.bcc_address)] if given.bcc_address else []
        if hints.recipients:
            ours = [one._replace(address=self._address(one.address, "a recipient")) for one in hints.recipients]
        else:
            names = [b"resent-to", b"resent-cc", b"resent-bcc"]
            if not any(name in names for name in self._resent):
                names = [b"to", b"cc", b"bcc"]
            ours = [Recipient(address.address) for name in names for address in self._addresses(name)]
            if not ours:
                _fault(self._faults, "nobody is named to send it to", "an address in To, Cc or Bcc, or in the envelope")
        known = {Address("", one.address).key: one for one in reversed([*ours, *map(Recipient, hidden)])}
        wanted = collapsed([*(one.address for one in ours), *hidden])
        return tuple(known[Address("", address).key] for address in wanted)

    def _has(self, name: bytes) -> bool:
        return any(field.name == name for field in self._header)

    def _missing_author(self) -> None:
        _fault(self._faults, "From is missing or names nobody", "one From field, or the option default-from-address")

    def _addresses(self, name: bytes) -> list[Address]:
        found: list[Address] = []
        known = self._resent.get(name)
        for field in [known] if known else [] if name.startswith(b"resent-") else self._header:
            if field.name == name:
                try:
                    found += parse_list(_text(field))
                except ValueError as error:
                    _fault(
                        self._faults,
                        f"{name.decode().title()}: {error}",
                        "addresses as of RFC 5322 section 3.4",
                        shown(_text(field)),
                    )
        return found

    def _address(self, text: str, whose: str) -> str:
        try:
            return parse_address(text)
        except ValueError as error:
            _fault(self._faults, f"{whose}: {error}", "an address as of RFC 5321 section 4.1.2", shown(text))
            return text


def _latest_resent(header: Sequence[_Field]) -> dict[bytes, _Field]:
    """The first block of Resent fields: it ends with another field, or where one stands a second time."""
    block: dict[bytes, _Field] = {}
    for field in header:
        if field.name.startswith(b"resent-") and field.name not in block:
            block[field.name] = field
        elif block:
            break
    return block


def _added(header: Sequence[_Field], given: Given) -> tuple[bytes, str]:
    """The fields that are missing, and the message's id."""
    names = {field.name for field in header}
    added = b""
    if b"date" not in names:
        added += fields.tokens("Date", date_of(given.timestamp, given.utc_offset).split(" "))
    if b"from" not in names:
        added += fields.addresses("From", [parse_mailbox(given.default_from)], given.charset)
    stated = next((_text(field) for field in header if field.name == b"message-id"), "")
    if b"message-id" not in names:
        return added + fields.tokens("Message-ID", [given.message_id]), given.message_id
    found = _IDENTITY.match(stated)
    return added, found[1] if found else stated
