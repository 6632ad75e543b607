"""Postroom as a process of its own, started, killed and asked as an operator would."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crash.verdict import Kept

PATIENCE = 30.0  # seconds; who takes longer waits for what never comes, such as the process that was killed


@dataclass(frozen=True)
class Ended:
    """A process that came to its end."""

    status: int  # negative: the signal that ended it
    errors: str  # what it wrote about itself
    reported: str  # what it printed

    @property
    def reports(self) -> list[dict[str, Any]]:
        """The lines of ``--json``."""
        return [json.loads(line) for line in self.reported.splitlines()]


class CommandFailedError(Exception):
    """A command on a store that must be readable did not do its work."""


class Postroom:
    """``postroom`` with the configuration ``postroom.ini`` of a directory. Each start is a session of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._starts = 0

    def run(self, *, kill_after: float | None = None) -> Ended | None:
        """``postroom run --once``; None when it was killed after so many seconds."""
        with self.running("run", "--once", "--json") as process:
            try:
                process.wait(PATIENCE if kill_after is None else kill_after)
            except subprocess.TimeoutExpired:
                kill(process)
                if kill_after is not None:
                    return None
        return self.ended(process)

    def run_once(self) -> Ended:
        """``postroom run --once`` to its end."""
        ended = self.run()
        assert ended is not None
        return ended

    @contextlib.contextmanager
    def running(self, *arguments: str, prepare: Callable[[], None] | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """A command while it runs; whatever is left of it is killed. ``prepare`` is called in the new process."""
        self._starts += 1
        with self._printed.open("wb") as out, self._errors.open("wb") as err:
            process = subprocess.Popen(
                self._command(*arguments),
                stdout=out,
                stderr=err,
                cwd=self.directory,
                start_new_session=True,
                preexec_fn=prepare,
            )
        try:
            yield process
        finally:
            kill(process)

    def ended(self, process: subprocess.Popen[bytes]) -> Ended:
        """How the last process ended, and its words."""
        return Ended(process.wait(PATIENCE), self.log_text(), self._printed.read_text())

    def log_text(self) -> str:
        """What the last process wrote about itself until now."""
        return self._errors.read_text()

    def kept(self) -> list[Kept]:
        """Every message, as ``messages list`` tells it; none where nothing was ever stored."""
        rows = map(json.loads, self.output("messages", "list", "--json").splitlines())
        return [Kept(row["identifier"], row["digest"], row["size"]) for row in rows]

    def exported(self) -> list[str]:
        """The digests of the files that ``messages export`` writes."""
        folder = self.directory / "exported"
        self.output("messages", "export", "--all", "-o", str(folder))
        return [hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()]

    def audit(self) -> dict[str, Any]:
        """What ``audit`` finds of the one folder; its exit status is told by its ``ok``."""
        with self.running("audit", "--json") as process:
            process.wait(PATIENCE)
        ended = self.ended(process)
        return ended.reports[0] if ended.reports else {"ok": ended.errors}

    def redirect(self, port: int, timeout: int) -> None:
        """The server is reached at this port from now on; nothing else changes."""
        text = self._file.read_text()
        text = re.sub(r"(?m)^port = .*$", f"port = {port}", text)
        self._file.write_text(re.sub(r"(?m)-timeout = .*$", f"-timeout = {timeout}s", text))

    def output(self, *arguments: str) -> str:
        """What a command prints. Raises ``CommandFailedError``."""
        done = subprocess.run(self._command(*arguments), capture_output=True, check=False, cwd=self.directory, timeout=PATIENCE)
        if done.returncode:
            raise CommandFailedError(f"postroom {' '.join(arguments)} ended with {done.returncode}: {done.stderr.decode()}")
        return done.stdout.decode()

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "postroom", "--config", str(self._file), *arguments]

    @property
    def _file(self) -> Path:
        return self.directory / "postroom.ini"

    @property
    def _printed(self) -> Path:
        return self.directory / f"{self._starts}.out"

    @property
    def _errors(self) -> Path:
        return self.directory / f"{self._starts}.err"


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for the process and all it started; it is over afterwards."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
