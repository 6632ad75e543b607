"""The real ``postroom`` as the demo runs it: the service as a child process, and commands that are asked for JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from postroom.sandbox.demo_record import Broken

LINE_LIMIT = 1 << 20  # octets of a log line
FAREWELL = 15.0  # seconds for the service to end

# A session of their own keeps the terminal's Ctrl-C from the children: the demo ends them in its order.
_POSTROOM = (sys.executable, "-m", "postroom")


class Service:
    """``postroom run``. Use it as ``async with``; its log goes to a file and, line by line, to ``heard``."""

    def __init__(self, configuration: Path, log: Path, heard: Callable[[Mapping[str, Any]], None]) -> None:
        self._configuration = configuration
        self._log = log
        self._heard = heard
        self._process: Process | None = None
        self._following: asyncio.Task[None] | None = None
        self._strange: deque[str] = deque(maxlen=5)  # lines that are no JSON: Python's or the command line's own

    async def __aenter__(self) -> Service:
        self._process = await asyncio.create_subprocess_exec(
            *_POSTROOM,
            "--config",
            str(self._configuration),
            "run",
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            limit=LINE_LIMIT,
            start_new_session=True,
        )
        self._following = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        await self.ended()

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    async def ended(self) -> int:
        """Return the exit status when the process is gone and its log is read to the end."""
        assert self._process is not None
        assert self._following is not None
        await asyncio.shield(self._following)
        return await self._process.wait()

    async def stop(self) -> None:
        """Ask the service to end, and see that it does. Raises ``Broken`` where it does not or ends badly."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(FAREWELL):
                status = await self.ended()
        except TimeoutError:
            raise Broken(f"the service did not end within {FAREWELL:.0f} s after SIGTERM") from None
        if status:
            raise self.failure(status)

    def failure(self, status: int) -> Broken:
        """What to say of a service that ended by itself, or badly."""
        words = "\n  ".join(line for line in self._strange if line)
        return Broken(f"the service ended with status {status}", words or f"The reason stands in {self._log}.")

    async def _follow(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._log.open("wb") as file:
            async for line in self._process.stdout:
                file.write(line)
                file.flush()
                try:
                    record = json.loads(line)
                except ValueError:
                    self._strange.append(line.decode("utf-8", "replace").rstrip())
                    continue
                self._heard(record)


async def ask(configuration: Path, *arguments: str, hears: Callable[[str], Awaitable[None]] | None = None) -> list[dict[str, Any]]:
    """Run a command to its end and return the JSON objects that it printed. Raises ``Broken`` when it fails.

    ``hears`` is told each line of its standard error at once, and may act on it; what that raises ends the command.
    """
    process = await asyncio.create_subprocess_exec(
        *_POSTROOM,
        *("--config", str(configuration), *arguments),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        limit=LINE_LIMIT,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    printing = asyncio.create_task(process.stdout.read())
    try:
        complaint = await _followed(process.stderr, hears)
        output = [json.loads(line) for line in (await printing).splitlines()]
        status = await process.wait()
    finally:
        printing.cancel()
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if status:
        raise _failed(arguments, status, output, complaint)
    return output


async def _followed(stream: asyncio.StreamReader, hears: Callable[[str], Awaitable[None]] | None) -> str:
    """All that comes, each line told as it comes."""
    lines = []
    async for octets in stream:
        line = octets.decode("utf-8", "replace").rstrip()
        lines.append(line)
        if hears is not None:
            await hears(line)
    return "\n".join(lines).strip()


def _failed(arguments: Sequence[str], status: int, output: Sequence[Mapping[str, Any]], complaint: str) -> Broken:
    """What to say of a command that failed: its own reason and remedy where it printed them, else all its complaint."""
    words = f"postroom {' '.join(arguments)} ended with status {status}"
    told = next((found for found in reversed(output) if found.get("error")), None)
    return Broken(words, complaint) if told is None else Broken(f"{words}: {told['error']}", str(told.get("remedy", "")))
