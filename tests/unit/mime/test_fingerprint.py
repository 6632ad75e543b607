"""A message is known again after another system has delivered it; two messages are not taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mime.fingerprint import fingerprint, known_as

MAIL = b"From: a@x.org\r\nSubject: one\r\n two\r\nMessage-ID: <1@x.org>\r\n\r\nText\r\n.\r\n\r\nmore\r\n"


def of(octets: bytes) -> bytes:
    return fingerprint([octets]).digest


@pytest.mark.parametrize(
    "delivered",
    [
        MAIL,
        MAIL.replace(b"\r\n", b"\n"),
        MAIL[:-2],
        MAIL + b"\r\n\r\n",
        b"Return-Path: <a@x.org>\r\nDelivered-To: b@y.org\r\n" + MAIL,
        b"Return-Path: <unknown>\n" + MAIL.replace(b"\r\n", b"\n"),
        b"Received: from x by y\r\n\twith ESMTP;\r\n\tMon\r\n" + MAIL,
        MAIL.replace(b"\r\n\r\nText", b"\r\nX-getmail-retrieved-from-mailbox: INBOX\r\nStatus: RO\r\n\r\nText", 1),
    ],
)
def test_what_systems_write_when_they_deliver_does_not_count(delivered: bytes) -> None:
    assert of(delivered) == of(MAIL)


@pytest.mark.parametrize(
    "other",
    [
        MAIL.replace(b"Text", b"text"),
        MAIL.replace(b"one", b"One"),
        MAIL.replace(b" two", b"  two"),
        MAIL.replace(b"\r\n\r\nmore", b"\r\nmore"),
        MAIL.replace(b"\r\nText", b"\r\nReceived: in the text\r\nText"),
        b"X-Spam: yes\r\n" + MAIL,
        b"\r\n" + MAIL,
        b"",
    ],
)
def test_another_message_is_another(other: bytes) -> None:
    assert of(other) != of(MAIL)


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"\n\n", b"Received: x", b"B: y", b" z"]), max_size=30), st.data())
def test_pieces_may_end_anywhere(parts: list[bytes], data: st.DataObject) -> None:
    octets = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=6)))
    pieces = [octets[start:end] for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
    assert fingerprint(pieces) == fingerprint([octets])


@given(st.binary(max_size=300))
def test_noise_has_a_fingerprint(noise: bytes) -> None:
    assert len(of(noise)) == 32


def test_a_header_beyond_all_measure_is_looked_at_in_part() -> None:
    long = b"X-Long: " + b"x" * 300_000 + b"\r\nReceived: late\r\n\r\n"
    assert of(long) == of(b"Return-Path: <>\r\n" + long)


def test_message_ids_are_compared_without_brackets() -> None:
    assert fingerprint([MAIL]).message_id == "<1@x.org>"
    assert [known_as(text) for text in ("<1@x.org>", " 1@x.org\n", "<>", "")] == ["1@x.org", "1@x.org", "", ""]
