"""A mailbox at a server without a network, a real store, and the cycles between them; and what stops them anywhere."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from fakes import HandClock, MemoryReader, MemoryServer, Recorder, client
from postroom.drivers import Reader
from postroom.engine.read import FolderCycle, Tally
from postroom.model import Lease, Trouble
from postroom.settings import PopClient
from postroom.store import Store


class Desk:
    """A mailbox at a server, a store, and the cycles between them."""

    def __init__(self, directory: Path) -> None:
        self.clock = HandClock()
        self.directory = directory
        self.server = MemoryServer()
        self.observer = Recorder()
        self.store = self._open()
        self.lease = Lease(0, "", 0)

    def _open(self) -> Store:
        return Store(self.directory, self.clock, f"file:{self.directory / 'vault.key'}", {})

    async def restart(self) -> None:
        """The process ends and begins again."""
        self.store.close()
        self.store = self._open()
        await self.take()

    async def take(self, folder: str = "INBOX") -> Lease:
        source = await self.store.source("IMAP", "mail.example.org", "a@example.org")
        (self.lease,) = await self.store.acquire(source, [folder])
        return self.lease

    async def cycle(self, folder: str = "INBOX", reader: object = None, store: object = None, **options: Any) -> Tally:
        """One cycle over a conversation of its own."""
        if self.lease.folder != folder:
            await self.take(folder)
        section: PopClient = client(**options)
        with_reader = cast(Reader, reader or MemoryReader(self.server))
        with_store = cast(Store, store or self.store)
        cycle = FolderCycle(section, folder, self.lease, with_reader, with_store, self.clock, self.observer, lambda *_: None)
        return await cycle.run()

    async def settle_down(self, folder: str = "INBOX", **options: Any) -> None:
        """Cycles over a healed server until nothing is left to do: troubles are waited for."""
        for _ in range(20):
            tally = await self.cycle(folder, **options)
            troubles = await self.store.troubles(self.lease)
            if not tally.more and not troubles and not await self.store.unsettled(self.lease, 1):
                return
            self.clock.advance(24 * 3600)
        pytest.fail("it comes to no end")

    async def texts(self) -> list[bytes]:
        """The octets of all messages, sorted."""
        found = []
        async for row in self.store.messages(client=None, newest_first=False, limit=None):
            message = await self.store.message(row.id)
            assert message is not None
            found.append(self.store.blobs.read(message[1]))
        return sorted(found)

    async def troubles(self) -> list[Trouble]:
        return await self.store.troubles(self.lease)


def fill(server: MemoryServer, *texts: bytes, folder: str = "INBOX") -> list[str]:
    held = server.folder(folder)
    return [held.name(held.add(text)) for text in texts]


class Stop:
    """Stops the n-th step: before it, after it was carried out and nobody heard, or with it the whole process."""

    def __init__(self, at: int, how: str, *errors: Exception) -> None:
        self.left = at
        self._how = how
        self._errors = itertools.cycle(errors)

    async def step(self, call: Callable[[], Awaitable[Any]]) -> Any:
        self.left -= 1
        if self._now() and self._how != "after":
            raise next(self._errors)
        result = await call()
        if self._now() and self._how == "after":
            raise next(self._errors)
        return result

    def _now(self) -> bool:
        return self.left < 0 if self._how == "dead" and self.left else self.left == 0

    @property
    def over(self) -> bool:
        """It was never reached."""
        return self.left > 0


class Stopping:
    """Something whose every await is a step."""

    def __init__(self, real: object, stop: Stop) -> None:
        self._real = real
        self._stop = stop

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if asyncio.iscoroutinefunction(real):
            return lambda *args, **named: self._stop.step(lambda: real(*args, **named))
        return real


class StoppingReader(Stopping):
    """The same for the items of a fetch."""

    def fetch(self, folder: str, listed: Any) -> AsyncIterator[Any]:
        return self._fetch(folder, listed)

    async def _fetch(self, folder: str, listed: Any) -> AsyncIterator[Any]:
        iterator = self._real.fetch(folder, listed).__aiter__()  # type: ignore[attr-defined]
        while True:
            try:
                item = await self._stop.step(iterator.__anext__)
            except StopAsyncIteration:
                return
            yield item
