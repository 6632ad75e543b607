"""The POP3 codec: whatever way the stream is cut, the same comes out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.errors import LimitExceeded, RemoteProtocolError
from postroom.wire.pop3 import Challenge, Mark, Replies, Reply, reply

CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=30)
LINES = st.lists(
    st.one_of(st.sampled_from([b"", b".", b"..", b".x", b"\n", b"\r", b"x" * 30]), st.binary(max_size=20)).map(
        lambda line: line.replace(b"\r\n", b"")
    ),
    max_size=12,
).map(lambda lines: [line[:-1] if line.endswith(b"\r") else line for line in lines])


def travel(body: bytes) -> bytes:
    """A message as a server sends it (RFC 1939 section 3)."""
    lines = body.split(b"\r\n")[:-1]
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines) + b".\r\n"


def pieces(octets: bytes, cuts: list[int]) -> list[bytes]:
    found, turn = [], 0
    while octets:
        size = cuts[turn % len(cuts)]
        found.append(octets[:size])
        octets, turn = octets[size:], turn + 1
    return found


def taken(replies: Replies, stream: list[bytes]) -> tuple[bytes, bool]:
    """One message out of a stream, and whether it was handed out in pieces."""
    stream = list(stream)
    while (body := replies.body()) is None:
        replies.feed(stream.pop(0))
    if isinstance(body, bytes):
        for rest in stream:
            replies.feed(rest)
        return body, False
    whole = b""
    while (piece := replies.piece()) is not Mark.END:
        if isinstance(piece, bytes):
            whole += piece
        else:
            replies.feed(stream.pop(0))
    for rest in stream:
        replies.feed(rest)
    return whole, True


@given(LINES, CUTS)
def test_a_message_comes_out_as_it_was_stored(lines: list[bytes], cuts: list[int]) -> None:
    body = b"".join(line + b"\r\n" for line in lines)
    replies = Replies()
    assert taken(replies, pieces(travel(body) + b"+OK next\r\n", cuts)) == (body, False)
    assert replies.line() == b"+OK next"
    assert replies.empty


@given(LINES, CUTS, st.integers(16, 64))
def test_a_long_message_comes_out_the_same(lines: list[bytes], cuts: list[int], inline: int) -> None:
    body = b"".join(line + b"\r\n" for line in [*lines, b"y" * 40, *lines])
    replies = Replies(inline=inline)
    whole, _ = taken(replies, pieces(travel(body) + b"+OK next\r\n", cuts))
    assert whole == body
    assert replies.line() == b"+OK next"


def test_a_message_longer_than_the_buffer_comes_in_pieces() -> None:
    body = b"." * 5000 + b"\r\n" + b"..\r\n" * 5000 + b"line\r\n" * 100_000
    replies = Replies(inline=64 * 1024)
    whole, in_pieces = taken(replies, pieces(travel(body) + b"+OK\r\n", [4096]))
    assert in_pieces
    assert whole == body
    assert len(replies.get_buffer()) <= 64 * 1024 + 4096


@given(st.lists(LINES, min_size=1, max_size=5), CUTS)
def test_messages_one_behind_the_other(bodies: list[list[bytes]], cuts: list[int]) -> None:
    wanted = [b"".join(line + b"\r\n" for line in lines) for lines in bodies]
    stream = pieces(b"".join(b"+OK\r\n" + travel(body) for body in wanted), cuts)
    replies = Replies()
    found = []
    for _ in wanted:
        while replies.line() is None:
            replies.feed(stream.pop(0))
        while (body := replies.body()) is None:
            replies.feed(stream.pop(0))
        found.append(body)
    assert found == wanted


@given(st.lists(st.binary(min_size=1, max_size=12).filter(lambda w: b"\r" not in w and b"\n" not in w), max_size=30), CUTS)
def test_a_listing_comes_line_by_line(words: list[bytes], cuts: list[int]) -> None:
    lines = [b"%d %b" % (number, word) for number, word in enumerate(words, 1)]
    stream = pieces(b"".join(line + b"\r\n" for line in lines) + b".\r\n+OK\r\n", cuts)
    replies, found, over = Replies(), [], False
    while not over:
        while (got := replies.listing()) is None:
            replies.feed(stream.pop(0))
        found += got[0]
        over = got[1]
    assert found == lines
    for rest in stream:
        replies.feed(rest)
    assert replies.line() == b"+OK"


@pytest.mark.parametrize(
    ("line", "read"),
    [
        (b"+OK", Reply(True, "", "")),
        (b"+ok 2 320", Reply(True, "", "2 320")),
        (b"-ERR [IN-USE] Do you have another session?", Reply(False, "IN-USE", "Do you have another session?")),
        (b"-ERR [sys/temp]", Reply(False, "SYS/TEMP", "")),
        (b"-ERR \xff\x00", Reply(False, "", "\ufffd?")),
        (b"+ ", Challenge(b"")),
        (b"+", Challenge(b"")),
        (b"+ eyJ9", Challenge(b"eyJ9")),
    ],
)
def test_a_status_line(line: bytes, read: Reply | Challenge) -> None:
    assert reply(line) == read


@pytest.mark.parametrize("line", [b"", b"* OK IMAP4rev1", b"220 smtp", b"+OKAY", b"HTTP/1.1 400 Bad Request"])
def test_what_is_no_status_line_is_told(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="no POP3 reply"):
        reply(line)


@pytest.mark.parametrize("take", [Replies.line, Replies.listing])
def test_a_line_without_an_end_is_not_gathered_for_ever(take: Callable[[Replies], object]) -> None:
    replies = Replies(limit=1024)
    replies.feed(b"x" * 1024)
    assert take(replies) is None
    replies.feed(b"x")
    with pytest.raises(LimitExceeded):
        take(replies)


@given(LINES, CUTS)
def test_a_message_at_hand_is_taken_with_its_status_line(lines: list[bytes], cuts: list[int]) -> None:
    body = b"".join(line + b"\r\n" for line in lines)
    replies = Replies()
    found = None
    stream = pieces(b"+OK follows\r\n" + travel(body), cuts)
    for octets in stream:
        assert found is None  # never before its last octet is here
        replies.feed(octets)
        found = replies.message()
    assert found == body
    assert replies.empty


@pytest.mark.parametrize("octets", [b"-ERR no such message\r\n.\r\n", b"+OK\r\nwithout an end\r\n", b"+OK", b"+ok\r\n.\r\n", b""])
def test_what_is_no_whole_message_stays_for_the_long_way(octets: bytes) -> None:
    replies = Replies()
    replies.feed(octets)
    assert replies.message() is None
    line = octets.partition(b"\r\n")
    assert replies.line() == (line[0] if line[1] else None)


def test_a_status_line_beyond_the_limit_is_not_taken_the_short_way() -> None:
    replies = Replies(limit=100)
    replies.feed(b"+OK " + b"x" * 200 + b"\r\n.\r\n")
    assert replies.message() is None
    with pytest.raises(LimitExceeded):
        replies.line()
