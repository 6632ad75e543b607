"""The stream's cutting into responses: whatever the reads bring at once, the fragments are the same."""

from __future__ import annotations

import itertools
import random
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.errors import LimitExceeded, RemoteProtocolError
from postroom.wire.imap.fragments import STREAMED, Fragment, Fragments, LiteralBegin, LiteralEnd, LiteralPiece

INLINE = 300  # a short limit, so that streamed literals stay small

Seen = list[bytes] | LiteralBegin | LiteralEnd | bytes


def drained(fragments: Fragments) -> Iterator[Fragment]:
    while (fragment := fragments.next()) is not None:
        yield fragment


def joined(found: Iterable[Fragment]) -> list[Seen]:
    """What came, with neighbouring pieces of one literal as one: their sizes are the reads' own."""
    seen: list[Seen] = []
    for fragment in found:
        if not isinstance(fragment, LiteralPiece):
            seen.append(fragment)
        elif seen and isinstance(seen[-1], bytes):
            seen[-1] += fragment.octets
        else:
            seen.append(fragment.octets)
    return seen


def fed(octets: bytes, cuts: Iterable[int] = (), *, inline: int = INLINE) -> list[Seen]:
    """The fragments of a stream that comes in pieces."""
    fragments = Fragments(inline=inline)
    found: list[Fragment] = []
    places = [0, *sorted(cuts), len(octets)]
    for start, end in itertools.pairwise(places):
        for begin in range(start, end, 4096):
            fragments.feed(octets[begin : min(begin + 4096, end)])
            found += drained(fragments)
    assert fragments.empty or found[-1:] == [] or octets[-1:] != b"\n"
    return joined(found)


def lent(octets: bytes, sizes: Iterator[int], *, inline: int = INLINE) -> list[Seen]:
    """The same through the buffer that is lent to a socket."""
    fragments = Fragments(inline=inline)
    found: list[Fragment] = []
    while octets:
        room = fragments.get_buffer()
        assert len(room) > 0
        count = min(len(room), len(octets), next(sizes))
        room[:count] = octets[:count]
        fragments.received(count)
        octets = octets[count:]
        found += drained(fragments)
    return joined(found)


def taken(fragments: Fragments, chunks: Iterable[bytes]) -> None:
    """Feed a response that comes to no end."""
    for chunk in chunks:
        fragments.feed(chunk)
        assert fragments.next() is None


@dataclass(frozen=True)
class Written:
    """A response as it goes over the wire and as it must come out."""

    octets: bytes
    seen: tuple[Seen, ...]


TEXT = st.binary(max_size=40).map(lambda octets: octets.translate(bytes.maketrans(b"\r\n}~", b"....")))
LITERAL = st.one_of(st.binary(max_size=12), st.sampled_from([b"", b"\r\n", b"}\r\n", b"* 1 EXISTS\r\n", b"{5}\r\n"]))
LONG = st.integers(INLINE + 1, 3 * INLINE).map(lambda size: bytes(octet % 256 for octet in range(size)))
FORMS = st.sampled_from([b"{%d}", b"{%d+}", b"~{%d}"])


@st.composite
def responses(draw: st.DrawFn) -> Written:
    octets, parts = b"", []
    seen: list[Seen] = []
    text = b"* X" + draw(TEXT)
    while draw(st.booleans()):
        literal = draw(st.one_of(LITERAL, LITERAL, LONG))
        octets += text + draw(FORMS) % len(literal) + b"\r\n" + literal
        parts.append(text)
        if len(literal) > INLINE:
            seen += [LiteralBegin(list(parts), len(literal)), literal, LiteralEnd()]
            parts.append(STREAMED)
        else:
            parts.append(literal)
        text = draw(TEXT)
    return Written(octets + text + b"\r\n", (*seen, [*parts, text]))


STREAMS = st.lists(responses(), min_size=1, max_size=6)


def both(stream: list[Written]) -> tuple[bytes, list[Seen]]:
    return b"".join(w.octets for w in stream), [seen for w in stream for seen in w.seen]


@given(STREAMS, st.integers())
@settings(max_examples=60)
def test_any_split_gives_the_same_fragments(stream: list[Written], seed: int) -> None:
    octets, expected = both(stream)
    chance = random.Random(seed)
    cuts = [chance.randrange(len(octets)) for _ in range(chance.randrange(20))]
    assert fed(octets, cuts) == expected
    assert lent(octets, iter(lambda: chance.randrange(1, 50), 0)) == expected


