"""The command ``postroom`` by a clock that a test sets forward: ``python ahead.py FILE ARGUMENTS``.

The file holds the seconds that the clock is ahead of the machine's. Whoever sleeps wakes as if they had passed.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from postroom.__main__ import main
from postroom.clock import SystemClock

_LOOK = 0.05  # seconds


def _set_forward(file: Path) -> None:
    def ahead() -> float:
        return float(file.read_text())

    async def sleep(clock: SystemClock, seconds: float) -> None:
        until = clock.monotonic() + seconds
        while (left := until - clock.monotonic()) > 0:  # noqa: ASYNC110 - of another process' doing
            await asyncio.sleep(min(left, _LOOK))

    for name, method in (
        ("now", lambda _: time.time() + ahead()),
        ("monotonic", lambda _: time.monotonic() + ahead()),
        ("sleep", sleep),
    ):
        setattr(SystemClock, name, method)


if __name__ == "__main__":
    _set_forward(Path(sys.argv.pop(1)))
    main()
