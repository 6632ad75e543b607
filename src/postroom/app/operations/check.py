"""``postroom check``: log in everywhere for real. Nothing is read into the store and nothing is changed at a server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from postroom.app.config import Live
from postroom.app.core import Core, opened
from postroom.app.observing import Quiet
from postroom.clock import SystemClock
from postroom.drivers import open_reader
from postroom.errors import PostroomError

_AT_ONCE = 16


@dataclass(frozen=True)
class Finding:
    """One client: what works, or what does not and the remedy."""

    client: str
    ok: bool
    words: str
    remedy: str = ""

    def as_dict(self) -> dict[str, object]:
        """For programs."""
        return asdict(self)


async def check(live: Live, sections: Sequence[str]) -> list[Finding]:
    """Log in to each client's mailbox and open its folders."""
    clock = SystemClock()
    log = Quiet(live, clock)
    gate = asyncio.Semaphore(_AT_ONCE)

    async with opened(live, clock, log, log.trace) as core:
        core.kit.tokens.remembers_refusals = False  # what was mended at the authority must show here

        async def one(section: str) -> Finding:
            async with gate:
                return await _check(core, section)

        return list(await asyncio.gather(*(one(section) for section in sections)))


async def _check(core: Core, section: str) -> Finding:
    configuration = core.live.configuration
    if section not in configuration.clients:
        faults = configuration.faults_of(section)
        return Finding(section, False, " ".join(map(str, faults)), "Correct the named lines.")
    mailbox = core.mailbox(section)
    if mailbox is None:
        return Finding(section, True, "disabled (enable-client = false)")
    try:
        place = core.kit.providers.place_of(mailbox.client, mailbox.authorities)
        async with open_reader(mailbox, core.kit) as reader:
            counts = [await reader.changes(folder, None, 1) for folder in mailbox.client.folder_path]
    except PostroomError as error:
        return Finding(section, False, str(error), error.remedy)
    folders = ", ".join(
        f"{folder} {changes.total or 0}" for folder, changes in zip(mailbox.client.folder_path, counts, strict=True)
    )
    how = "with a token" if mailbox.client.uses_oauth else "with the password"
    return Finding(section, True, f"logged in at {place.host}:{place.port} as {mailbox.client.mailbox} {how}; {folders}")
