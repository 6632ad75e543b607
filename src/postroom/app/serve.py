"""The composition root: here, and in tests, implementations are made and joined."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from postroom import __version__, events
from postroom.app.config import Live
from postroom.app.core import Core, opened
from postroom.app.listener.keeping import Keeping
from postroom.app.observing import Log
from postroom.app.sending import senders_of
from postroom.clock import Clock, SystemClock
from postroom.engine.budget import Budget
from postroom.engine.read import Progress
from postroom.engine.senders import Senders
from postroom.engine.supervise import Result, Supervisor
from postroom.engine.watch import Surroundings
from postroom.engine.work import Worker
from postroom.errors import StoreError
from postroom.model import Condition
from postroom.settings import Fault, Severity
from postroom.store.commands import Verb

T = TypeVar("T")
AT_ONCE = 16  # mailboxes read at the same time by run --once
_FORECAST = 3600.0  # seconds between looks at what will end
_LOOK = 2000  # milliseconds between looks at the files that nothing was told of
_NOTICE = 0.5  # seconds between looks at what persons tell the service


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop where it exists, else on asyncio's own loop."""
    # A thread that comes back from the disk waits for the interpreter's lock up to this long; 5 ms by default.
    sys.setswitchinterval(0.001)
    # A burst of mail makes many short-lived records and no cycles; collecting after each 700 of them finds nothing.
    gc.set_threshold(20_000, 20, 20)
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


def silent(client: str, folder: str, captured: int, octets: int, left: int | None) -> None:
    """Progress that nobody looks at."""


@dataclass
class Service:
    """A running Postroom within its own event loop."""

    core: Core
    log: Log
    supervisor: Supervisor
    senders: Senders
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    told: set[tuple[str, str]] = field(default_factory=set)  # properties without effect, by section
    awaited: dict[str, list[str]] = field(default_factory=dict)  # by section, the options told of that wait for a restart
    at_start: tuple[str, ...] = ()  # sections told of that wait for the next start
    listening: Keeping | None = None

    def reload(self) -> None:
        """Read the file again: a changed mailbox begins its next cycle, a changed account is restarted or waits for that."""
        live = self.core.live
        known = live.configuration.faults
        changes = live.reload()
        report_faults(live, self.log, known, self.told)
        if changes.added or changes.removed or changes.changed:
            self.log.event(
                events.CONFIG_CHANGED,
                added=", ".join(changes.added),
                removed=", ".join(changes.removed),
                changed=", ".join(changes.changed),
            )
        for section in changes.restart_pending:
            if live.configuration.settings.restart_changed_clients:
                self.restart(section)
        awaited = {section: live.pending(section) for section in changes.restart_pending if live.pending(section)}
        for section, options in awaited.items():
            if self.awaited.get(section) != options:
                self.log.event(events.RESTART_PENDING, client=section, options=", ".join(options))
        self.awaited = awaited
        for section in changes.waiting:
            if section not in self.at_start:
                self.log.event(events.WAITING_FOR_START, section=section)
        self.at_start = changes.waiting
        if changes.applications:
            self.log.event(events.APPLICATIONS_CHANGED, applications=", ".join(changes.applications))
            self.supervisor.worker.tell()  # a new one begins
        self.changed([*changes.added, *changes.removed, *changes.changed])
        if self.listening is not None:
            self.listening.changed()

    def restart(self, section: str) -> bool:
        """Let a changed smtp-client run with what is written; False where that cannot be used."""
        options = self.core.live.pending(section)
        if not self.core.live.restart(section):
            return False
        self.awaited.pop(section, None)  # what is written next is told of, be it the same options
        self.log.event(events.CLIENT_CHANGED, client=section, options=", ".join(options))
        self.senders.restart(section)
        return True

    def changed(self, sections: Iterable[str]) -> None:
        """These clients have other settings or consents now, or are new, or gone."""
        sections = list(sections)  # one that is gone may have been of either sort; each passes over what is not its own
        self.supervisor.changed(sections)
        self.senders.changed(sections)

    async def obey(self) -> None:
        """Carry out what persons told since the last look. Raises ``StoreError``."""
        changed = await self.core.look_at_pauses()
        self.changed(changed)
        for section in changed:
            if section in self.core.live.configuration.senders:
                self.senders.pause(section, on=section in self.core.paused)
        for command in await self.core.store.commands.open():
            # Before it is written down as done: a restart that is repeated is one too many, one that is lost is none.
            if command.verb is Verb.RESTART and (self.supervisor.restart(command.client) or self.restart(command.client)):
                self.log.event(events.BEGUN_ANEW, client=command.client, by=command.asked_by)
            await self.core.store.commands.done(command)


def report_faults(live: Live, log: Log, known: Collection[Fault] = (), told: set[tuple[str, str]] | None = None) -> None:
    """Every fault and warning of the configuration that is not known yet.

    A property of JavaMail that has no effect is named once for its section (``told``), wherever its line moves.
    """
    told = set() if told is None else told
    for fault in live.configuration.faults:
        if fault in known:
            continue
        if fault.severity is Severity.WARNING and fault.option.lower().startswith("mail."):
            if (fault.section, fault.option) in told:
                continue
            told.add((fault.section, fault.option))
        if fault.severity is Severity.FAULT:
            log.event(events.CONFIG_FAULT, fault=str(fault))
        else:
            log.event(events.CONFIG_WARNING, warning=str(fault))


