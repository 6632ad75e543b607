"""The only place that reads the time. Everything else is handed a ``Clock``; tests hand over one they move themselves."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Protocol


class Clock(Protocol):
    """Time as the program sees it."""

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""

    def monotonic(self) -> float:
        """Seconds that never run backwards, from an arbitrary beginning."""

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""

    def jitter(self, seconds: float, share: float = 0.1) -> float:
        """``seconds`` more or less by up to that share, so that many clients do not come at one instant."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def jitter(self, seconds: float, share: float = 0.1) -> float:
        return seconds * (1 + random.uniform(-share, share))  # noqa: S311 - spreading load, not a secret
