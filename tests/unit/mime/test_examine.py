"""What a message says of itself, and that it may say whatever it likes."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from postroom.mime.examine import HEAD, examine
from postroom.model import Facts


def header(*lines: str | bytes) -> bytes:
    octets = [line if isinstance(line, bytes) else line.encode() for line in lines]
    return b"\r\n".join([*octets, b"", b"Subject: this is text\r\n"])


def test_a_plain_header() -> None:
    facts = examine(
        header("From: Ann <a@b.c>", "Subject: Hello", "Date: Mon, 1 Jan 2024 00:00:00 +0000", "Message-ID: <1@x>", "To: x")
    )
    assert facts == Facts("Hello", "Ann <a@b.c>", "Mon, 1 Jan 2024 00:00:00 +0000", "<1@x>", "")


@pytest.mark.parametrize(
    ("line", "subject", "fault"),
    [
        ("Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße", ""),
        ("Subject: =?UTF-8?B?R3LDvMOfZQ==?=", "Grüße", ""),
        ("Subject: =?iso-8859-1?Q?a?= =?iso-8859-1?Q?b?=", "ab", ""),  # RFC 2047 section 8
        ("Subject: =?iso-8859-1?Q?a?= b", "a b", ""),
        ("Subject: Re: =?koi8-r?B?8NLJ18XU?= !", "Re: Привет !", ""),
        ("Subject: =?iso-2022-jp?B?GyRCJUYlOSVIGyhC?=", "テスト", ""),
        ("Subject: =?utf-8?q?a?=\r\n =?utf-8?q?b?=", "ab", ""),
        ("Subject: =?utf-8?q?=C3=BC?= \\\\host\\users\\x ü", "ü \\\\host\\users\\x ü", ""),
        ("Subject: =?utf-8?q?a\\u0041?= \\u0041", "a\\u0041 \\u0041", ""),
        ("Subject: =?utf-8?q?not closed", "=?utf-8?q?not closed", ""),
        ("Subject: 1 + 1 =? 2 \\x \\u0041", "1 + 1 =? 2 \\x \\u0041", ""),
        ("Subject: =?x-unknown?q?Gr=C3=BC=C3=9Fe?=", "Grüße", "Subject: unknown charset 'x-unknown'"),
        ("Subject: =?base64?q?abc?=", "abc", "Subject: unknown charset 'base64'"),
        ("Subject: =?undefined?q?abc?=", "abc", "Subject: unknown charset 'undefined'"),
        ("Subject: =?utf-8?b?!!!?=", None, None),
        ("Subject: =?utf-8?q?=FF=FE?=", "\ufffd\ufffd", ""),
        ("Subject: =?utf-8?q?a=00=1B[31m?=", "a  [31m", ""),
        ("Subject: Grüße", "Grüße", ""),
        (b"Subject: Gr\xfc\xdfe", "Grüße", ""),
        (b"Subject: caf\x81", "caf\ufffd", ""),
        ("Subject: folded\r\n  over\r\n\tlines", "folded over lines", ""),
        ("Subject:", "", ""),
        ("Subject:\r\n folded at once", "folded at once", ""),
        ("SUBJECT: loud", "loud", ""),
        ("Subject : obsolete", "obsolete", ""),  # RFC 5322 section 4.5.8
        ("Subject: first\r\nSubject: second", "first", ""),
        ("X-Subject: other", "", ""),
        ("Subjects: other", "", ""),
        ("To: x\r\n Subject: folded into another", "", ""),
        ("Subject: a\0b\x7fc\u202ed", "a b c d", ""),
    ],
)
def test_p22_subjects(line: str | bytes, subject: str | None, fault: str | None) -> None:
    facts = examine(header("From: a@b", line, "Date: today"))
    if subject is not None:
        assert (facts.subject, facts.fault) == (subject, fault)
    assert (facts.sender, facts.date) == ("a@b", "today")


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_both_ends_of_lines(end: bytes) -> None:
    octets = end.join([b"Subject: one", b" two", b"From: a@b", b"", b"Date: not here", b""])
    assert examine(octets) == Facts("one two", "a@b")


def test_a_body_whose_lines_end_otherwise_is_no_header() -> None:
    assert examine(b"From: a@b\n\nSubject: text\r\n\r\n") == Facts(sender="a@b")
    assert examine(b"From: a@b\r\n\r\nSubject: text\n\n") == Facts(sender="a@b")


@pytest.mark.parametrize(
    "octets", [b"", b"\r\n", b"\n", b"\r\n\r\n", b"no header at all", b"Subject: cut off", b"Subject: cut off\r\n"]
)
def test_little_of_a_message(octets: bytes) -> None:
    assert examine(octets).subject in ("", "cut off")


@pytest.mark.parametrize("octets", [b"\r\nSubject: text\r\n", b"\nSubject: text\n\nmore"])
def test_a_message_without_a_header_says_nothing(octets: bytes) -> None:
    assert examine(octets) == Facts()


@pytest.mark.parametrize(
    ("value", "message_id"),
    [
        ("<1@x>", "<1@x>"),
        ("  <1@x> (comment)", "<1@x>"),
        ("<1@x> <2@x>", "<1@x>"),
        ("1@x", "1@x"),
        ("", ""),
        ("<a b@x> <c@x>", "<c@x>"),
    ],
)
def test_message_ids(value: str, message_id: str) -> None:
    assert examine(header(f"Message-ID: {value}")).message_id == message_id


def test_a_huge_field_is_cut() -> None:
    facts = examine(header("Subject: " + "x" * 50_000, "From: a@b"))
    assert (len(facts.subject), facts.sender) == (4096, "a@b")
    assert facts.fault == "Subject is cut after 4096 octets"


def test_a_huge_header_is_looked_at_in_part() -> None:
    octets = b"Subject: s\r\n" + b"X-Junk: x\r\n" * 10_000 + b"From: too late\r\n\r\n"
    facts = examine(octets[:HEAD])
    assert (facts.subject, facts.sender) == ("s", "")
    assert "longer than 65536 octets" in facts.fault


@pytest.mark.parametrize(
    "octets",
    [
        b"Subject:" + b" \r\n" * 20_000,
        b"Subject: " + b"=?utf-8?q?a?= " * 4000,
        b"Subject: " + b"=?" * 30_000,
        b"Message-ID: " + b"<" * 60_000,
        b"\n" * 60_000,
        b"subject\t" * 8000,
        b"Subject: x\r\n" * 5000,
        b"Subject: " + b"(" * 60_000,
    ],
    ids=lambda octets: repr(octets[:20]),
)
def test_nothing_takes_long(octets: bytes) -> None:
    """A header made to be slow is read in its time; without a bound each of these would take minutes."""
    before = time.process_time()
    examine(octets[:HEAD])
    assert time.process_time() - before < 1.0


_PIECES = [
    b"Subject: ",
    b"From: ",
    b"\r\n",
    b"\n",
    b" ",
    b"=?",
    b"?q?",
    b"?b?",
    b"?=",
    b"utf-8",
    b"utf-7",
    b"idna",
    b"punycode",
    b"\xff",
    b"\0",
]
HEADERS = st.lists(st.one_of(st.sampled_from([*_PIECES, b"utf-16", b"unicode_escape", b"utf_8_sig", b"hz"]), st.binary(max_size=4)))


@given(st.binary() | HEADERS.map(b"".join) | HEADERS.map(lambda pieces: b"Subject: =?" + b"".join(pieces)))
@settings(max_examples=300)
@example(b"Subject: =?idna?q?xn--a=80?=")
@example(b"Subject: =?utf-7?q?+2AA-?=")
@example(b"Subject: =?a\0b?q?x?=")
@example(b"Subject: =?unicode_escape?q?\\N{x}\\ud800?=")
@example(b"Subject: =?utf-8?b?=3D=3D?=")
@example(b"Subject: =?raw_unicode_escape?q?\\ud800?= \\U00110000")
def test_p22_examining_never_raises(octets: bytes) -> None:
    facts = examine(octets)
    for text in (facts.subject, facts.sender, facts.date, facts.message_id, facts.fault):
        assert text.isprintable()
        text.encode()
