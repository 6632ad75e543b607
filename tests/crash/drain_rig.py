"""The queue, made once and copied for each run; the server that keeps a record of what it took over; who looks at both."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from crash.drain_plan import InDoubt, Way
from crash.drain_verdict import Copy, Recorded
from crash.nursery import PATIENCE
from postroom.app.config import Live, load
from postroom.app.core import Core, for_command
from postroom.app.operations.submissions import Hand, submit_raw
from postroom.mime.raw import RawEnvelope
from postroom.outbound import Recipient
from postroom.store.outbox_rows import Asked
from servers.dovecot import Dovecot
from servers.dovecot_config import PASSWORD
from servers.smtp_faults import Manner, SmtpFaults
from servers.waiting import wait_for

T = TypeVar("T")

SENDER = "desk@example.test"
CONNECTIONS = 5
_LARGE = 300_000  # octets
_CONFIGURATION = """\
[settings]
data-directory = {data}

[web]
listen = 127.0.0.1:0

[smtp-client]
server = 127.0.0.1
port = {port}
smtp-connection-security = none
enable-authentication = true
user = {user}
password = {password}
cnx-pool-size = {connections}
in-doubt = {in_doubt}
connect-timeout = 120s
protocol-timeout = 120s
copy-in-sent = no
"""
_WITH_MAILBOX = """
[pop-client]
type = IMAP
server = 127.0.0.1
port = {port}
pop-connection-security = none
mailbox = {user}
password = {password}
connect-timeout = 120s
protocol-timeout = 120s
"""
_SENT = "Sent"


class Letter(NamedTuple):
    """A message to be queued."""

    message_id: str
    recipients: tuple[str, ...]
    octets: bytes


def letters(seed: int, count: int) -> Iterator[Letter]:
    """Mostly small messages to one; some large, some to several of whom the last is refused for now at first."""
    chance = random.Random(f"{seed} queue")
    for number in range(count):
        size = _LARGE if number % 50 == 31 else chance.randint(500, 4000)
        people = [f"to{number}@example.test"]
        if number % 8 == 5:
            people += [f"also{number}@example.test"]
        if number % 16 == 13:
            people += [f"later{number}@example.test"]
        message_id = f"<{number}@drain.test>"
        head = f"From: {SENDER}\r\nTo: {people[0]}\r\nSubject: Letter {number}\r\nDate: Mon, 02 Feb 2026 03:04:05 +0000\r\n"
        text = chance.randbytes(size // 2).hex()
        body = "\r\n".join((". " if start % 5 else "") + text[start : start + 76] for start in range(0, len(text), 76))
        yield Letter(message_id, tuple(people), f"{head}Message-ID: {message_id}\r\n\r\n{body}\r\n".encode())


class Queue:
    """A store in which all of that waits to be sent."""

    def __init__(self, folder: Path, seed: int, count: int) -> None:
        self._folder = folder
        self._letters = list(letters(seed, count))
        self.queued = {letter.message_id: hashlib.sha256(letter.octets).hexdigest() for letter in self._letters}
        self.deferred = [address for letter in self._letters for address in letter.recipients if address.startswith("later")]
        self.deliveries = sum(len(letter.recipients) for letter in self._letters)
        folder.mkdir(parents=True)
        here = Here(folder)
        here.configure("hold", port=1)
        here.within(self._hand_in)

    async def _hand_in(self, core: Core) -> None:
        envelopes = [RawEnvelope(SENDER, tuple(map(Recipient, letter.recipients))) for letter in self._letters]
        handed = [submit_raw(core, each.octets, to, Hand()) for each, to in zip(self._letters, envelopes, strict=True)]
        await asyncio.gather(*handed)

    def copied(self, directory: Path) -> Here:
        """A folder of its own with this queue."""
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(self._folder, directory)
        return Here(directory)


class Here:
    """A folder with a configuration and a store."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "postroom.ini"

    def configure(self, in_doubt: InDoubt, port: int, imap_port: int = 0) -> None:
        """Let this be sent there; with ``imap_port`` copies can be looked for."""
        text = _CONFIGURATION.format(
            data=self.directory / "data",
            port=port,
            user=SENDER,
            password=PASSWORD,
            connections=CONNECTIONS,
            in_doubt=in_doubt,
        )
        text += _WITH_MAILBOX.format(port=imap_port, user=SENDER, password=PASSWORD) if imap_port else ""
        self.file.write_text(text)

    def within(self, do: Callable[[Core], Awaitable[T]]) -> T:
        """Do something with the store, as a command does."""

        async def main() -> T:
            async with for_command(Live(load(self.file, {}), {})) as core:
                return await do(core)

        return asyncio.run(main())

    def recorded(self) -> list[Recorded]:
        """Every submission with its history."""

        async def look(core: Core) -> list[Recorded]:
            outbox = core.store.outbox
            return [Recorded(row, tuple(await outbox.passages(row.id))) async for row in outbox.pages(Asked())]

        return self.within(look)


@dataclass
class Record:
    """The server, and what it took over since ``begin``."""

    server: SmtpFaults
    dovecot: Dovecot  # where it files copies in Sent, of what who looks sends
    _begun: int = 0  # octets of the record
    _kept: dict[int, Copy] = field(default_factory=dict)

    def begin(self, way: Way) -> None:
        """Forget what was; orders and record begin anew, and the server is as this way wants it."""
        for number in self._kept:
            self.server.throw_away(number)
        self._kept.clear()
        self._begun = self.server.ledger.stat().st_size
        self.calm(way)
        if way.looks:
            self.dovecot.clear(SENDER)

    def calm(self, way: Way) -> None:
        """Take back what was ordered."""
        self.server.reset()
        keywords = tuple(word for word in Manner().keywords if way.chunking or word != "CHUNKING")
        self.server.behave(Manner(auth_in_clear=True, keywords=keywords, sent_folder=_SENT if way.looks else ""))

    @property
    def count(self) -> int:
        """How many messages were taken over."""
        return self._lines().count(b"\n")

    def copies(self) -> list[Copy]:
        """What was taken over, once nobody is logged in any more."""
        wait_for(lambda: not self.server.logins(), "the end of all conversations", timeout=PATIENCE)
        for line in self._lines().splitlines():
            entry = json.loads(line)
            number = int(entry["number"])
            if number not in self._kept:
                digest = hashlib.sha256(self.server.octets(number)).hexdigest()
                self._kept[number] = Copy(entry["message_id"], tuple(entry["recipients"]), digest)
        return list(self._kept.values())

    def octets(self) -> list[bytes]:
        """The octets of what was taken over."""
        self.copies()
        return [self.server.octets(number) for number in self._kept]

    def _lines(self) -> bytes:
        with self.server.ledger.open("rb") as file:
            file.seek(self._begun)
            return file.read()
