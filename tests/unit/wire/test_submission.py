"""What a client of submission says: read whatever it is, and answered in one printable line."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.outbound import Recipient
from postroom.wire.submission import (
    Gathering,
    Reply,
    Sender,
    command_of,
    credentials_of,
    looped,
    recipient_of,
    response_of,
    sender_of,
)

PIECES = st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b".", b"..", b"x", b"\r\n.", b"\xff"]), max_size=30).map(b"".join)
_REPLY = re.compile(rb"\d{3}( \d\.\d{1,3}\.\d{1,3})? [ -~]*\r\n")


def gathered(octets: bytes, step: int, limit: int = 1000) -> tuple[bytes | Reply, bytes]:
    """The message that comes in pieces of ``step`` octets, and what is behind it."""
    gathering = Gathering(limit)
    for at in range(0, len(octets), step):
        rest = gathering.feed(octets[at : at + step])
        if rest is not None:
            return gathering.message(), rest + octets[at + step :]
    raise AssertionError("it has no end")


@given(PIECES, st.integers(1, 7), st.binary(max_size=9))
def test_end_is_where_crlf_dot_crlf_is_first_and_nowhere_else(text: bytes, step: int, behind: bytes) -> None:
    whole = text + b"\r\n.\r\n" + behind
    message, rest = gathered(whole, step)
    end = (b"\r\n" + whole).index(b"\r\n.\r\n")
    assert rest == (b"\r\n" + whole)[end + 5 :]
    content = (b"\r\n" + whole)[: end + 2]
    if isinstance(message, Reply):  # a line with a dot begins or ends in CR or LF alone
        assert message.code == 550
        assert re.search(rb"[\r\n]\.", content.replace(b"\r\n", b"\n"))
    else:
        assert message == content.replace(b"\r\n.", b"\r\n")[2:]
        assert not re.search(rb"(?<!\r)\n\.|\r\.", content)


@given(
    st.lists(st.binary(max_size=20).filter(lambda line: b"\r" not in line and b"\n" not in line), max_size=10), st.integers(1, 9)
)
def test_any_message_of_whole_lines_comes_through(lines: list[bytes], step: int) -> None:
    stuffed = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)
    assert gathered(stuffed + b".\r\n", step) == (b"".join(line + b"\r\n" for line in lines), b"")


@pytest.mark.parametrize("step", [1, 100, 100_000])
def test_what_is_too_large_is_read_to_its_end_and_held_nowhere(step: int) -> None:
    gathering, held = Gathering(1000), 0
    whole = b"x\r\n" * 20_000 + b".\r\nNOOP\r\n"
    for at in range(0, len(whole), step):
        rest = gathering.feed(whole[at : at + step])
        held = max(held, gathering.held)
        if rest is not None:
            break
    assert rest is not None
    assert (rest + whole[at + step :]) == b"NOOP\r\n"
    reply = gathering.message()
    assert isinstance(reply, Reply)
    assert (reply.code, reply.enhanced) == (552, "5.3.4")
    assert held <= 3000 + step


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda octets: octets.decode("utf-8", "surrogateescape")))
def test_whatever_is_said_is_read_or_answered(text: str) -> None:
    for read in (
        sender_of(text, 1000),
        sender_of(f"FROM:{text}", 1000),
        sender_of(f"FROM:<a@example.org> {text}", 1000),
        recipient_of(text, smtputf8=True),
        recipient_of(f"TO:<a@example.org> ORCPT={text}", smtputf8=False),
        command_of(text.encode("utf-8", "surrogateescape") + b"\r"),
    ):
        if isinstance(read, Reply):
            assert _REPLY.fullmatch(read.octets())
    response_of(text)
    credentials_of(text.encode("utf-8", "surrogateescape"))


@given(st.text(max_size=2000))
def test_reply_is_one_line_whatever_its_words(words: str) -> None:
    octets = Reply(550, "5.6.0", words).octets()
    assert _REPLY.fullmatch(octets)
    assert len(octets) <= 512  # RFC 5321 section 4.5.3.1.5


def test_parameters_are_read_as_they_were_meant() -> None:
    assert sender_of("From: <A.b@Example.org> size=10 ret=full envid=aB+2BC", 10) == Sender(
        "A.b@Example.org", 10, False, "aB+C", "FULL"
    )
    assert sender_of("FROM:<>", 10) == Sender("")
    assert recipient_of("TO:<x@y.example> ORCPT=utf-8;J\\x{F6}rg@y.example NOTIFY=never", smtputf8=False) == Recipient(
        "x@y.example", ("NEVER",), "utf-8;Jörg@y.example"
    )
    assert credentials_of(b"erp\0erp\0pass word") == ("erp", "pass word")
    assert credentials_of(b"boss\0erp\0pw") is None  # nobody acts for somebody else
    assert response_of("=") == b""


def test_loop() -> None:
    assert not looped(b"Received: a\r\n" * 100 + b"\r\n" + b"Received: in the text\r\n" * 10)
    assert looped(b"Received: a\r\n" * 101 + b"\r\n")


@pytest.mark.parametrize("size", ["\u00b2", "\u0663", "1\u00b2"], ids=["superscript", "arabic", "mixed"])
def test_digits_that_are_no_ascii_are_no_size(size: str) -> None:
    reply = sender_of(f"FROM:<a@example.org> SIZE={size} SMTPUTF8", 100)
    assert isinstance(reply, Reply)
    assert reply.code == 501
