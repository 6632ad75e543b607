"""What every operation works with: the configuration that runs, the store, the kit. ``Core`` carries, and does nothing."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from postroom.app.config import Live
from postroom.clock import Clock
from postroom.drivers import Kit, Mailbox
from postroom.drivers.provider import Providers
from postroom.events import Observer
from postroom.net.http import Http
from postroom.net.stream import Dialer, Trace
from postroom.net.tokens import Tokens
from postroom.store import Store
from postroom.store import opened as store_opened


@dataclass(frozen=True)
class Core:
    """The parts of a running program."""

    live: Live
    store: Store
    kit: Kit
    observer: Observer
    clock: Clock

    consented: dict[str, float] = field(default_factory=dict)  # when each section's consent was given, as last looked

    def mailbox(self, section: str, *, also_disabled: bool = False) -> Mailbox | None:
        """A section's mailbox as configured now; None when it is removed, faulty from the start, or disabled."""
        client = self.live.client(section)
        if client is None or not (client.enable_client or also_disabled):
            return None
        secret, authority = self.live.used(self.live.configuration, client)
        authorities = {} if authority is None else {authority.name: authority}
        proxy = self.live.configuration.proxy_of(client)
        return Mailbox(client, secret, authorities, self.consented.get(section), proxy)

    async def look_at_consents(self) -> list[str]:
        """See which consents are in the vault; the sections where that changed since the last look."""
        found = {consent.client: consent.made_at for consent in await self.store.consents()}
        changed = [section for section in {*found, *self.consented} if found.get(section) != self.consented.get(section)]
        self.consented.clear()
        self.consented.update(found)
        return changed


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
