"""The listener of a running service, as the configuration says at its start."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from postroom import events
from postroom.app.core import Core
from postroom.engine.pause import pause
from postroom.errors import NetworkError, TlsError
from postroom.events import Observer

if TYPE_CHECKING:
    from postroom.app.listener.server import Listener

_AGAIN = 30.0  # seconds between two attempts to listen


class Keeping:
    """Has a listener, where one is configured. What keeps it from listening is told of, and tried again for ever: it is no
    reason for mailboxes and senders to stand still."""

    def __init__(self, core: Core, observer: Observer) -> None:
        self._core = core
        self._observer = observer
        self._news = asyncio.Event()

    def changed(self) -> None:
        """The configuration was read again, or a file that it names: a certificate may be another."""
        self._news.set()

    async def run(self) -> None:
        """Listen until cancelled."""
        if self._core.live.configuration.listener.listen is None:
            return
        while True:
            try:
                async with self._listener() as listener:
                    while True:
                        self._news.clear()
                        await self._news.wait()
                        self._read_certificate(listener)
            except NetworkError as error:
                self._news.clear()
                self._observer.event(events.LISTENER_FAILED, error=str(error), remedy=error.remedy, seconds=_AGAIN)
                await pause(self._core.clock, _AGAIN, self._news)

    def _read_certificate(self, listener: Listener) -> None:
        try:
            listener.read_certificate()
        except TlsError as error:  # mostly the moment between the two files of a renewal
            self._observer.event(events.CERTIFICATE_UNUSABLE, error=str(error), remedy=error.remedy)

    def _listener(self) -> Listener:
        from postroom.app.listener.intake import Intake, submitting  # a service without a listener has no use for them
        from postroom.app.listener.server import Listener

        core, live = self._core, self._core.live
        intake = Intake(live.route, submitting(core), self._observer, core.clock)
        return Listener(live.configuration.listener, intake, lambda: bool(live.configuration.routes), self._observer, core.clock)
