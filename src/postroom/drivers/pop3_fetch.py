"""Retrieve and delete within one session, several commands in flight where the server takes them (RFC 2449 section 6.6).

Replies come in the order of their commands (RFC 1939 section 3), so whose they are is never in doubt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence

from postroom.drivers.pop3_listing import WINDOW, Maildrop, read_head
from postroom.drivers.pop3_session import Pop3Session, pop3_error
from postroom.model import Absent, Fetched, Listed, Unfetched
from postroom.wire import pop3

Answer = Fetched | Absent | Unfetched


class Fetching:
    """What one session retrieved."""

    def __init__(self, session: Pop3Session) -> None:
        self._session = session
        self._width = WINDOW if session.offers("PIPELINING") else 1
        self.retrieved: set[str] = set()  # identities of what came whole
        self.failed = False  # a message was refused
        self.midway = False  # commands are in flight, or a message was left in its middle

    async def run(self, maildrop: Maildrop, listed: Sequence[Listed]) -> AsyncIterator[Answer]:
        """Yield an answer for each message (RETR, RFC 1939 section 5)."""
        waiting: deque[tuple[int, Listed]] = deque()
        for message in listed:
            number = maildrop.held(message)
            if number is None:
                yield Absent(message.identifier)
            else:
                waiting.append((number, message))
        flight: deque[Listed] = deque()
        self.midway = True
        while waiting or flight:
            if waiting and len(flight) * 2 <= self._width - 1:
                due = [waiting.popleft() for _ in range(min(len(waiting), self._width - len(flight)))]
                await self._session.send([b"RETR %d" % number for number, _ in due])
                flight.extend(message for _, message in due)
            message = flight.popleft()
            body: bytes | pop3.Mark | None = self._session.at_hand()
            if body is None:
                answer = await self._session.reply()
                if not answer.ok:
                    self.failed = True
                    yield Unfetched(message.identifier, pop3_error(answer))
                    continue
                body = await self._session.body()
            if isinstance(body, bytes):
                self.retrieved.add(message.identifier)
                yield Fetched(message, body)
                continue
            pieces = self._session.pieces()
            yield Fetched(message, b"", message.size, pieces)
            async for _left in pieces:
                pass
            self.retrieved.add(message.identifier)
        self.midway = False

    async def fetch_headers(self, maildrop: Maildrop, listed: Sequence[Listed], *, top: bool) -> AsyncIterator[Answer]:
        """The headers alone; where TOP is not to be had, the text is read over."""
        for message in listed:
            number = maildrop.held(message)
            if number is None:
                yield Absent(message.identifier)
                continue
            self.midway = True
            answer = await self._session.ask((b"TOP %d 0" if top else b"RETR %d") % number)
            if top and not answer.ok:
                answer = await self._session.ask(b"RETR %d" % number)
            head = await read_head(self._session) if answer.ok else b""
            self.midway = False
            if answer.ok:
                yield Fetched(message, head)
            else:
                self.failed = True
                yield Unfetched(message.identifier, pop3_error(answer))

    async def retrieve_again(self, maildrop: Maildrop, listed: Sequence[Listed]) -> None:
        """Retrieve what is here already, so that the provider counts it as had; its octets are dropped."""
        async for item in self.run(maildrop, listed):
            if isinstance(item, Fetched) and item.rest is not None:
                async for _piece in item.rest:
                    pass

    async def delete(self, numbers: Mapping[str, int]) -> tuple[list[str], list[str]]:
        """Mark for deletion (DELE, RFC 1939 section 5), by identity. Returns those that were, and refusals in words."""
        names = list(numbers)
        deleted: list[str] = []
        refusals: list[str] = []
        for start in range(0, len(names), self._width):
            asked = names[start : start + self._width]
            await self._session.send([b"DELE %d" % numbers[name] for name in asked])
            for name in asked:
                answer = await self._session.reply()
                if answer.ok:
                    deleted.append(name)
                else:
                    refusals.append(f"the server does not delete: {answer.text}")
        return deleted, refusals
