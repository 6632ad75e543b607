"""A draft becomes a message (RFC 5322, RFC 2045 to 2049) and its envelope (RFC 5321).

``compose`` makes lines of ASCII that end in CRLF and have at most 998 octets, so that every server carries them unchanged;
only an address beyond ASCII before its @ needs more (RFC 6531), and the envelope says so. Bcc stands in the envelope alone.

The standard library's ``policy.SMTP`` is not used: it breaks words without blanks and encoded words in addresses when it folds,
takes further characters for line ends, and takes long over large files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from postroom.errors import DraftFault, DraftRefused
from postroom.mime import fields, replies
from postroom.mime.addresses import Address, parse_address, parse_mailbox
from postroom.mime.draft import Draft, File
from postroom.mime.original import Original
from postroom.mime.plain import text_of_html
from postroom.mime.structure import Part, disposition, file_part, message_part, multipart, text_part
from postroom.outbound import Body, Composed, Envelope, Recipient

_PRIORITIES = {"high": ("1", "high"), "normal": ("3", "normal"), "low": ("5", "low")}  # X-Priority, Importance (RFC 4021)
_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)
_NOBODY = "undisclosed-recipients:;"  # RFC 5322 appendix A.1.3


@dataclass(frozen=True, slots=True)
class Given:
    """What a message needs beside its draft."""

    message_id: str  # with its angle brackets; never given twice
    timestamp: float  # seconds since 1970
    seed: bytes  # that nobody can guess: boundaries are made of it
    utc_offset: int = 0  # minutes east of Greenwich, for Date
    charset: str = "utf-8"  # outbound-msg-charset
    default_from: str = ""  # default-from-address
    bcc_address: str = ""  # bcc-address
    reply_prefix: str = "Re: "  # subject-reply-prefix
    forward_prefix: str = "Fwd: "  # subject-forward-prefix
    quote_prefix: str = "> "  # quote-prefix
    original: Original | None = None  # what the draft answers or forwards


def compose(draft: Draft, given: Given) -> Composed:
    """The message of a draft. The same draft and the same ``given`` make the same octets.

    Raises ``DraftRefused`` where something is missing that the draft alone could not tell: a From address, or whom to answer.
    """
    author = draft.author or _default_author(given)
    to = draft.to
    if not (draft.to or draft.cc or draft.bcc) and draft.in_reply_to_message and given.original:
        to = given.original.answer_to
    if not (to or draft.cc or draft.bcc):
        raise _refused("/to", "the message that is answered says nobody who could be answered", 'an address in "to", "cc" or "bcc"')
    subject = _subject(draft, given)
    header = [*_header(draft, given, author, to, subject), fields.tokens("MIME-Version", ["1.0"])]
    body = _body(draft, given)
    octets = b"".join([*header, body.header, b"\r\n", *body.pieces])
    named = [author, *([draft.sender] if draft.sender else []), *to, *draft.cc, *draft.reply_to]
    envelope = _envelope(draft, given, author, to)
    beyond = envelope.smtputf8 or not all(address.address.isascii() for address in named)
    if beyond:
        envelope = Envelope(envelope.mail_from, envelope.recipients, Body.EIGHT_BIT, True, envelope.envid, envelope.ret)
    return Composed(envelope, octets, given.message_id, subject or "")


def date_of(timestamp: float, utc_offset: int) -> str:
    """date-time (RFC 5322 section 3.3)."""
    from email.utils import format_datetime

    return format_datetime(datetime.fromtimestamp(int(timestamp), timezone(timedelta(minutes=utc_offset))))


def collapsed(addresses: Sequence[str]) -> tuple[str, ...]:
    """Each recipient once, as first written (the domain counts without case)."""
    return tuple({Address("", address).key: address for address in reversed(addresses)}.values())[::-1]


def _default_author(given: Given) -> Address:
    if not given.default_from:
        raise _refused("/from", "nobody is named as its author", 'an address in "from", or the option default-from-address')
    return parse_mailbox(given.default_from)


def _refused(pointer: str, problem: str, valid: str) -> DraftRefused:
    return DraftRefused([DraftFault(pointer, "", problem, valid)])


# --- envelope


def _envelope(draft: Draft, given: Given, author: Address, to: Sequence[Address]) -> Envelope:
    hidden = [parse_address(given.bcc_address)] if given.bcc_address else []
    addresses = collapsed([*(address.address for address in (*to, *draft.cc, *draft.bcc)), *hidden])
    recipients = tuple(
        Recipient(address, draft.notify, _original_recipient(address) if draft.notify else "") for address in addresses
    )
    mail_from = (draft.sender or author).address
    smtputf8 = not (mail_from.isascii() and all(address.isascii() for address in addresses))
    return Envelope(mail_from, recipients, Body.SEVEN_BIT, smtputf8, draft.envid, draft.ret)


def _original_recipient(address: str) -> str:
    """RFC 3461 section 4.2, RFC 6533 section 3."""
    return f"rfc822;{address}" if address.isascii() else f"utf-8;{address}"


# --- header


def _subject(draft: Draft, given: Given) -> str | None:
    if draft.subject is not None or given.original is None:
        return draft.subject
    if draft.forward_message:
        return replies.forward_subject(given.original.subject, given.forward_prefix)
    return replies.reply_subject(given.original.subject, given.reply_prefix)


def _header(draft: Draft, given: Given, author: Address, to: Sequence[Address], subject: str | None) -> list[bytes]:
    charset = given.charset
    header = [fields.tokens("Date", date_of(given.timestamp, given.utc_offset).split(" "))]
    people = (("From", [author]), ("Sender", [draft.sender] if draft.sender else []), ("Reply-To", draft.reply_to), ("To", to))
    header += [fields.addresses(name, found, charset) for name, found in (*people, ("Cc", draft.cc)) if found]
    if not to and not draft.cc:
        header.append(fields.tokens("To", [_NOBODY]))
    if subject is not None:
        header.append(fields.unstructured("Subject", subject, charset))
    header.append(fields.tokens("Message-ID", [given.message_id]))
    if draft.in_reply_to_message and given.original:
        ids = replies.references(given.original)
        if given.original.message_id:
            header.append(fields.tokens("In-Reply-To", [given.original.message_id]))
        header += [fields.tokens("References", ids)] if ids else []
    if draft.auto_submitted:
        header.append(fields.tokens("Auto-Submitted", [draft.auto_submitted]))  # RFC 3834 section 5
    if draft.priority:
        number, importance = _PRIORITIES[draft.priority]
        header += [fields.tokens("X-Priority", [number]), fields.tokens("Importance", [importance])]
    return header + [fields.unstructured(name, value, charset) for name, value in draft.headers]


# --- body


def _body(draft: Draft, given: Given) -> Part:
    """The simplest structure that suffices: mixed(related(alternative(text, html), pictures), files) and any part of it."""
    text, html = _texts(draft, given)
    part = text_part("plain", text, given.charset)
    if html is not None:
        part = multipart("alternative", [part, text_part("html", html, given.charset)], given.seed + b"a")
    if draft.inline:
        # "type" is the root's own (RFC 2387 section 3.1).
        pictures = [_picture(file) for file in draft.inline]
        part = multipart("related", [part, *pictures], given.seed + b"r", [("type", "multipart/alternative")])
    files = [_attachment(file) for file in draft.attachments]
    if draft.forward_message and given.original and given.original.octets:
        files.append(message_part(given.original.octets, "forwarded.eml"))
    return multipart("mixed", [part, *files], given.seed + b"m") if files else part


def _texts(draft: Draft, given: Given) -> tuple[str, str | None]:
    """The text, and the HTML where there is one; quoted below where that is asked for."""
    text, html = draft.text, draft.html
    if text is None:
        text = text_of_html(html) if html is not None else ""
    if not draft.quote or given.original is None:
        return text, html
    if draft.forward_message:
        below, below_html = replies.forwarded_text(given.original), replies.forwarded_html(given.original)
    else:
        below, below_html = replies.quoted_text(given.original, given.quote_prefix), replies.quoted_html(given.original)
    text = f"{text.rstrip()}\n\n{below}\n" if text.strip() else f"{below}\n"
    return text, _before_end(html, below_html) if html is not None else None


def _before_end(html: str, below: str) -> str:
    """Within the body of the HTML, at its end."""
    ends = list(_BODY_END.finditer(html))
    at = ends[-1].start() if ends else len(html)
    return f"{html[:at]}\n{below}{html[at:]}"


def _attachment(file: File) -> Part:
    if file.content_type == "message/rfc822":
        return message_part(file.content, file.filename)
    return file_part(file.content, file.content_type, file.parameters, disposition("attachment", file.filename))


def _picture(file: File) -> Part:
    content_id = fields.tokens("Content-ID", [f"<{file.content_id}>"])  # RFC 2392
    return file_part(file.content, file.content_type, file.parameters, content_id + disposition("inline", file.filename))
