"""``python -m bench.repair [MESSAGES ...]``: a repair's memory and time, over a folder that is made up row by row.

Everything was had; then the folder has another UIDVALIDITY. The reader holds no message, so that what is measured is what
Postroom holds. ``tracemalloc`` sees Python's memory; SQLite's cache is bounded by its own setting.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
import tracemalloc
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fakes import Recorder, client
from postroom import events
from postroom.clock import SystemClock
from postroom.drivers import First, Settlement
from postroom.engine.process import process
from postroom.engine.read import FolderCycle
from postroom.model import Absent, Changes, Fetched, Lease, Listed, Preview, Unfetched, Unsettled, WorkKind
from postroom.settings import FirstRead
from postroom.store import Store


@dataclass
class EndlessReader:
    """A ``Reader`` of so many messages that exist only while they are asked for."""

    messages: int
    validity: int = 1
    fetched: int = 0

    async def changes(self, folder: str, since: str | None, limit: int, first: First = FirstRead.ALL) -> Changes:
        validity, oldest = (self.validity, self.messages) if since is None else json.loads(since)
        if validity != self.validity:
            return Changes((), "", reset=f"UIDVALIDITY was {validity} and is {self.validity}")
        low = max(0, oldest - limit)
        created = tuple(Listed(f"{validity}/{uid}", 200 + uid % 50, f"day {uid // 3}") for uid in range(oldest, low, -1))
        began = json.dumps([validity, self.messages]) if since is None else ""
        return Changes(created, json.dumps([validity, low]), more=low > 0, total=self.messages, left=low, began=began)

    async def headers(self, folder: str, listed: Sequence[Listed]) -> Mapping[str, bytes]:
        return {each.identifier: _header(each) for each in listed}

    async def preview(self, folder: str, first: First) -> Preview:
        return Preview(self.messages, self.messages * 200)

    async def fetch(self, folder: str, listed: Sequence[Listed]) -> AsyncIterator[Fetched | Absent | Unfetched]:
        for each in listed:
            self.fetched += 1
            yield Fetched(each, _header(each) + b"text")

    async def fetch_headers(self, folder: str, listed: Sequence[Listed]) -> AsyncIterator[Fetched | Absent | Unfetched]:
        for each in listed:
            yield Fetched(each, _header(each))

    async def settle(self, folder: str, items: Sequence[Unsettled], target: str | None) -> Settlement:
        return Settlement(tuple(item.listed.identifier for item in items))

    async def census(self, folder: str) -> AsyncIterator[Sequence[Listed]]:
        for uid in range(self.messages, 0, -1):
            yield [Listed(f"{self.validity}/{uid}", 200 + uid % 50, f"day {uid // 3}")]

    async def commit(self) -> Sequence[str]:
        return ()

    def stands(self) -> bool:
        return True

    async def wait(self, seconds: float) -> None:
        raise NotImplementedError


def _header(listed: Listed) -> bytes:
    return b"Message-ID: <%b@example.org>\r\n\r\n" % listed.identifier.partition("/")[2].encode()


@dataclass(frozen=True)
class Measured:
    """What a repair of a folder took."""

    messages: int
    matched: int
    fetched: int
    seconds: float
    peak: int  # octets above what was held before


async def measure(messages: int, directory: Path) -> Measured:
    """Read a folder, change its UIDVALIDITY, and repair it."""
    clock, observer = SystemClock(), Recorder()
    store = Store(directory, clock, f"file:{directory / 'vault.key'}", {})
    reader = EndlessReader(messages)
    source = await store.source("IMAP", "mail.example.org", "a@example.org")
    (lease,) = await store.acquire(source, ["INBOX"])
    await _read(store, reader, lease, observer)
    while work := await store.claim(WorkKind.PROCESS, 2000):
        await store.finish_process(await process(store, work))
    reader.validity, reader.fetched = 2, 0
    tracemalloc.start()
    began = time.monotonic()
    await _read(store, reader, lease, observer)
    seconds = time.monotonic() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    store.close()
    (told,) = observer.of(events.REBORN)
    assert isinstance(told["matched"], int)
    return Measured(messages, told["matched"], reader.fetched, seconds, peak)


async def _read(store: Store, reader: EndlessReader, lease: Lease, observer: Recorder) -> None:
    while (await FolderCycle(client(), "INBOX", lease, reader, store, SystemClock(), observer, lambda *_: None).run()).more:
        pass


def main() -> None:
    """Measure folders of these sizes, each in a store of its own."""
    parser = argparse.ArgumentParser(prog="bench.repair")
    parser.add_argument("messages", nargs="*", type=int, default=[2000, 20_000, 200_000])
    for messages in parser.parse_args().messages:
        with tempfile.TemporaryDirectory() as name:
            took = asyncio.run(measure(messages, Path(name)))
        print(
            f"{took.messages:>8,} messages: {took.matched:,} matched, {took.fetched:,} fetched, {took.seconds:.1f} s, "
            f"{took.peak / 1e6:.1f} MB at the most",
            flush=True,
        )


if __name__ == "__main__":
    main()
