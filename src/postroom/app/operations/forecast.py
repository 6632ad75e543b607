"""``postroom forecast``: what ends when, for people and programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

from postroom.app.config import Live
from postroom.app.core import opened
from postroom.app.forecasting import forecast
from postroom.app.observing import Quiet
from postroom.clock import SystemClock
from postroom.engine.forecast import DAY, Ending


@dataclass(frozen=True)
class Outlook:
    """The endings of the clients asked for, the first first, and the time that they were asked at."""

    endings: tuple[Ending, ...]
    now: float
    at: float | None  # only what will have ended by then


async def forecast_for(live: Live, sections: Sequence[str], at: float | None) -> Outlook:
    """What ends for these clients; with ``at`` only what will have ended by the end of that day."""
    clock = SystemClock()
    log = Quiet(live, clock)
    async with opened(live, clock, log, log.trace) as core:
        found = await forecast(core, clock.now())
    endings = [ending for section in sections for ending in found.get(section, [])]
    if at is not None:
        endings = [ending for ending in endings if ending.at < at + DAY]
    return Outlook(tuple(sorted(endings, key=lambda ending: ending.at)), clock.now(), at)


def as_lines(outlook: Outlook) -> Iterator[str]:
    """For people: the days left, which client, what, and what to do."""
    if not outlook.endings:
        yield "Nothing that is known of ends" + (" by then." if outlook.at is not None else ".")
    for ending in outlook.endings:
        days = ending.days(outlook.now)
        left = f"{days:.0f} days" if days >= 0 else "over"
        colour = "red" if days < 3 else "yellow" if days < 30 else None
        sure = "" if ending.certain else " (perhaps)"
        yield f"{click.style(f'{ending.day}  {left:>9}', fg=colour)}  {ending.client}: {ending.words}{sure}"
        yield f"{'':23}→ {ending.remedy}"
        if ending.source:
            yield f"{'':23}  {ending.source}"
