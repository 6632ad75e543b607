"""The one place where the tests wait for another process."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

STEP = 0.005  # seconds between two looks


class NeverHappenedError(AssertionError):
    """A server did not do in time what a test waits for."""


def wait_for(look: Callable[[], T | None], what: str, *, timeout: float = 10.0) -> T:
    """The first true value that ``look`` returns; ``NeverHappenedError`` naming ``what`` after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        if found := look():
            return found
        if time.monotonic() > deadline:
            raise NeverHappenedError(f"{what}: not within {timeout:g} s")
        time.sleep(STEP)


def answers(host: str, port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def greets(host: str, port: int) -> bool:
    """Whether something accepts connections there and speaks first."""
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            return connection.recv(1) != b""
    except OSError:
        return False


def removed(directory: Path) -> bool:
    """Remove it; false while a dying process still writes there."""
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


def running_from(directory: Path) -> list[int]:
    """Processes that run a program from there, whoever started them."""
    found = []
    for link in Path("/proc").glob("[0-9]*/exe"):
        with contextlib.suppress(OSError):
            if Path(os.readlink(link)).is_relative_to(directory):
                found.append(int(link.parent.name))
    return found


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """``count`` different ports on which nobody listens.

    They lie below Linux' range for outgoing connections, so that a server that is stopped and started again finds its
    ports free; they are drawn at random, so that two runs on one machine do not draw the same, and the processes of one
    run (pytest-xdist) draw from shares of their own.
    """
    found: list[int] = []
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    for port in random.sample(range(20000 + process, 32000, processes), 1000):
        if len(found) == count:
            break
        if _is_free(host, port):
            found.append(port)
    return found


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
