"""A process that has loaded all of Postroom, and forks what it is told to: a start takes no interpreter's start.

Each line of its input is an order in JSON, each line of its output the answer. ``{"wait": PID}`` answers how that child ended;
any other order makes one, see ``nursery.Nursery``, and answers its number.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

_LOADED = (
    "json",
    "urllib.request",
    "uvloop",
    "httptools",
    "postroom.__main__",
    "postroom.app.cli",
    "postroom.app.serve",
    "postroom.app.listener.keeping",
    "postroom.app.operations.once",
    "postroom.app.operations.outbox",
    "postroom.app.rest.server",
    "postroom.drivers.smtp",
    "watchfiles",
    "crash.steps",
)


def main() -> None:
    """Serve until the input ends."""
    for name in _LOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
        elif not (answer := os.fork()):
            _become(order)
        os.write(1, b"%d\n" % answer)


def _become(order: dict[str, Any]) -> None:
    """Be the process that the order describes. Never returns."""
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(order["directory"])
        os.environ.update(order["environment"])
        _redirect(order)
        if order["ahead"]:
            _go_ahead(order["ahead"])
        steps = importlib.import_module("crash.steps").install(order["die_at"]) if order["steps"] else None
        try:
            _run(order)
            status = 0
        finally:
            if steps is not None:
                Path(order["steps"]).write_text(str(steps.passed))
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001 - as the interpreter does at its end
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _run(order: dict[str, Any]) -> None:
    if order["file"]:
        sys.argv = [order["file"], *order["arguments"]]
        runpy.run_path(order["file"], run_name="__main__")
        return
    sys.argv = ["postroom", *order["arguments"]]
    importlib.import_module("postroom.__main__").main()


def _redirect(order: dict[str, Any]) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    out = os.open(order["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    err = os.open(order["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for file, number in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(file, number)
        os.close(file)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - for as long as the process lives


def _go_ahead(seconds: float) -> None:
    """The machine's clock stands ahead for this process."""
    clock = importlib.import_module("postroom.clock").SystemClock
    clock.now = lambda _: time.time() + seconds


if __name__ == "__main__":
    main()
