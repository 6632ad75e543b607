"""Raw messages: what is changed, what is refused, what the envelope becomes."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.letters import GIVEN, check_octets, check_refusal
from postroom.errors import DraftRefused
from postroom.mime.raw import RawEnvelope, take_raw
from postroom.outbound import Body, Composed, Recipient

WHOLE = (
    b"Date: Tue, 3 Feb 2026 10:00:00 +0100\r\nFrom: Ann <a@example.org>\r\nTo: b@example.org\r\n"
    b"Subject:  odd\t spacing \r\nMessage-ID:  <9@x>\r\nDKIM-Signature: v=1;\r\n b=abc\r\n\r\n.\r\n..\r\n\r\nend\r\n"
)


def taken(octets: bytes, hints: RawEnvelope | None = None, bare: bool = False) -> Composed:
    return take_raw(octets, hints or RawEnvelope(), replace(GIVEN, default_from="") if bare else GIVEN)


def refusals(octets: bytes, hints: RawEnvelope | None = None) -> list[str]:
    with pytest.raises(DraftRefused) as refused:
        taken(octets, hints, bare=True)
    return [fault.problem for fault in refused.value.faults]


def recipients(made: Composed) -> list[str]:
    return [one.address for one in made.envelope.recipients]


def test_a_whole_message_stays_octet_for_octet() -> None:
    made = taken(WHOLE)
    assert made.octets == WHOLE
    assert (made.message_id, made.subject) == ("<9@x>", "odd  spacing")
    assert made.envelope.mail_from == "a@example.org"
    assert recipients(made) == ["b@example.org"]
    assert made.envelope.body is Body.SEVEN_BIT


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\r\n", b"\r\r\r\n"], ids=repr)
def test_other_line_ends_become_those_of_smtp(end: bytes) -> None:
    assert taken(WHOLE.replace(b"\r\n", end)).octets == WHOLE


def test_a_last_line_without_its_end_gets_one() -> None:
    assert taken(WHOLE.removesuffix(b"\r\n")).octets == WHOLE
    assert taken(b"From: a@b\r\nTo: c@d").octets.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("dot", [b"\n.\n", b"\r.\r", b"\r.\r\n", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\r\n.\r\n"], ids=repr)
def test_nothing_within_can_be_read_as_the_end_by_another_server(dot: bytes) -> None:
    """RFC 5321 section 4.1.1.4; once each line ends in CRLF, doubling the dot hides them all."""
    octets = taken(WHOLE + b"a" + dot + b"MAIL FROM:<x@y>\r\n").octets
    assert b"\r\na\r\n.\r\nMAIL FROM" in octets
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", octets)


def test_what_tells_too_much_is_removed_in_every_spelling() -> None:
    octets = b"Return-Path: <x@y>\r\nbCC : c@d,\r\n e@f\r\nResent-Bcc: g@h\r\n" + WHOLE.replace(b"To: b", b"Bcc: i@j\r\nTo: b")
    made = taken(octets)
    assert made.octets == WHOLE
    assert recipients(taken(WHOLE.replace(b"To: b", b"Bcc: i@j\r\nTo: b"))) == ["b@example.org", "i@j"]


def test_what_is_missing_is_added_behind_the_header() -> None:
    made = taken(b"To: b@example.org\r\n\r\nHello\r\n")
    assert made.octets == (
        b"To: b@example.org\r\nDate: Mon, 21 Sep 2026 14:13:20 +0000\r\n"
        b"From: Desk <desk@example.org>\r\nMessage-ID: <1@example.org>\r\n"
        b"\r\nHello\r\n"
    )
    assert (made.message_id, made.envelope.mail_from) == ("<1@example.org>", "desk@example.org")


def test_eight_bits() -> None:
    assert taken(WHOLE + b"\xe4\r\n").envelope.body is Body.EIGHT_BIT
    made = taken(WHOLE.replace(b"Subject:", "Subject: ü".encode()))
    assert (made.envelope.smtputf8, made.envelope.body) == (True, Body.EIGHT_BIT)
    assert not taken(WHOLE + b"\xe4\r\n").envelope.smtputf8
    assert taken(WHOLE, RawEnvelope("a@b", (Recipient("ü@x"),))).envelope.smtputf8


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"", "From is missing"),
        (b"\r\nSubject: x\r\n", "From is missing"),
        (b"To: a@b\r\n\r\n", "From is missing"),
        (b"From: \r\nTo: a@b\r\n\r\n", "From is missing or names nobody"),
        (b"From: a@b\r\n\r\n", "nobody is named"),
        (b"From: a@b\r\nTo: c@d, e\r\n\r\n", "To: there is no '@'"),
        (b"From: a@b\r\nBcc: c@d e@f\r\n\r\n", "Bcc: "),
        (b"From: a b@c\r\nTo: c@d\r\n\r\n", "From: "),
        (WHOLE + b"x" * 999 + b"\r\n", "line 13 has 999 octets"),
        (WHOLE.replace(b"odd", b"x" * 999), "line 4 has"),
        (WHOLE + b"a\0\r\n", "it holds NUL at octet"),
        (WHOLE.replace(b"odd", b"\xe4"), "Subject holds octets that are no UTF-8"),
        (b"From a@b Tue\r\n" + WHOLE, "line 1 of the header is no field"),
        (WHOLE.replace(b"Subject: ", b"Sub ject "), "line 4 of the header is no field"),
        (b" x\r\n" + WHOLE, "line 1 of the header is no field"),
    ],
    ids=range(15),
)
def test_refused(octets: bytes, problem: str) -> None:
    assert any(words.startswith(problem) for words in refusals(octets)), refusals(octets)


def test_all_faults_at_once() -> None:
    assert len(refusals(b"Subject: \xe4\r\nTo: x\r\n\r\n" + b"x" * 999 + b"\r\n\0")) == 6  # To names nobody that could be sent to


def test_lines_of_998_octets_pass() -> None:
    assert taken(WHOLE + b"x" * 998 + b"\r\n").octets.endswith(b"x" * 998 + b"\r\n")


def test_an_envelope_that_is_given_counts() -> None:
    one = Recipient("x@Müller.example", ("NEVER",), "rfc822;x")
    made = taken(WHOLE, RawEnvelope("", (one, Recipient("x@xn--mller-kva.example")), "e1", "FULL"))
    assert made.envelope.mail_from == ""
    assert made.envelope.recipients == (one._replace(address="x@xn--mller-kva.example"),)
    assert (made.envelope.envid, made.envelope.ret) == ("e1", "FULL")
    assert refusals(WHOLE, RawEnvelope("x", (Recipient("y z@b"),)))[0].startswith("the envelope's sender: ")
    assert refusals(b"To: a@b\r\n\r\n", RawEnvelope("a@b"))[0].startswith("From is missing")


def test_the_option_bcc_address() -> None:
    made = take_raw(WHOLE, RawEnvelope(), replace(GIVEN, bcc_address="archive@example.org"))
    assert recipients(made) == ["b@example.org", "archive@example.org"]
    assert made.octets == WHOLE


def test_too_many_recipients() -> None:
    octets = WHOLE.replace(b"To: b@example.org", b"To: " + b",\r\n ".join(b"%d@x" % at for at in range(1001)))
    assert refusals(octets) == ["1001 recipients are too many"]


def test_sender_before_from() -> None:
    assert taken(b"Sender: s@x\r\n" + WHOLE).envelope.mail_from == "s@x"


def test_a_message_sent_again_goes_to_whom_the_latest_resent_fields_name() -> None:
    """RFC 5322 section 3.6.6."""
    latest = b"Resent-From: r@x\r\nResent-To: t@x\r\nResent-Cc: c@x\r\nResent-Bcc: b@x\r\n"
    earlier = b"Resent-From: q@x\r\nResent-To: p@x\r\nReceived: x\r\n"
    made = taken(latest + earlier + WHOLE)
    assert made.envelope.mail_from == "r@x"
    assert recipients(made) == ["t@x", "c@x", "b@x"]
    assert made.octets == latest.replace(b"Resent-Bcc: b@x\r\n", b"") + earlier + WHOLE


_PIECES = [
    b"From: a@b",
    b"To: c@d",
    b"Bcc: x@y",
    b"\r\n",
    b"\n",
    b"\r",
    b".",
    b"\0",
    b"\xff",
    b" ",
    b":",
    b"Subject: ",
    b"Date: ",
    b"ab",
]
_PIECES += [b"\xc3\xbc@d", b"<", b",", b"x" * 500, b"Resent-To: r@s", b"Message-ID: <", b">"]


@given(st.lists(st.sampled_from(_PIECES), max_size=30))
def test_any_octets_are_refused_or_made_fit_to_send_once_and_for_all(pieces: list[bytes]) -> None:
    try:
        made = taken(b"".join(pieces))
    except DraftRefused as refused:
        check_refusal(refused)
        return
    octets = made.octets
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", octets)
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert not re.search(rb"(?im)^bcc[ \t]*:", octets.partition(b"\r\n\r\n")[0])
    assert octets.isascii() or made.envelope.body is Body.EIGHT_BIT
    again = taken(octets, RawEnvelope(made.envelope.mail_from, made.envelope.recipients))
    assert again.octets == octets
    if octets.isascii():
        check_octets(made)
