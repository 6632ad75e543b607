"""The listener of a running service: started, restarted and ended as the configuration says."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from postroom import events
from postroom.app.core import Core
from postroom.engine.pause import pause
from postroom.errors import NetworkError
from postroom.events import Observer
from postroom.settings import ListenerSettings

if TYPE_CHECKING:
    from postroom.app.listener.server import Listener

_AGAIN = 30.0  # seconds between two attempts to listen


class Keeping:
    """Has a listener with the settings that are in force now, where there are any. ``run`` does so until it is cancelled."""

    def __init__(self, core: Core, observer: Observer) -> None:
        self._core = core
        self._observer = observer
        self._news = asyncio.Event()
        self._listener: Listener | None = None
        self._stack = contextlib.AsyncExitStack()

    @property
    def address(self) -> str:
        """Where it listens; empty while it does not."""
        return "" if self._listener is None else self._listener.address

    def changed(self) -> None:
        """The configuration was read again, or a file that it names."""
        self._news.set()

    async def run(self) -> None:
        try:
            while True:
                self._news.clear()
                seconds = 0.0
                try:
                    await self._adjust(self._core.live.configuration.listener)
                except NetworkError as error:
                    seconds = _AGAIN
                    self._observer.event(events.LISTENER_FAILED, error=str(error), remedy=error.remedy, seconds=seconds)
                await pause(self._core.clock, seconds, self._news) if seconds else await self._news.wait()
        finally:
            await self._stack.aclose()

    async def _adjust(self, wanted: ListenerSettings) -> None:
        if self._listener is not None and self._listener.settings == wanted:
            self._listener.read_certificate()
            return
        self._listener = None
        await self._stack.aclose()
        if wanted.listen is not None:
            from postroom.app.listener.intake import Intake, submitting  # a service without a listener has no use for them
            from postroom.app.listener.server import Listener

            intake = Intake(self._route, submitting(self._core), self._observer, self._core.clock)
            listener = Listener(wanted, intake, self._sends, self._observer, self._core.clock)
            self._listener = await self._stack.enter_async_context(listener)

    def _route(self, address: str) -> str | None:
        return self._core.live.configuration.route(address)

    def _sends(self) -> bool:
        return bool(self._core.live.configuration.routes)
