"""Subjects and threads of answers, and what is read of a captured message for them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mime.addresses import Address
from postroom.mime.original import Original, original_of
from postroom.mime.replies import forward_subject, references, reply_subject


@pytest.mark.parametrize(
    ("subject", "answered"),
    [
        ("Order", "Re: Order"),
        ("", "Re: "),
        ("Re: Order", "Re: Order"),
        ("RE: re: Re:Order", "Re: Order"),
        ("AW: SV: Antw: Order", "Re: Order"),
        ("Re[2]: Order", "Re: Order"),
        ("Re (3): Order", "Re: Order"),
        ("回复：Order", "Re: Order"),
        ("Fwd: Re: Order", "Re: Fwd: Re: Order"),
        ("Reorder: 5", "Re: Reorder: 5"),
        ("Report", "Re: Report"),
    ],
)
def test_one_prefix_of_an_answer(subject: str, answered: str) -> None:
    assert reply_subject(subject, "Re: ") == answered


def test_prefixes_of_our_own() -> None:
    assert reply_subject("[Desk] Re: Order", "[Desk] ") == "[Desk] Order"
    assert reply_subject("Re: Order", "") == "Order"
    assert forward_subject("FW: WG: Order", "Fwd: ") == "Fwd: Order"
    assert forward_subject("Re: Order", "Fwd: ") == "Fwd: Re: Order"


def test_references() -> None:
    ids = tuple(f"<{at}@x>" for at in range(50))
    assert references(Original(message_id="<9@x>")) == ("<9@x>",)
    assert references(Original(references=("<1@x>",))) == ("<1@x>",)
    assert references(Original(message_id="<2@x>", references=("<1@x>", "<2@x>"))) == ("<1@x>", "<2@x>")
    assert references(Original(message_id="<99@x>", references=ids)) == ("<0@x>", *ids[-28:], "<99@x>")
    long = tuple(f"<{at}{'x' * 800}@x>" for at in range(9))
    assert references(Original(message_id="<9@x>", references=long)) == (long[0], long[-2], long[-1], "<9@x>")


def original(*lines: str, body: str = "") -> Original:
    return original_of("\r\n".join([*lines, "", body]).encode())


def test_the_thread_of_a_message() -> None:
    assert original("References: <1@x>\r\n <2@x> junk <a b@x>").references == ("<1@x>", "<2@x>")
    assert original("In-Reply-To: <1@x>").references == ("<1@x>",)
    assert original("In-Reply-To: <1@x> <2@x>").references == ()  # RFC 5322 section 3.6.4
    assert original("Message-ID: junk").message_id == ""
    assert original("Message-ID: <a\u00fc@x>").message_id == ""
    assert original("Message-ID: <1@x>").message_id == "<1@x>"


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (["From: Ann <a@b>"], [("Ann", "a@b")]),
        (["From: a@b", "Reply-To: C <c@d>, e@f"], [("C", "c@d"), ("", "e@f")]),
        (["From: a@b", "Reply-To: "], [("", "a@b")]),
        (["From: =?utf-8?b?w5xiZXI=?= <a@b>"], [("Über", "a@b")]),
        (["From: Bee, Ann <a@b>"], [("", "a@b")]),  # not valid, but its meaning is plain
        (["From: nobody"], []),
        (["From: a@b_c"], []),
        (["From: a@b", "Reply-To: " + ",".join(f"{at}@x" for at in range(21))], [("", "a@b")]),
    ],
    ids=range(8),
)
def test_who_is_answered(lines: list[str], answer: list[tuple[str, str]]) -> None:
    assert original(*lines).answer_to == tuple(Address(*one) for one in answer)


@pytest.mark.parametrize(
    ("lines", "body", "text"),
    [
        ([], "Hello\r\n", "Hello"),
        (["Content-Type: text/html"], "<p>Hello", "Hello"),
        (["Content-Type: text/plain; charset=x-none"], "ü", "ü"),
        (["Content-Type: text/plain; charset=idna"], "ü", "ü"),
        (["Content-Transfer-Encoding: base64"], "SGVsbG8=", "Hello"),
        (
            ['Content-Type: multipart/mixed; boundary="b"'],
            "--b\r\nContent-Disposition: attachment\r\n\r\nno\r\n--b\r\n\r\nyes\r\n--b--",
            "yes",
        ),
        (['Content-Type: multipart/mixed; boundary="b"'], "--b\r\nContent-Type: image/png\r\n\r\nno\r\n--b--", ""),
    ],
    ids=range(7),
)
def test_the_text_of_a_message(lines: list[str], body: str, text: str) -> None:
    assert original(*lines, body=body).text == text


_PIECES = [b"From: ", b"Content-Type: multipart/mixed; boundary=b\r\n", b"--b", b"\r\n", b"Content-Type: ", b"message/rfc822"]
_PIECES += [b"=?utf-7?q?+2AA-?=", b"Content-Transfer-Encoding: ", b"uuencode", b"base64", b"\xff\0", b"begin 666 a\r\n"]
_PIECES += [b"charset=punycode;", b" <a@b>", b"text/plain;"]


@given(st.lists(st.sampled_from(_PIECES), max_size=40))
def test_no_message_breaks_it_and_all_it_says_can_be_written(pieces: list[bytes]) -> None:
    read = original_of(b"".join(pieces))
    for text in (read.subject, read.sender, read.date, read.to, read.cc, *(address.name for address in read.answer_to)):
        assert text.isprintable()
    assert read.text.encode().decode() == read.text


def test_nothing_takes_long() -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (at, at) for at in range(2000))
    for octets in (deep, b"Content-Type: text/html\r\n\r\n" + b"<a" * 200_000, b"From: " + b'"\\' * 40_000 + b"\r\n\r\n"):
        before = time.process_time()
        original_of(octets)
        assert time.process_time() - before < 3
