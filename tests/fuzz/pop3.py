"""Noise for POP3: the codec under any cuts, and a whole reading against any server."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Generator, Iterator
from typing import Any, cast

from fakes import HastyClock, kit, place
from postroom.drivers.pop3 import Pop3Reader
from postroom.errors import LimitExceeded, Lost, PostroomError, RemoteProtocolError
from postroom.model import Absent, Disposition, Fetched, Listed, Unfetched, Unsettled
from postroom.net.credentials import PasswordCredentials
from postroom.net.stream import Dialer, Stream
from postroom.secret import Secret
from postroom.wire import pop3

_INLINE, _LIMIT = 2048, 512
_TURNS = 5000  # commands, or steps of a reading; no input has so many replies
_STATE = '{"identity":"uidl","count":-1,"octets":-1,"last":"","looked_at":0.0,"fresh":[],"stayed":["000000025e8d1b01"]}'


def codec(octets: bytes) -> None:
    """Any stream, cut anywhere, gives the same lines, listings and messages, or is refused; in bounded memory."""
    noise = random.Random(octets)
    wanted = [noise.choice(("line", "listing", "body")) for _ in range(8)]
    cuts = sorted(noise.randrange(len(octets) + 1) for _ in range(5))
    whole, refused = _taken(octets, [len(octets)], wanted)
    other, refused_too = _taken(octets, [*cuts, len(octets)], wanted)
    # How far a line is too long is seen by what is at hand: a refusal may come earlier, and nothing else.
    assert whole == other or (refused and _begins(other, whole)) or (refused_too and _begins(whole, other))
    assert refused == refused_too or LimitExceeded in (refused, refused_too)


def _begins(whole: bytes, part: bytes) -> bool:
    return whole.startswith(part)


def _taken(octets: bytes, cuts: list[int], wanted: list[str]) -> tuple[bytes, type[PostroomError] | None]:
    """What was taken, marked by its kind, and the refusal that ended it."""
    replies = pop3.Replies(inline=_INLINE, limit=_LIMIT)
    taking = _taking(replies, wanted)
    found = b""
    start = 0
    try:
        for end in cuts:
            piece, start = octets[start:end], end
            while piece:
                room = replies.get_buffer()
                assert 0 < len(room) <= 4 * _INLINE
                count = min(len(room), len(piece))
                room[:count] = piece[:count]
                replies.received(count)
                piece = piece[count:]
                for taken in taking:
                    if taken is None:
                        break
                    found += taken
    except (RemoteProtocolError, LimitExceeded) as error:
        return found, type(error)
    return found, None


def _taking(replies: pop3.Replies, wanted: list[str]) -> Iterator[bytes | None]:
    """Take one thing after the other; None where octets are missing."""
    for turn in range(1_000_000):
        kind = wanted[turn % len(wanted)]
        yield b"<%s>" % kind.encode()
        if kind == "line":
            line = yield from _whole(replies.line)
            yield repr(pop3.reply(line)).encode()
        elif kind == "listing":
            over = False
            while not over:
                lines, over = yield from _whole(replies.listing)
                yield b"".join(line + b"|" for line in lines)
        else:
            body = yield from _whole(replies.body)
            if isinstance(body, bytes):
                yield body
                continue
            while isinstance(piece := (yield from _whole(replies.piece)), bytes):
                yield piece


def _whole(take: Any) -> Generator[None, None, Any]:
    while (taken := take()) is None:
        yield None
    return taken


# --- a reading --------------------------------------------------------------------------------------------------------


class _Server:
    """Says its octets whatever it hears, cut anywhere; then it is gone."""

    def __init__(self, octets: bytes) -> None:
        noise = random.Random(octets)
        ends = sorted({*(noise.randrange(len(octets) + 1) for _ in range(9)), len(octets)})
        self._pieces = iter([octets[start:end] for start, end in zip([0, *ends], ends, strict=False)])
        self._replies: Any = None
        self.commands = 0

    async def connect(self, _host: str, _port: int, receiver: Any, **_how: object) -> Stream:
        self._replies = receiver
        return cast(Stream, self)

    async def more(self, _timeout: float) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            raise Lost("the server is gone")
        self._replies.feed(piece)

    async def write(self, octets: bytes, _timeout: float) -> None:
        assert octets.endswith(b"\r\n")
        self.commands += 1
        assert self.commands < _TURNS, "it asks without end"

    def abort(self) -> None:
        """Nothing is left to do."""

    close = abort


def reading(octets: bytes) -> None:
    """Whatever a server says, a reading ends with what the seam promises or with a documented error."""
    for state in (None, _STATE):
        server = _Server(octets)
        credentials = PasswordCredentials("a@example.org", Secret("pw"), (), "", "pop-client-a")
        reader = Pop3Reader(place(110), credentials, _kit(server), None)
        with contextlib.suppress(PostroomError):
            _run(_read(reader, state))


def _kit(server: _Server) -> Any:
    made = kit(HastyClock())
    return type(made)(made.clock, cast(Dialer, server), made.http, made.tokens, made.providers, made.trace)


async def _read(reader: Pop3Reader, state: str | None) -> None:
    changes = await reader.changes("INBOX", state, 100)
    if changes.reset:
        changes = await reader.changes("INBOX", None, 100)
        assert not changes.reset, "a listing from nothing is no reset"
    names = [listed.identifier for listed in changes.created]
    assert len(set(names)) == len(names), "one identity for two messages"
    assert all(name.isprintable() for name in names)
    missing = Listed("nothing has this name", 7, "")
    asked = [*changes.created, missing]
    heads = await reader.headers("INBOX", asked[:3])
    assert set(heads) <= set(names)
    answered = []
    async for item in reader.fetch("INBOX", asked):
        assert isinstance(item, Fetched | Absent | Unfetched)
        answered.append(item.listed.identifier if isinstance(item, Fetched) else item.identifier)
    assert sorted(answered) == sorted(listed.identifier for listed in asked)
    owed = [Unsettled(listed, Disposition.DELETE) for listed in asked]
    settlement = await reader.settle("INBOX", owed, None)
    assert settlement.committed == (), "nothing is final before QUIT"
    assert missing.identifier in settlement.gone
    assert not set(await reader.commit()) & set(settlement.gone)


def _run(reading_: Any) -> None:
    """Without a loop: nothing here waits."""
    for _ in range(_TURNS):
        try:
            reading_.send(None)
        except StopIteration:
            return
    raise AssertionError("it comes to no end")
