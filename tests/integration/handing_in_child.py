"""A process that forks listeners, each of which dies at an instant of its own.

Each line of its input is a number of seconds; what it forks then listens over the store in the directory that is its argument,
prints its port, and is ended by the kernel without a chance to tidy up, as by SIGKILL, when it has computed for so long: a busy
machine makes it no shorter.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from handing_in import OPEN, SENDERS, post


async def _listen(directory: Path, seconds: float) -> None:
    async with post(directory, SENDERS + OPEN) as office:
        os.write(1, b"%d\n" % office.port)
        signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF, which nothing here handles
        await asyncio.Event().wait()


def main() -> None:
    directory = Path(sys.argv[1])
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(_listen(directory, float(line)))
            os._exit(1)
        _, status = os.waitpid(child, 0)
        os.write(1, b"%d\n" % -os.WTERMSIG(status))


if __name__ == "__main__":
    main()
