"""Where events and metrics go: a log on standard error, as text or JSON, and counters in memory for ``/metrics``."""

from __future__ import annotations

import contextlib
import datetime
import json
import sys
import threading
from collections.abc import Callable
from typing import TextIO

from postroom import events
from postroom.app.config import Live
from postroom.clock import Clock
from postroom.events import Event, Metric
from postroom.net.stream import Trace

_LEVELS = ("debug", "info", "warning", "error")
_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31"}


class Log:
    """Writes events; level and format are asked of the configuration each time, so that a change acts immediately."""

    def __init__(self, live: Live, clock: Clock, stream: TextIO | None = None) -> None:
        self._live = live
        self._clock = clock
        self._stream = stream or sys.stderr
        self._lock = threading.Lock()
        self.counters: dict[tuple[Metric, tuple[tuple[str, str], ...]], float] = {}

    def event(self, event: Event, **fields: object) -> None:
        settings = self._live.configuration.log
        # enable-debug asks for the trace of one client whatever the level
        if event is not events.PROTOCOL and _LEVELS.index(event.level) < _LEVELS.index(settings.level):
            return
        people = settings.format == "text" or self._stream.isatty()
        line = self._text(event, fields) if people else self._json(event, fields)
        # Whoever read the log may be gone; the mail goes on.
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()

    def count(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        key = (metric, tuple(sorted(labels.items())))
        self.counters[key] = self.counters.get(key, 0.0) + amount

    def gauge(self, metric: Metric, value: float, **labels: str) -> None:
        self.counters[metric, tuple(sorted(labels.items()))] = value

    def trace(self, section: str) -> Trace:
        """A trace of one client's conversation."""

        def line(side: str, octets: bytes) -> None:
            text = octets[:500].decode("utf-8", "backslashreplace")
            self.event(events.PROTOCOL, client=section, side=side, line=text)

        return line

    def _json(self, event: Event, fields: dict[str, object]) -> str:
        record = {"time": self._stamp(), "level": event.level, "event": event.name, **fields}
        return json.dumps(record, default=str, ensure_ascii=False)

    def _text(self, event: Event, fields: dict[str, object]) -> str:
        colour = _COLOURS[event.level] if self._stream.isatty() else ""
        level = f"\x1b[{colour}m{event.level:7}\x1b[0m" if colour else f"{event.level:7}"
        words = " ".join(f"{name}={_shown(value)}" for name, value in fields.items() if value not in ("", None))
        return f"{self._stamp()} {level} {event.name} {words}"

    def _stamp(self) -> str:
        now = datetime.datetime.fromtimestamp(self._clock.now(), datetime.UTC)
        return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Quiet(Log):
    """Counts, and writes warnings and errors only: for commands that answer on standard output."""

    def event(self, event: Event, **fields: object) -> None:
        if event.level in ("warning", "error"):
            super().event(event, **fields)


def _shown(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if " " in text or '"' in text else text


Tracing = Callable[[str], Trace]
