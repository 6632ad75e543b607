"""What every operation works with: the configuration that runs, the store, the kit. ``Core`` carries, and does nothing."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from postroom.app.config import Live
from postroom.clock import Clock, SystemClock
from postroom.drivers import Account, Kit, Mailbox
from postroom.drivers.provider import Providers
from postroom.engine.applications import Arrivals
from postroom.events import Observer
from postroom.model import Disposition
from postroom.net.http import Http
from postroom.net.stream import Dialer, Trace
from postroom.net.tokens import Tokens
from postroom.settings import PopClient
from postroom.settings.words import BigMessages
from postroom.store import Store
from postroom.store import opened as store_opened
from postroom.store.commands import Pause

T = TypeVar("T")


@dataclass(frozen=True)
class Core:
    """The parts of a running program."""

    live: Live
    store: Store
    kit: Kit
    observer: Observer
    clock: Clock

    consented: dict[str, float] = field(default_factory=dict)  # when each section's consent was given, as last looked

    shadowed: set[str] = field(default_factory=set)  # sections whose mailbox another system has, as last looked

    kept_pending: dict[str, tuple[str, ...]] = field(default_factory=dict)  # options that wait for a restart, as last written
    arrivals: Arrivals = field(default_factory=Arrivals)  # of messages for applications, in this process

    paused: dict[str, Pause] = field(default_factory=dict)  # clients that stand still until they are resumed, as last looked

    hears: list[Callable[[str], None]] = field(default_factory=list)  # who sends, and is told of mail by its section

    def handed_in(self, section: str) -> None:
        """There is mail for an account."""
        for tell in self.hears:
            tell(section)

    def mailbox(self, section: str, *, also_disabled: bool = False) -> Mailbox | None:
        """A section's mailbox as configured now; None when it is removed, faulty from the start, disabled or paused."""
        client = self.live.client(section)
        if client is None or not ((client.enable_client and section not in self.paused) or also_disabled):
            return None
        secret, authority = self.live.used(self.live.configuration, client)
        authorities = {} if authority is None else {authority.name: authority}
        proxy = self.live.configuration.proxy_of(client)
        shadow = section in self.shadowed
        if shadow:
            client = beside_another(client)
        return Mailbox(client, secret, authorities, self.consented.get(section), proxy, shadow)

    def account(self, section: str) -> Account | None:
        """An smtp-client's account as it runs; None when it is removed, or was faulty from the start."""
        running = self.live.running(section)
        if running is None:
            return None
        authorities = {} if running.authority is None else {running.authority.name: running.authority}
        return Account(running.client, running.secret, authorities, self.consented.get(section), running.proxy)

    def login(self, section: str, *, also_disabled: bool = False) -> Mailbox | Account | None:
        """What logs in for a section: a pop-client's mailbox or an smtp-client's account."""
        return self.mailbox(section, also_disabled=also_disabled) or self.account(section)

    async def look_at_consents(self) -> list[str]:
        """See which consents are in the vault, and which mailboxes another system has; the sections where that changed since."""
        shadowed = {shadow.client for shadow in await self.store.shadows.all() if shadow.taken_at is None}
        moved = shadowed ^ self.shadowed
        self.shadowed.clear()
        self.shadowed.update(shadowed)
        found = {consent.client: consent.made_at for consent in await self.store.consents()}
        changed = [section for section in {*found, *self.consented} if found.get(section) != self.consented.get(section)]
        self.consented.clear()
        self.consented.update(found)
        return [*changed, *sorted(moved.difference(changed))]

    async def keep_pending(self) -> None:
        """Write down which options of smtp-clients wait for a restart, for other processes to show."""
        pending = {section: tuple(names) for section in self.live.configuration.senders if (names := self.live.pending(section))}
        if pending != self.kept_pending:
            await self.store.pending.keep(pending)
            self.kept_pending.clear()
            self.kept_pending.update(pending)

    async def look_at_pauses(self) -> list[str]:
        """See who is paused; the sections where that changed since."""
        found = await self.store.commands.pauses()
        changed = sorted(found.keys() ^ self.paused.keys())
        self.paused.clear()
        self.paused.update(found)
        return changed


def beside_another(client: PopClient) -> PopClient:
    """The settings under which a mailbox is read that another system has: nothing is changed at the server."""
    big = BigMessages.HEADERS if client.big_messages is BigMessages.DELETE else client.big_messages
    return replace(client, after_capture=Disposition.KEEP, big_messages=big, failed_items_folder_path=None)


def vault_key(live: Live) -> str:
    """The vault's key as the store wants it: ``file:PATH``, or another form as written."""
    key = live.configuration.settings.vault_key
    return key if isinstance(key, str) else f"file:{key}"


@asynccontextmanager
async def opened(
    live: Live,
    clock: Clock,
    observer: Observer,
    trace: Callable[[str], Trace],
    environment: Mapping[str, str] = os.environ,
) -> AsyncIterator[Core]:
    """The parts, joined; everything is closed at the end. Raises ``StoreError`` and its kinds."""
    dialer = Dialer()
    http = Http(dialer)
    with store_opened(live.configuration.settings.data_directory, clock, vault_key(live), environment) as store:
        kit = Kit(clock, dialer, http, Tokens(store, http, clock), Providers(), trace)
        try:
            yield Core(live, store, kit, observer, clock)
        finally:
            await http.close()


@asynccontextmanager
async def for_command(live: Live) -> AsyncIterator[Core]:
    """The parts, for a command that answers on standard output."""
    from postroom.app.observing import Quiet

    clock = SystemClock()
    log = Quiet(live, clock)
    async with opened(live, clock, log, log.trace) as core:
        yield core


async def at_work(live: Live, do: Callable[[Core], Awaitable[T]]) -> T:
    """Do one thing with the parts, for a command that answers on standard output, and close them."""
    async with for_command(live) as core:
        return await do(core)
