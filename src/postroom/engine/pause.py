"""Wait for the time to pass or for something to happen, whichever is first."""

from __future__ import annotations

import asyncio

from postroom.clock import Clock


async def pause(clock: Clock, seconds: float, woken: asyncio.Event) -> bool:
    """Sleep; True when the event ended it early. The event stays set."""
    sleeping = asyncio.create_task(clock.sleep(seconds))
    waking = asyncio.create_task(woken.wait())
    try:
        await asyncio.wait([sleeping, waking], return_when=asyncio.FIRST_COMPLETED)
        return woken.is_set()
    finally:
        for task in (sleeping, waking):
            task.cancel()
        await asyncio.gather(sleeping, waking, return_exceptions=True)
