"""``postroom authorize`` as a person uses it: read what it says, open its address, answer it."""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from running import PATIENCE, Done, Here

from servers.waiting import wait_for

_ADDRESS = re.compile(r"^\s+(https?://\S+)\s*$", re.MULTILINE)


@dataclass
class Asking:
    """A command that asks a person; its words so far are ``said``."""

    process: subprocess.Popen[str]
    _lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        while piece := self.process.stderr.read(1):  # a prompt has no line's end
            self._lines.append(piece)

    @property
    def said(self) -> str:
        """Everything it said until now."""
        return "".join(self._lines)

    def until(self, words: str) -> str:
        """Wait for words; all that was said."""
        wait_for(lambda: words in self.said, f"the words {words!r} in {self.said!r}", timeout=PATIENCE)
        return self.said

    def address(self) -> str:
        """The address that it wants opened."""
        found = wait_for(lambda: _ADDRESS.findall(self.said), f"an address in {self.said!r}", timeout=PATIENCE)
        return found[0]

    def answer(self, line: str) -> None:
        """Type a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def done(self) -> Done:
        """Its end."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        out = self.process.stdout.read()
        status = self.process.wait(PATIENCE)
        self._reading.join(PATIENCE)
        return Done(status, out, self.said)


@contextlib.contextmanager
def asking(here: Here, *arguments: str) -> Iterator[Asking]:
    """Begin a command that asks; whatever is left of it is ended."""
    process = here.start(*arguments, stdin=subprocess.PIPE)
    try:
        yield Asking(process)
    finally:
        process.kill()
        process.wait()
