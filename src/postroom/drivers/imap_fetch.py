"""Fetch messages, pipelined: the commands of several sets of UIDs are in flight.

No UID is in two of them, so that a server may mix their answers (RFC 9051 section 5.5; Dovecot does, once its buffer is
full) and each answer still finds its message; a set is done when its own tagged response comes.

Small messages go many to a command. A large one has a command of its own. Where the server says its UID only behind the
octets and several are in flight, it is known too late whose they were: it is asked for again with nothing else in flight.
When the server refuses a set, its messages are asked for one by one, so that one poisonous message does not hide the others.

An OK proves nothing of a message that was not handed over (RFC 9051 section 6.4.5 lets a server pass over a UID that is gone).
One that was named without its octets is asked for once more. One that was not named at all is looked for by its UID alone,
which every server answers from its list: gone is what is missing there too; what is there is asked for once more, and is a
fault then, never absent.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from postroom.drivers.imap_session import ImapSession, uid_of
from postroom.errors import ImapStatus, RemoteProtocolError
from postroom.model import Absent, Fetched, Listed, Unfetched
from postroom.wire.imap import commands, types
from postroom.wire.imap.fragments import STREAMED, LiteralBegin, LiteralEnd, LiteralPiece
from postroom.wire.imap.quirks import Quirk

_LARGE = 192 * 1024  # octets from which a message has a command of its own; below the fragments' inline limit
_SET = 250  # small messages in a command
_SET_OCTETS = 4 * 1024 * 1024
_WINDOW = 6  # commands in flight
_UID = re.compile(rb"[( ]UID (\d+) ", re.IGNORECASE)


@dataclass
class _Set:
    """The messages of one command, by UID; what is answered leaves."""

    wanted: dict[int, Listed]
    bodiless: set[int] = field(default_factory=set)
    unnamed: set[int] = field(default_factory=set)  # their octets streamed by before the server said whose they were
    alone: bool = False
    looking: bool = False  # only whether they are there is asked
    again: bool = False  # they are there, and came without their octets before


class Fetching:
    """One fetch of many messages. ``run`` answers each."""

    def __init__(self, session: ImapSession, listed: deque[Listed]) -> None:
        self._session = session
        self._waiting: deque[_Set] = deque(_sets(listed))
        self._single: deque[_Set] = deque()  # asked for while nothing else is in flight
        self._flight: dict[str, _Set] = {}  # by tag
        self._owners: dict[int, _Set] = {}  # by UID, of those in flight

    async def run(self) -> AsyncIterator[Fetched | Absent | Unfetched]:
        """Yield an answer for each message."""
        session = self._session
        while self._waiting or self._flight or self._single:
            await self._send_waiting()
            fragment = session.fragments.next() or await session.fragment()
            if isinstance(fragment, LiteralBegin):
                async for streamed in self._stream(fragment):
                    yield streamed
            elif isinstance(fragment, list):
                response = session.note(fragment)
                if isinstance(response, types.Fetch):
                    if (fetched := self._fetched(response)) is not None:
                        yield fetched
                elif isinstance(response, types.StatusResponse) and response.tag:
                    for unanswered in self._finished(response):
                        yield unanswered

    async def _send_waiting(self) -> None:
        while self._waiting and len(self._flight) < _WINDOW:
            await self._send(self._waiting.popleft())
        if self._single and not self._flight:
            await self._send(self._single.popleft())

    async def _send(self, wanted: _Set) -> None:
        (uids,) = commands.sequence_sets(wanted.wanted)  # one: a set is small enough for a line
        tag = await self._session.send(commands.uid_fetch(uids, b"UID" if wanted.looking else b"UID BODY.PEEK[]"))
        self._flight[tag] = wanted
        self._owners.update(dict.fromkeys(wanted.wanted, wanted))

    async def _stream(self, begin: LiteralBegin) -> AsyncIterator[Fetched]:
        pieces = self._pieces()
        if (listed := self._streaming(begin)) is not None:
            yield Fetched(listed, b"", begin.size, pieces)
        async for _left in pieces:
            pass

    def _fetched(self, fetch: types.Fetch) -> Fetched | None:
        """The message that an answer brings; None for one without a body, or unasked."""
        uid = fetch.uid
        if uid is None and fetch.has_body:
            uid = self._only()
        owner = self._owners.get(uid) if uid is not None else None
        if uid is None or owner is None:
            return None
        if fetch.body is STREAMED:
            owner.unnamed.add(uid)
            return None
        if not fetch.body:
            owner.bodiless.add(uid)  # named, so it is there
            return None
        del self._owners[uid]
        return Fetched(owner.wanted.pop(uid), fetch.body)

    def _streaming(self, begin: LiteralBegin) -> Listed | None:
        """Whose octets begin to stream; None when that cannot be known yet, and they are read over."""
        if b"BODY[]" not in begin.parts[-1].upper():
            return None
        found = next(filter(None, map(_UID.search, begin.parts[::2])), None)
        uid = int(found[1]) if found is not None else self._only()
        owner = self._owners.pop(uid, None) if uid is not None else None
        return owner.wanted.pop(uid) if owner is not None and uid is not None else None

    def _only(self) -> int | None:
        """The UID that is meant where a server leaves it out: there must be no other in flight."""
        minded = Quirk.UID_LEFT_OUT in self._session.quirks
        return next(iter(self._owners)) if minded and len(self._owners) == 1 else None

    async def _pieces(self) -> AsyncIterator[bytes]:
        while True:
            fragment = self._session.fragments.next() or await self._session.fragment()
            if isinstance(fragment, LiteralPiece):
                yield fragment.octets
            elif isinstance(fragment, LiteralEnd):
                return
            else:
                raise RemoteProtocolError("a literal ended before its length")

    def _finished(self, status: types.StatusResponse) -> Sequence[Absent | Unfetched]:
        """A command in flight ended: what it left unanswered."""
        current = self._flight.pop(status.tag, None)
        if current is None:
            raise RemoteProtocolError(f"an answer to {status.tag}, which is no command in flight")
        for uid in current.wanted:
            del self._owners[uid]
        for uid in current.unnamed & current.wanted.keys():
            self._single.append(_Set({uid: current.wanted.pop(uid)}, alone=True))
        if status.status is not types.Status.OK:
            return self._refused(current, status)
        there = {uid: current.wanted.pop(uid) for uid in current.bodiless & current.wanted.keys()}
        answers: list[Absent | Unfetched] = []
        if current.again:  # each was there before
            answers += map(_bodiless, [*there.values(), *current.wanted.values()])
        elif current.looking:
            self._ask_again(there)
            answers += [Absent(listed.identifier) for listed in current.wanted.values()]
        else:
            if Quirk.BODY_LEFT_OUT in self._session.quirks:
                self._ask_again(there)
            else:
                answers += map(_bodiless, there.values())
            if Quirk.NOT_ANSWERED in self._session.quirks and current.wanted:
                self._single.append(_Set(current.wanted, alone=True, looking=True))
            else:
                answers += [Absent(listed.identifier) for listed in current.wanted.values()]
        return answers

    def _ask_again(self, there: dict[int, Listed]) -> None:
        if there:
            self._single.append(_Set(there, alone=len(there) == 1, again=True))

    def _refused(self, current: _Set, status: types.StatusResponse) -> Sequence[Absent | Unfetched]:
        if not current.alone and len(current.wanted) > 1:
            self._waiting.extendleft(_Set({uid: it}, alone=True, again=current.again) for uid, it in current.wanted.items())
            return []
        words = f"{status.status.value} {status.text}"
        fault = ImapStatus(words, status=status.status.value, code=status.code, text=status.text)
        return [Unfetched(listed.identifier, fault) for listed in current.wanted.values()]


def _bodiless(listed: Listed) -> Unfetched:
    return Unfetched(listed.identifier, RemoteProtocolError("the server lists the message and hands over no octets"))


def _sets(listed: deque[Listed]) -> list[_Set]:
    sets: list[_Set] = []
    small: dict[int, Listed] = {}
    octets = 0
    for message in listed:
        uid = uid_of(message.identifier)
        if message.size > _LARGE:
            sets.append(_Set({uid: message}, alone=True))
            continue
        if small and (len(small) >= _SET or octets + message.size > _SET_OCTETS):
            sets.append(_Set(small))
            small, octets = {}, 0
        small[uid] = message
        octets += message.size
    if small:
        sets.append(_Set(small))
    return sets
