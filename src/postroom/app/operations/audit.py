"""``postroom audit``: what each mailbox's server holds, beside what is accounted for here. With the service running or not.

It talks to the servers in conversations of its own that change nothing there, and takes no mailbox from whoever reads it.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

import click

from postroom.app.config import Live
from postroom.app.core import Core, opened
from postroom.app.observing import Quiet
from postroom.app.terminal import FAILED, MISSING, print_json
from postroom.clock import SystemClock
from postroom.drivers import Mailbox, open_reader, place_of
from postroom.engine.audit import SHOWN, FolderAudit
from postroom.errors import PostroomError
from postroom.model import Audit, Missing, Trouble
from postroom.store.audits import Begun

_AT_ONCE = 8
_REPLACED = "another message was captured under this identifier"


@dataclass(frozen=True)
class Folder:
    """One folder's result."""

    result: Audit
    begun: Begun
    troubles: tuple[Trouble, ...]
    queued: int | None  # of the missing, with --repair

    def as_dict(self, now: float) -> dict[str, object]:
        """For programs: the numbers; ``listed`` is their sum, but for ``here_only``."""
        found = self.result
        return {
            "client": found.client,
            "folder": found.folder,
            "ok": not (found.missing or found.reset),
            "on_server": found.listed,
            "accounted": found.accounted,
            "captured": found.captured,
            "former": found.former,
            "spared": found.spared,
            "in_trouble": found.troubles,
            "left_big": found.big,
            "coming": found.coming,
            "missing": found.missing,
            "here_only": found.here_only,
            "queued": self.queued,
            "reset": found.reset or None,
            "troubles": [
                {
                    "identifier": trouble.listed.identifier,
                    "age": now - trouble.first_seen,
                    "attempts": trouble.attempts,
                    "detail": trouble.detail,
                }
                for trouble in self.troubles
            ],
        }


@dataclass(frozen=True)
class Client:
    """One client: its folders, and the error that ended its audit."""

    section: str
    folders: tuple[Folder, ...] = ()
    error: PostroomError | None = None
    words: str = ""  # why nothing was audited, where no server said so


async def audit(live: Live, sections: Sequence[str], *, named: bool, repair: bool, as_json: bool) -> int:
    """Audit and print; return the exit status. Disabled clients are audited when they are ``named``."""
    clock = SystemClock()
    log = Quiet(live, clock)
    async with opened(live, clock, log, log.trace) as core:
        await core.look_at_consents()
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(section: str) -> Client:
            async with gate:
                return await _client(core, section, named=named, repair=repair)

        clients = await asyncio.gather(*(one(section) for section in sections))
        for client in clients:
            await _show(core, client, as_json=as_json)
    if any(client.error or client.words for client in clients):
        return FAILED
    folders = [folder.result for client in clients for folder in client.folders]
    if any(found.missing for found in folders):
        return MISSING
    return FAILED if any(found.reset for found in folders) else 0


async def _client(core: Core, section: str, *, named: bool, repair: bool) -> Client:
    if section not in core.live.configuration.clients:
        return Client(section, words=" ".join(map(str, core.live.configuration.faults_of(section))))
    mailbox = core.mailbox(section, also_disabled=named)
    if mailbox is None:
        return Client(section)
    folders: list[Folder] = []
    try:
        source = await _source(core, mailbox)
        async with open_reader(mailbox, core.kit, read_only=True) as reader:
            for name in mailbox.client.folder_path:
                folder = FolderAudit(section, name, source, reader, core.store)
                if await folder.look():
                    await folder.list_coming()
                result = await folder.conclude()
                queued = await core.store.audits.requeue(folder.begun, replaced=True) if repair else None
                troubles = await core.store.troubles_of()
                here = (trouble for login, at, trouble in troubles if (login, at) == (mailbox.client.account, name))
                folders.append(Folder(result, folder.begun, tuple(here), queued))
    except PostroomError as error:
        return Client(section, tuple(folders), error)
    return Client(section, tuple(folders))


