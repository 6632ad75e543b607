"""Run a loop for ever: an error that nobody foresaw ends neither the process nor the other loops."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Coroutine

from postroom import events
from postroom.clock import Clock
from postroom.errors import words_of
from postroom.events import Observer

_AGAIN = 30.0  # seconds after an unforeseen error


async def guarded(clock: Clock, observer: Observer, where: str, run: Callable[[], Coroutine[object, object, None]]) -> None:
    """Run; after an error that nobody foresaw tell of it with its trace, and begin anew."""
    while True:
        try:
            return await run()
        except Exception as error:  # noqa: BLE001 - one client's defect must not end the others
            unforeseen(observer, where, error)
        await clock.sleep(_AGAIN)


def unforeseen(observer: Observer, where: str, error: Exception) -> None:
    """Tell of an error that nobody foresaw."""
    # The places alone: a trace with values could show what passed through.
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    observer.event(events.UNFORESEEN, where=where, error=words_of(error), trace=" < ".join(reversed(places)))