@given(STREAMS)
@settings(max_examples=20)
def test_octet_by_octet_gives_the_same_fragments(stream: list[Written]) -> None:
    octets, expected = both(stream)
    assert fed(octets, range(1, len(octets))) == expected


def test_a_cut_at_every_octet_gives_the_same_fragments() -> None:
    body = bytes(range(256)) * 2
    octets = (
        b"* OK [ALERT] hi {5}\r\n"
        b'* 1 FETCH (UID 1 BODY[] {6}\r\na\r\nb\r\n FLAGS (\\Seen) X "}")\r\n'
        b"* 2 FETCH (UID 2 BODY[] ~{512}\r\n" + body + b" BODY[1] {0}\r\n)\r\n"
        b"P7 OK done\r\n"
    )
    expected = fed(octets)
    assert expected == [
        [b"* OK [ALERT] hi {5}"],
        [b"* 1 FETCH (UID 1 BODY[] ", b"a\r\nb\r\n", b' FLAGS (\\Seen) X "}")'],
        LiteralBegin([b"* 2 FETCH (UID 2 BODY[] "], 512),
        body,
        LiteralEnd(),
        [b"* 2 FETCH (UID 2 BODY[] ", STREAMED, b" BODY[1] ", b"", b")"],
        [b"P7 OK done"],
    ]
    for cut in range(1, len(octets)):
        assert fed(octets, [cut]) == expected


def test_a_line_end_may_be_cut_in_two() -> None:
    fragments = Fragments()
    fragments.feed(b"* 1 EXISTS\r")
    assert fragments.next() is None
    fragments.feed(b"\n")
    assert fragments.next() == [b"* 1 EXISTS"]
    assert fragments.empty


def test_a_bare_carriage_return_and_a_bare_line_feed_end_nothing() -> None:
    assert fed(b"* OK a\rb\nc\r\n") == [[b"* OK a\rb\nc"]]


@pytest.mark.parametrize(
    "line",
    [
        b"* OK ready {5}",
        b"* no [ALERT] {5}",
        b"* BAD {5}",
        b"* BYE {5}",
        b"* PREAUTH {5+}",
        b"+ go on {5}",
        b"P1 NO not this {5}",
        b"* 1 EXISTS {}",
        b"* LIST () NIL {a}",
        b"* LIST () NIL {5 }",
        b"* LIST () NIL {123456789012345678901}",
    ],
)
def test_text_that_looks_like_a_literal_is_none(line: bytes) -> None:
    assert fed(line + b"\r\n* 1 EXISTS\r\n") == [[line], [b"* 1 EXISTS"]]


@pytest.mark.parametrize("word", [b"OKAY", b"NOTHING", b"BYES", b"OK-ISH"])
def test_only_whole_words_are_status_responses(word: bytes) -> None:
    assert fed(b"* " + word + b" {1}\r\nx\r\n") == [[b"* " + word + b" ", b"x", b""]]


# --- limits -----------------------------------------------------------------------------------------------------------


def test_a_line_without_an_end_is_refused() -> None:
    fragments = Fragments(inline=10_000)
    fragments.feed(b"* " + b"x" * 9000)
    assert fragments.next() is None
    fragments.feed(b"x" * 1100)
    with pytest.raises(LimitExceeded, match="a line of more than 10000 octets"):
        fragments.next()


def test_many_literals_of_one_response_add_up() -> None:
    fragments = Fragments(inline=1000, line=50_000)
    with pytest.raises(LimitExceeded, match="one response of more than 50000 octets"):
        taken(fragments, [b"* X {900}\r\n" + b"x" * 900] * 200)


def test_the_text_between_literals_adds_up() -> None:
    fragments = Fragments(inline=1000, line=5000)
    with pytest.raises(LimitExceeded):
        taken(fragments, [b"* X {1}\r\ny", *[b"x" * 500 + b" {1}\r\ny"] * 20])


def test_empty_literals_without_end_are_refused() -> None:
    with pytest.raises(LimitExceeded):
        taken(Fragments(line=20_000), [b"* X {0}\r\n", *[b"{0}\r\n" * 500] * 1000])