async def _source(core: Core, mailbox: Mailbox) -> int:
    client = mailbox.client
    server = place_of(mailbox, core.kit.providers).host
    return await core.store.source(client.type.value, server, client.account)


async def _show(core: Core, client: Client, *, as_json: bool) -> None:
    """Print; what is missing is taken from the store as it is printed, however much it is."""
    now = core.clock.now()
    for folder in client.folders:
        missing = core.store.audits.missing(folder.begun)
        if as_json:
            print_json(folder.as_dict(now))
            async for found in missing:
                print_json(_missing_dict(folder.result, found))
            continue
        for line in _lines(folder, now):
            click.echo(line)
        async for line in _missing_lines(missing, folder.result.missing):
            click.echo(line)
    if client.error is not None or client.words:
        words, remedy = (str(client.error), client.error.remedy) if client.error else (client.words, "Correct the named lines.")
        if as_json:
            print_json({"client": client.section, "ok": False, "error": words, "remedy": remedy})
        else:
            click.echo(f"{click.style('FAIL', fg='red')} {client.section}: {words}\n     → {remedy}")


def _missing_dict(result: Audit, found: Missing) -> dict[str, object]:
    listed = found.listed
    return {
        "client": result.client,
        "folder": result.folder,
        "identifier": listed.identifier,
        "size": listed.size or None,
        "date": listed.internal_date or None,
        "reason": _REPLACED if found.replaced else "not here",
    }


def _lines(folder: Folder, now: float) -> Iterator[str]:
    found = folder.result
    good = not (found.missing or found.reset)
    mark = click.style("ok  ", fg="green") if good else click.style("MISS" if found.missing else "FAIL", fg="red")
    place = f"{found.client}, {found.folder}"
    if found.reset:
        yield f"{mark} {place}: {found.reset}"
        yield "     → Nothing can be compared before the next cycle has read the folder anew."
        return
    yield f"{mark} {place}: {found.listed} on the server, {found.accounted} accounted for, {found.missing} missing"
    parts = [
        (found.captured, "captured"),
        (found.former, "known from another folder"),
        (found.troubles, "in trouble"),
        (found.spared, "spared by first-read"),
        (found.big, "left for their size"),
        (found.coming, "not read yet"),
        (found.here_only, "here only: gone at the server"),
    ]
    yield (
        "     " + ", ".join(f"{number} {words}" for number, words in parts if number) if any(n for n, _ in parts) else "     empty"
    )
    for trouble in folder.troubles:
        age = datetime.timedelta(seconds=round(now - trouble.first_seen))
        yield f"     trouble: {trouble.listed.identifier}, for {age}, {trouble.attempts} attempts: {trouble.detail}"
    if folder.queued is not None and found.missing:
        yield f"     {folder.queued} queued: the next cycle fetches them"
    elif found.missing:
        yield "     → postroom audit --repair queues them for the next cycle."


async def _missing_lines(missing: AsyncIterator[Missing], count: int) -> AsyncIterator[str]:
    shown = 0
    async for found in missing:
        if shown == SHOWN:
            yield f"     … and {count - shown} more; --json prints all"
            return
        shown += 1
        listed = found.listed
        size = f"{listed.size} octets" if listed.size else "named, and no more said of it"
        yield f"     missing: {listed.identifier}, {size}, {listed.internal_date or 'no date'}" + (
            f" ({_REPLACED})" if found.replaced else ""
        )


def as_dict(results: Sequence[Audit], now: float) -> dict[str, object] | None:
    """The last audits of a client's folders as status shows them; None where there was none."""
    if not results:
        return None
    return {
        "age": now - min(found.at for found in results),
        "on_server": sum(found.listed for found in results),
        "accounted": sum(found.accounted for found in results),
        "missing": sum(found.missing for found in results),
    }