@contextlib.asynccontextmanager
async def assembled(
    live: Live,
    log: Log,
    clock: Clock,
    progress: Progress = silent,
    environment: Mapping[str, str] = os.environ,
) -> AsyncIterator[Service]:
    """All parts joined, nothing started yet."""
    async with opened(live, clock, log, log.trace, environment) as core:
        worker = Worker(core.store, clock, log, lambda: live.configuration.applications, core.arrivals)
        interval = live.configuration.settings.audit_interval
        around = Surroundings(core.store, core.kit, log, progress, worker.tell, Budget(clock, log), interval, core.paused)
        yield Service(core, log, Supervisor(core.mailbox, around, worker), senders_of(core))


async def run_service(live: Live, log: Log, clock: Clock | None = None) -> None:
    """Run until told to stop (SIGTERM, SIGINT). SIGHUP, or an edit of the file, reloads."""
    async with assembled(live, log, clock or SystemClock()) as service, _web(service) as address:
        report_faults(live, log, told=service.told)
        clients, senders = list(live.configuration.clients), list(live.configuration.senders)
        count = len(clients) + len(senders)
        log.event(events.STARTED, version=__version__, config=str(live.configuration.file), clients=count, web=address)
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, service.ended.set)
        loop.add_signal_handler(signal.SIGHUP, service.reload)
        watching = asyncio.create_task(_watch_files(service))
        await service.core.look_at_consents()
        await service.core.look_at_pauses()
        service.supervisor.start(clients)
        service.senders.start(senders, paused=set(senders) & set(service.core.paused))
        service.core.hears.append(service.senders.tell)
        looking = asyncio.create_task(_notice(service))
        service.listening = Keeping(service.core, log)
        listening = asyncio.create_task(service.listening.run())
        await service.ended.wait()
        service.core.arrivals.end()
        for task in (watching, looking, listening):
            task.cancel()
        await asyncio.gather(watching, looking, listening, return_exceptions=True)
        await asyncio.gather(service.supervisor.stop(), service.senders.stop())
        log.event(events.STOPPED)


@contextlib.asynccontextmanager
async def _web(service: Service) -> AsyncIterator[str]:
    """The API, health and metrics. A ``web`` section that cannot be used as written is not served in any other way."""
    configuration = service.core.live.configuration
    if any(section.lower() == "web" for section in configuration.faulty):
        yield ""
        return
    from postroom.app.rest.server import serving  # what only the service needs is loaded by it alone

    async with serving(service.core, service.log, service.reload) as address:
        yield address


async def _notice(service: Service) -> None:
    """Notice what another process, or the API, put into the store, and tell of what will end; by looking now and then.

    What others wrote twice a second, consents and cut-overs each two seconds.
    """
    from postroom.app.forecasting import announce  # run --once has no use for it

    clock, told_at, looked_at, version = service.core.clock, -math.inf, -math.inf, 0
    while True:
        try:
            await service.obey()
            if (found := await service.core.store.foreign_version()) != version:
                version = found
                service.senders.tell()
                service.supervisor.worker.tell()
            now = clock.monotonic()
            if now - looked_at >= _LOOK / 1000:
                looked_at = now
                service.changed(await service.core.look_at_consents())
                await service.core.keep_pending()
            if now - told_at >= _FORECAST:
                told_at = now
                await announce(service.core, service.log)
        except StoreError as error:
            service.log.event(events.STORE_TROUBLE, client="", error=str(error), remedy=error.remedy, seconds=_LOOK / 1000)
            await clock.sleep(_LOOK / 1000)
        await clock.sleep(_NOTICE)


async def _watch_files(service: Service) -> None:
    """Reload when the file changes, or one that a value names.

    Their folders tell of most changes at once. Of some they do not tell: a link that is turned to another folder, a folder
    that was not there, an edit before the first look. So the files are looked at as well, now and then and once at the start.
    """
    seen: dict[Path, object] = {}
    while True:
        configuration = service.core.live.configuration
        files = {configuration.file, *configuration.named_files}
        async with contextlib.aclosing(_stirrings(files)) as stirrings:
            async for _ in stirrings:
                now = {path: _stamp(path) for path in files}
                if now != seen:
                    seen = now
                    service.reload()
                    break


async def _stirrings(files: Iterable[Path]) -> AsyncGenerator[None, None]:
    """Yield whenever something happened in the files' folders, and now and then. Editors put a new file in place."""
    from watchfiles import awatch

    folders = {folder for path in files for folder in (path.absolute().parent, path.resolve().parent) if folder.is_dir()}
    watching = awatch(
        *folders, watch_filter=None, recursive=False, debounce=200, step=50, rust_timeout=_LOOK, yield_on_timeout=True
    )
    try:
        async with contextlib.aclosing(watching):
            async for _changes in watching:
                yield
    except (OSError, RuntimeError):  # a folder went away, or the system has no more watches
        await asyncio.sleep(_LOOK / 1000)
        yield


def _stamp(path: Path) -> object:
    """What differs when a file does; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


async def run_once(
    live: Live,
    log: Log,
    sections: Sequence[str],
    progress: Progress = silent,
    clock: Clock | None = None,
    cycles: int | None = None,
) -> list[Result]:
    """Read every mailbox whole, or for so many cycles, and do all work, then end."""
    async with assembled(live, log, clock or SystemClock(), progress) as service:
        report_faults(live, log)
        await service.core.look_at_consents()
        await service.core.look_at_pauses()
        return await service.supervisor.once(sections, AT_ONCE, cycles)


async def send_once(live: Live, log: Log, sections: Sequence[str], clock: Clock | None = None) -> list[Condition]:
    """Send all that is due, then end; how each account stands. A paused one sends nothing."""
    async with assembled(live, log, clock or SystemClock()) as service:
        await service.core.look_at_consents()
        await service.core.look_at_pauses()
        return await service.senders.once(section for section in sections if section not in service.core.paused)