def test_a_literal_beyond_all_numbers_breaks_the_stream() -> None:
    fragments = Fragments()
    fragments.feed(b"* 1 FETCH (BODY[] {9223372036854775808}\r\n")
    with pytest.raises(RemoteProtocolError, match="a literal of 9223372036854775808 octets"):
        fragments.next()


def test_more_than_the_buffer_holds_is_refused_by_feed_and_shown_by_full() -> None:
    fragments = Fragments(inline=10_000)
    with pytest.raises(LimitExceeded, match="more octets than were taken"):
        fragments.feed(b"* 1 EXISTS\r\n" * 2000)
    full = fragments.full
    assert len(fragments.get_buffer()) == 0
    assert len(list(drained(fragments))) > 1000
    assert (full, fragments.full) == (True, False)
    assert len(fragments.get_buffer()) > 0


def test_p23_a_literal_of_any_size_is_streamed_in_bounded_memory() -> None:
    piece = b"0123456789abcdef" * 1024
    count = 1000
    fragments = Fragments()
    tracemalloc.start()
    try:
        fragments.feed(b"* 1 FETCH (UID 1 BODY[] {%d}\r\n" % (len(piece) * count))
        assert isinstance(fragments.next(), LiteralBegin)
        octets, rest = 0, []
        for chunk in [*[piece] * count, b")\r\n"]:
            fragments.feed(chunk)
            for fragment in drained(fragments):
                if isinstance(fragment, LiteralPiece):
                    octets += len(fragment.octets)
                else:
                    rest.append(fragment)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert octets == len(piece) * count
    assert rest == [LiteralEnd(), [b"* 1 FETCH (UID 1 BODY[] ", STREAMED, b")"]]
    assert peak < 1024 * 1024


def test_gathered_literals_take_no_more_than_the_limit() -> None:
    fragments = Fragments(inline=100_000)
    tracemalloc.start()
    try:
        for _ in range(50):
            fragments.feed(b"* 1 FETCH (BODY[] {100000}\r\n" + b"x" * 50_000)
            assert fragments.next() is None
            fragments.feed(b"x" * 50_000 + b")\r\n")
            assert len(list(drained(fragments))) == 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 600_000


def test_the_buffer_grows_with_a_fast_peer_and_is_given_back() -> None:
    fragments = Fragments()
    small = len(fragments.get_buffer())
    fragments.feed(b"* 1 FETCH (UID 1 BODY[] {100000000}\r\n")
    assert isinstance(fragments.next(), LiteralBegin)
    sizes = []
    for _ in range(8):
        room = fragments.get_buffer()
        room[:] = b"x" * len(room)
        fragments.received(len(room))
        assert len(list(drained(fragments))) == 1
        sizes.append(len(room))
    assert max(sizes) == 256 * 1024 + 4096
    fragments.shrink()
    assert len(fragments.get_buffer()) == small


def test_shrinking_takes_nothing_that_waits() -> None:
    fragments = Fragments()
    fragments.feed(b"* 1 FETCH (BODY[] {20000}\r\n" + b"x" * 10_000)
    assert fragments.next() is None
    fragments.shrink()
    fragments.feed(b"x" * 10_000 + b")\r\n")
    assert list(drained(fragments)) == [[b"* 1 FETCH (BODY[] ", b"x" * 20_000, b")"]]


def test_nothing_is_empty_while_a_response_is_under_way() -> None:
    fragments = Fragments()
    empty = []
    for octets in (b"* 1 FETCH (BODY[] {0}\r\n", b")\r\n"):
        empty.append(fragments.empty)
        fragments.feed(octets)
        list(drained(fragments))
    assert [*empty, fragments.empty] == [True, False, True]


def test_a_response_after_a_limit_of_another_connection_is_not_touched() -> None:
    """Each connection has its own state: nothing is shared between two."""
    first, second = Fragments(), Fragments()
    first.feed(b"* 1 FETCH (BODY[] {3}\r\nab")
    second.feed(b"* 2 EXISTS\r\n")
    assert first.next() is None
    assert second.next() == [b"* 2 EXISTS"]


def test_the_stand_in_for_a_streamed_literal_is_no_literal() -> None:
    """A literal with the same octets is another object, and told from it by that."""
    ((_, literal, _),) = (seen for seen in fed(b"* X {%d}\r\n%b\r\n" % (len(STREAMED), STREAMED)) if isinstance(seen, list))
    assert literal == STREAMED
    assert literal is not STREAMED
