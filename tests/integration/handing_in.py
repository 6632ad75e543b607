"""A listener over a real store, and a client that says whatever it is told to."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

from fakes import HandClock, Recorder
from postroom.app.config import Live, load
from postroom.app.core import Core, opened
from postroom.app.listener.intake import Intake, Submit, submitting
from postroom.app.listener.server import Listener
from postroom.outbound import SubmissionRow
from postroom.store.outbox_rows import Asked

PATIENCE = 10.0  # seconds
LETTER = b"From: Sales <sales@example.org>\r\nTo: ann@example.net\r\nSubject: hello\r\n\r\nA text.\r\n"

SENDERS = """
[smtp-client-sales]
server = mail.example.org
addresses = sales@example.org, example.com
"""
OPEN = """
[smtp-listener]
listen = 127.0.0.1:0
allow-without-login = true
"""
ACCOUNTS = """
[smtp-listener]
listen = 127.0.0.1:0

[smtp-listener-account-erp]
password = käse und brot

[smtp-listener-account-Printer]
password = 1234
"""


class Post:
    """A listener that runs, and the queue behind it."""

    def __init__(self, core: Core, listener: Listener, observer: Recorder, clock: HandClock) -> None:
        self.core = core
        self.listener = listener
        self.observer = observer
        self.clock = clock
        self.port = int(listener.address.rpartition(":")[2])

    async def rows(self) -> list[SubmissionRow]:
        """What is in the queue, the oldest first."""
        return (await self.core.store.outbox.page(Asked(), 1000))[::-1]

    async def octets(self, row: SubmissionRow) -> bytes:
        """A submission's octets."""
        return b"".join((await self.core.store.outbox.content(row.id)).pieces())


@contextlib.asynccontextmanager
async def post(directory: Path, text: str, submit: Submit | None = None) -> AsyncIterator[Post]:
    """A listener with these sections; ``submit`` stands in for the queue."""
    file = directory / "postroom.ini"
    file.write_text(f"[settings]\ndata-directory = {directory / 'data'}\n{text}", encoding="utf-8")
    live = Live(load(file, {}), {})
    assert [str(fault) for fault in live.configuration.faults] == []
    clock, observer = HandClock(), Recorder()
    async with opened(live, clock, observer, lambda _: lambda *_: None, {}) as core:
        intake = Intake(live.route, submit or submitting(core), observer, clock)
        listener = Listener(live.configuration.listener, intake, lambda: bool(live.configuration.routes), observer, clock)
        async with listener:
            yield Post(core, listener, observer, clock)


class Client:
    """One side of a conversation, word by word."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, octets: bytes) -> None:
        self._writer.write(octets)
        await self._writer.drain()

    async def reply(self) -> str:
        """The next reply, its lines with a blank between them."""
        lines = []
        while True:
            line = (await asyncio.wait_for(self._reader.readline(), PATIENCE)).decode()
            assert line.endswith("\r\n"), f"the conversation ended with {lines} {line!r}"
            lines.append(line.rstrip("\r\n"))
            if line[3:4] != "-":
                return " ".join(lines)

    async def ask(self, octets: bytes) -> str:
        """Say a line, without its end; the reply."""
        await self.send(octets + b"\r\n")
        return await self.reply()

    async def begin(self) -> None:
        """A message as far as DATA's 354."""
        assert (await self.ask(b"MAIL FROM:<sales@example.org>")).startswith("250 2.1.0")
        assert (await self.ask(b"RCPT TO:<ann@example.net>")).startswith("250 2.1.5")
        assert (await self.ask(b"DATA")).startswith("354")

    async def message(self, octets: bytes) -> str:
        """Hand a message in, as it stands, and end it; the reply."""
        await self.begin()
        await self.send(octets + b".\r\n")
        return await self.reply()

    async def plain(self, name: str, password: str) -> str:
        """Log in."""
        return await self.ask(b"AUTH PLAIN " + base64.b64encode(f"\0{name}\0{password}".encode()))

    async def start_tls(self, context: ssl.SSLContext) -> None:
        assert (await self.ask(b"STARTTLS")).startswith("220")
        await self._writer.start_tls(context, server_hostname="localhost")

    async def ended(self) -> bytes:
        """What comes until the other side ends it."""
        return await asyncio.wait_for(self._reader.read(), PATIENCE)

    def cut(self) -> None:
        """Be gone at once."""
        self._writer.transport.abort()


@contextlib.asynccontextmanager
async def client(port: int, *, greet: bool = True, tls: ssl.SSLContext | None = None) -> AsyncIterator[Client]:
    """A client that has heard the greeting, and has greeted."""
    name = "localhost" if tls else None
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
    try:
        talking = Client(reader, writer)
        assert await talking.reply() == "220 postroom ESMTP"
        if greet:
            await talking.ask(b"EHLO old.example.org")
        yield talking
    finally:
        writer.transport.abort()
