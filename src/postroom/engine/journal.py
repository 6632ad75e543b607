"""The journal of what is being sent: marks and outcomes of many conversations, in as few transactions as can be.

While one transaction is written, what the conversations want to write gathers for the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from postroom.clock import Clock
from postroom.errors import LeaseLost, StoreError
from postroom.model import Work
from postroom.outbound import Mark, Passed
from postroom.store.outbox import Outbox

_AGAIN = 1.0  # seconds between attempts to write outcomes that the store did not take


@dataclass
class Journal:
    """Writes for one loop. ``trouble`` is told when the store does not take an outcome, which then waits."""

    outbox: Outbox
    clock: Clock
    trouble: Callable[[StoreError, float], None]
    _marks: list[tuple[Mark, asyncio.Future[None]]] = field(default_factory=list)
    _passed: list[Passed] = field(default_factory=list)
    _writing: asyncio.Task[None] | None = None

    async def mark(self, work: Work, numbers: tuple[int, ...]) -> None:
        """Make it durable that the server may accept from now on.

        Raises ``LeaseLost`` where it must not be sent any more, ``StoreError``.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._marks.append((Mark(work, numbers), future))
        self._begin()
        await future

    def passed(self, passed: Passed) -> None:
        """Write an outcome soon; for as long as it takes, if the store fails."""
        self._passed.append(passed)
        self._begin()

    async def settled(self) -> None:
        """Return when all outcomes are written."""
        while self._writing is not None:
            await asyncio.shield(self._writing)

    def _begin(self) -> None:
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="journal")

    async def _write(self) -> None:
        try:
            while self._marks or self._passed:
                await self._write_all()
        finally:
            self._writing = None

    async def _write_all(self) -> None:
        marks, self._marks = self._marks, []
        passed, self._passed = self._passed, []
        try:
            refused = await self.outbox.record([mark for mark, _ in marks], passed)
        except StoreError as error:
            for _, future in marks:
                if not future.done():
                    future.set_exception(error)
            if passed:  # what the servers answered is known to nobody else
                self._passed = passed + self._passed
                self.trouble(error, _AGAIN)
                await self.clock.sleep(_AGAIN)
            return
        for mark, future in marks:
            if future.done():  # whoever asked was cancelled: it is marked, and comes back in doubt
                continue
            if mark.work.id in refused:
                future.set_exception(LeaseLost("the submission was cancelled, or another process has it"))
            else:
                future.set_result(None)
