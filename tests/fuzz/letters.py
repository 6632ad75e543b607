"""Read a composed message back with the standard library's old parser, and compare it with its draft. Shares no code with what
composed it."""

from __future__ import annotations

import base64
import email
import re
from collections.abc import Iterator
from email.header import decode_header
from email.message import Message
from email.utils import collapse_rfc2231_value, getaddresses

from postroom.errors import DraftRefused
from postroom.mime.addresses import Address
from postroom.mime.compose import Given
from postroom.mime.draft import Draft
from postroom.outbound import Body, Composed

GIVEN = Given("<1@example.org>", 1_790_000_000.0, b"seed", default_from="Desk <desk@example.org>")


def check(draft: Draft, composed: Composed, bcc_address: str = "") -> None:
    """Whatever was wanted is in the message, and nothing else; every server can carry it."""
    check_octets(composed)
    message = email.message_from_bytes(composed.octets)
    _check_header(draft, message)
    _check_envelope(draft, composed, bcc_address)
    _check_parts(draft, message, composed.octets)


def check_refusal(refused: DraftRefused) -> None:
    """Its faults say all that is wrong and can be shown on a line."""
    assert refused.faults
    for fault in refused.faults:
        assert str(fault).isprintable(), fault
        assert fault.problem
        assert fault.valid
        assert fault.pointer == "" or fault.pointer.startswith("/")
        assert len(str(fault)) < 1000


def check_octets(composed: Composed) -> None:
    """RFC 5322 section 2.1.1, RFC 5321 section 2.3.8, and what the envelope says of the octets."""
    octets = composed.octets
    assert octets.endswith(b"\r\n")
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", octets)
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert octets.isascii() or composed.envelope.smtputf8
    assert composed.envelope.smtputf8 == (composed.envelope.body is Body.EIGHT_BIT)


def _check_header(draft: Draft, message: Message) -> None:
    people: dict[str, tuple[Address, ...] | None] = {
        "From": (draft.author,) if draft.author else None,
        "Sender": (draft.sender,) if draft.sender else (),
    }
    people |= {"Reply-To": draft.reply_to, "To": draft.to, "Cc": draft.cc}
    for name, wanted in people.items():
        if wanted:
            assert people_in(message, name) == [tuple(one) for one in wanted]
        elif wanted is not None and name != "To":
            assert message[name] is None
    if draft.subject is not None:
        assert text_of(message["Subject"]) == draft.subject
    extra = [name.lower() for name, _ in draft.headers]
    for name, value in draft.headers:
        assert value in map(text_of, message.get_all(name, []))
    allowed = {"date", "from", "sender", "reply-to", "to", "cc", "subject", "message-id", "mime-version", "content-type"}
    allowed |= {"content-transfer-encoding", "auto-submitted", "x-priority", "importance"}
    assert [name for name in (key.lower() for key in message) if name not in allowed] == [
        name for name in extra if name not in allowed
    ]
    assert len({key.lower() for key in message if key.lower() in allowed}) == len(
        [key for key in message if key.lower() in allowed]
    )


def _check_envelope(draft: Draft, composed: Composed, bcc_address: str) -> None:
    wanted = {one.key for one in (*draft.to, *draft.cc, *draft.bcc)} | ({bcc_address} - {""})
    found = [Address("", one.address).key for one in composed.envelope.recipients]
    assert sorted(found) == sorted(wanted)


def _check_parts(draft: Draft, message: Message, octets: bytes) -> None:
    leaves = list(leaves_of(message))
    assert not any(part.defects for part in message.walk())
    texts = [part for part in leaves if part.get_content_maintype() == "text" and part.get_content_disposition() is None]
    files = [part for part in leaves if part.get_content_disposition() is not None]
    if draft.text is not None:
        assert body_of(texts[0]) == lines(draft.text)
    if draft.html is not None:
        assert texts[1].get_content_type() == "text/html"
        assert body_of(texts[1]) == lines(draft.html)
    assert len(texts) == (1 if draft.html is None else 2)
    assert [filename_of(part) for part in files] == [file.filename for file in (*draft.inline, *draft.attachments)]
    for part, file in zip(files, (*draft.inline, *draft.attachments), strict=True):
        if part.get_content_type() == "message/rfc822":
            assert b"\r\n\r\n" + file.content + b"\r\n--" in octets
        else:
            assert octets_of(part) == file.content
    assert [part["Content-ID"] for part in files if part["Content-ID"]] == [f"<{file.content_id}>" for file in draft.inline]


def leaves_of(part: Message) -> Iterator[Message]:
    """The parts that hold something; a message within a message is one."""
    if part.get_content_maintype() != "multipart":
        yield part
        return
    for inner in part.get_payload():
        assert isinstance(inner, Message)
        yield from leaves_of(inner)


def people_in(message: Message, name: str) -> list[tuple[str, str]]:
    """The addresses of a field, their names decoded."""
    [value] = [str(value) for key, value in message.raw_items() if key.lower() == name.lower()]
    unfolded = value.encode("utf-8", "surrogateescape").decode().replace("\r\n", "")
    return [(text_of(display), address) for display, address in getaddresses([unfolded])]


def text_of(value: str) -> str:
    """An unstructured field, decoded (RFC 2047)."""
    value = value.replace("\r\n", "")
    if "=?" not in value:
        return value
    parts = decode_header(value)
    return "".join(part if isinstance(part, str) else part.decode(charset or "ascii") for part, charset in parts)


def octets_of(part: Message) -> bytes:
    """A part's content."""
    if part["Content-Transfer-Encoding"] == "base64":
        return base64.b64decode(str(part.get_payload()))
    octets = part.get_payload(decode=True)
    assert isinstance(octets, bytes)
    return octets


def body_of(part: Message) -> str:
    """A part's text."""
    return octets_of(part).decode(str(part.get_content_charset()))


def filename_of(part: Message) -> str:
    """A part's file name (RFC 2231)."""
    found = part.get_param("filename", "", "content-disposition")
    return collapse_rfc2231_value(found) if found else ""


def lines(text: str) -> str:
    """As texts are sent: CRLF at the end of every line."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return (text if not text or text.endswith("\n") else text + "\n").replace("\n", "\r\n")
