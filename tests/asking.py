"""The REST API over a store of its own, within a test's loop: real HTTP on loopback, no process.

``serving`` yields a ``Web``; its ``ask`` is one request. The log is kept as lines of JSON.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from fakes import HandClock
from postroom.app.config import Live, load
from postroom.app.core import Core, opened
from postroom.app.observing import Log
from postroom.app.operations.keys import create_key
from postroom.app.operations.roles import Role
from postroom.app.rest.server import serving as served
from postroom.model import Addressing, Captured, Disposition, Listed

PLAIN = "[web]\nlisten = 127.0.0.1:0\n[log]\nlevel = debug\n"


@dataclass(frozen=True)
class Told:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    octets: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.octets)


@dataclass
class Web:
    """The API, served."""

    core: Core
    clock: HandClock
    address: str
    lines: io.StringIO
    session: aiohttp.ClientSession
    bearer: str = field(default="", repr=False)

    async def key(self, role: str = "admin", *, name: str = "", clients: tuple[str, ...] = (), per_minute: int = 0) -> str:
        """Make a key."""
        _, key = await create_key(self.core, name or f"{role}-{self.clock.now()}-{id(object())}", Role(role), clients, per_minute)
        return key.reveal()

    async def ask(self, method: str, path: str, *, key: str | None = None, headers: Mapping[str, str] = {}, **body: Any) -> Told:
        """One request; with the admin's key, unless another is given or none ("")."""
        bearer = self.bearer if key is None else key
        given = {**({"Authorization": f"Bearer {bearer}"} if bearer else {}), **headers}
        async with self.session.request(method, self.address + path, headers=given, allow_redirects=False, **body) as answer:
            return Told(answer.status, answer.headers, await answer.read())

    @property
    def log(self) -> list[dict[str, Any]]:
        """All events until now."""
        return [json.loads(line) for line in self.lines.getvalue().splitlines()]


@contextlib.asynccontextmanager
async def serving(folder: Path, text: str = PLAIN) -> AsyncIterator[Web]:
    """Serve a configuration's store; ``Web.bearer`` is a key of an admin."""
    (folder / "postroom.ini").write_text(text)
    live = Live(load(folder / "postroom.ini", {}), {})
    clock, lines = HandClock(), io.StringIO()
    log = Log(live, clock, lines)
    async with (
        opened(live, clock, log, log.trace, {}) as core,
        served(core, log, live_reload(live)) as address,
        aiohttp.ClientSession() as session,
    ):
        web = Web(core, clock, address, lines, session)
        web.bearer = await web.key("admin", name="chief")
        yield web


def live_reload(live: Live) -> Callable[[], None]:
    """What the service does with an edited file, as far as it concerns the configuration."""

    def reload() -> None:
        live.reload()

    return reload


async def capture(core: Core, client: str, octets: list[bytes], *, address: str = "", first: int = 1) -> list[str]:
    """Capture messages for a client, unprocessed; their ids, the oldest first."""
    (lease,) = await core.store.acquire(await core.store.source("IMAP", "h", client), ["INBOX"])
    batch = [
        Captured(Listed(f"1/{first + number}", len(each), "day"), core.store.blobs.append(each), Disposition.KEEP)
        for number, each in enumerate(octets)
    ]
    await core.store.capture(lease, client, batch, Addressing(address))
    await core.store.release([lease])
    rows = [row async for row in core.store.messages(client=client, newest_first=True, limit=len(octets))]
    return [row.id for row in reversed(rows)]
