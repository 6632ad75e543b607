"""How the one task of a connection waits: for octets to come, and for those that it wrote to leave."""

from __future__ import annotations

import asyncio


class Flow(asyncio.BaseProtocol):
    """The waits of a protocol's task, and what the event loop calls to end them."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None

    async def _woken(self, seconds: float) -> None:
        """Return when ``_wake`` is called. Raises ``TimeoutError``."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _taken(self, seconds: float) -> None:
        """Return when the peer keeps up with what was written. Raises ``TimeoutError``."""
        if self._drained is not None:
            async with asyncio.timeout(seconds):
                await self._drained

    def pause_writing(self) -> None:
        self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None
