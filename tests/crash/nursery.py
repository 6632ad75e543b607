"""Commands as processes of their own without the start of an interpreter for each: the code and the arguments are the same."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType

PATIENCE = 120.0  # seconds; who takes longer waits for what never comes


@dataclass(frozen=True)
class Order:
    """A process to be made: the command ``postroom`` with arguments, or a program in a file."""

    directory: str
    arguments: tuple[str, ...] = ()
    file: str = ""  # a program in Python; empty: ``postroom``
    environment: Mapping[str, str] = field(default_factory=dict)  # beside what is there
    ahead: float = 0.0  # seconds that the machine's clock stands ahead for it
    steps: str = ""  # a file that tells at its end how many steps the store made; empty: they are not counted
    die_at: int = 0  # the step of the store before which it dies; 0: none


class Process:
    """A process that was made; ``reap`` waits for it and answers how it ended."""

    def __init__(self, pid: int, out: Path, err: Path, reap: Callable[[], int]) -> None:
        self.pid = pid
        self._handle = os.pidfd_open(pid)
        self._status: int | None = None
        self._out, self._err, self._reap = out, err, reap

    def ended(self, within: float = 0.0) -> bool:
        """Whether it came to its end, at the latest after so many seconds."""
        if self._status is None and select.select([self._handle], [], [], within)[0]:
            os.close(self._handle)
            self._status = self._reap()
        return self._status is not None

    @property
    def status(self) -> int:
        """How it ended; negative: the signal that ended it. Waits for that."""
        assert self.ended(PATIENCE), f"it goes on for ever: {self.errors[-1000:]}"
        assert self._status is not None
        return self._status

    def kill(self) -> bool:
        """SIGKILL; false where it had ended before."""
        return self._end(signal.SIGKILL) == -signal.SIGKILL

    def stop(self) -> int:
        """SIGTERM; how it ended."""
        return self._end(signal.SIGTERM)

    def _end(self, by: signal.Signals) -> int:
        if not self.ended():
            os.kill(self.pid, by)
        return self.status

    @property
    def errors(self) -> str:
        """What it wrote about itself."""
        return self._err.read_text(errors="replace")

    @property
    def printed(self) -> str:
        """What it printed."""
        return self._out.read_text(errors="replace")


@dataclass(frozen=True)
class Pair:
    """Two processes that send from one queue at a time."""

    one: Process
    other: Process

    def ended(self, within: float = 0.0) -> bool:
        """Whether the first came to its end and, if it was killed, with it the second; else both."""
        if not self.one.ended(within):
            return False
        if self.one.status == -signal.SIGKILL:
            self.other.kill()
        return self.other.ended(within)

    @property
    def status(self) -> int:
        """How the first of them ended, if not well; else the second."""
        return self.one.status or self.other.status

    def kill(self) -> bool:
        """SIGKILL for both, one after the other; false where both had ended before."""
        return any([self.one.kill(), self.other.kill()])

    def stop(self) -> int:
        """SIGTERM for both."""
        return self.one.stop() or self.other.stop()

    @property
    def errors(self) -> str:
        """What they wrote about themselves."""
        return self.one.errors + self.other.errors

    @property
    def printed(self) -> str:
        """What they printed."""
        return self.one.printed + self.other.printed


class Nursery:
    """Makes processes, one by one. A context manager; those that are left at its end are killed."""

    def __init__(self) -> None:
        self._parent: subprocess.Popen[str] | None = None
        self._made: list[Process] = []

    def __enter__(self) -> Nursery:
        tests = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "crash.nursery_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._parent is not None
        for process in self._made:
            process.kill()
        assert self._parent.stdin is not None
        self._parent.stdin.close()
        self._parent.wait()
        assert self._parent.stdout is not None
        self._parent.stdout.close()

    def ask(self, order: Mapping[str, object]) -> int:
        """Give an order as it is; the answer."""
        assert self._parent is not None
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(json.dumps(order) + "\n")
        answer = self._parent.stdout.readline()
        assert answer, f"who makes processes has ended with {self._parent.wait()}"
        return int(answer)

    def make(self, order: Order) -> Process:
        """A process. What it prints and writes is in its directory."""
        out, err = _files(order.directory)
        pid = self.ask({**asdict(order), "out": str(out), "err": str(err)})
        return self._remembered(Process(pid, out, err, lambda: self.ask({"wait": pid})))

    def start(self, directory: str, *arguments: str) -> Process:
        """``postroom`` with an interpreter of its own."""
        out, err = _files(directory)
        with out.open("wb") as to_out, err.open("wb") as to_err:
            process = subprocess.Popen(
                [sys.executable, "-m", "postroom", *arguments], stdout=to_out, stderr=to_err, cwd=directory, start_new_session=True
            )
        return self._remembered(Process(process.pid, out, err, process.wait))

    def _remembered(self, process: Process) -> Process:
        self._made = [made for made in self._made if not made.ended()]
        self._made.append(process)
        return process


def _files(directory: str) -> tuple[Path, Path]:
    """Where the next process of a directory prints and writes."""
    folder = Path(directory)
    name = len(list(folder.glob("*.err")))
    (folder / f"{name}.err").touch()
    return folder / f"{name}.out", folder / f"{name}.err"
