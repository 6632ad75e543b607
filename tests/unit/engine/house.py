"""What runs around watches in the tests of the engine: one store, servers by login, settings that a test changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fakes import HandClock, MemoryReader, MemoryServer, Recorder, client, kit
from postroom.drivers import Kit, Mailbox
from postroom.engine.budget import Budget
from postroom.engine.watch import Surroundings, Watch
from postroom.errors import PostroomError
from postroom.model import Health
from postroom.settings import PopClient
from postroom.store import Store


class House:
    """What runs around watches: one store, servers by login, settings that a test changes."""

    def __init__(self, directory: Path) -> None:
        self.clock = HandClock()
        self.observer = Recorder()
        self.store = Store(directory, self.clock, f"file:{directory / 'vault.key'}", {})
        self.servers: dict[str, MemoryServer] = {}
        self.opening: list[PostroomError] = []  # what the next logins come to
        self.readers: list[MemoryReader] = []
        self.opened: list[Mailbox] = []  # with the settings that a login was made with
        self.standing = 0  # conversations now …
        self.most = 0  # … and at most
        self.mailboxes: dict[str, Mailbox] = {}
        self.told = 0
        self.set(client())
        self.kit = kit(self.clock)
        budget = Budget(self.clock, self.observer)
        self.around = Surroundings(self.store, self.kit, self.observer, lambda *_: None, self._captured, budget)
        self._running: list[asyncio.Task[None]] = []

    def _captured(self) -> None:
        self.told += 1

    def set(self, section: PopClient) -> None:
        """The configuration says this now."""
        self.mailboxes[section.section] = Mailbox(section, None, {})

    def current(self, section: str = "pop-client-a") -> Mailbox | None:
        return self.mailboxes.get(section)

    def server(self, login: str = "a@example.org") -> MemoryServer:
        if login not in self.servers:
            self.servers[login] = MemoryServer(clock=self.clock)
        return self.servers[login]

    @asynccontextmanager
    async def open_reader(self, mailbox: Mailbox, kit: Kit) -> AsyncIterator[MemoryReader]:
        if self.opening:
            raise self.opening.pop(0)
        self.opened.append(mailbox)
        self.readers.append(MemoryReader(self.server(mailbox.client.mailbox), kit.dialer.count))
        self.standing += 1
        self.most = max(self.most, self.standing)
        try:
            yield self.readers[-1]
        finally:
            self.standing -= 1

    def watch(self, section: str = "pop-client-a") -> Watch:
        return Watch(section, lambda: self.current(section), self.around)

    def start(self, watch: Watch) -> asyncio.Task[None]:
        task = asyncio.create_task(watch.run())
        self._running.append(task)
        return task

    async def health(self, section: str = "pop-client-a") -> Health:
        return (await self.store.conditions())[section].health

    async def stop(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self.store.close()


async def until(happened: Callable[[], bool]) -> None:
    """Wait for what other tasks and threads do; what never happens fails the test."""
    async with asyncio.timeout(5):
        while not happened():  # noqa: ASYNC110 - there is nothing to be told by
            await asyncio.sleep(0)


async def count(house: House) -> int:
    return sum(counts.messages for counts in (await house.store.counts()).values())
