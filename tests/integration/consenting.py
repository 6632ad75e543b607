"""``postroom authorize`` as a person uses it: read what it says, open its address, answer it."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
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

    def addresses(self) -> list[str]:
        """All addresses that it wanted opened until now."""
        return _ADDRESS.findall(self.said)

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


def consent_elsewhere(address: str) -> str:
    """Consent as the account that is hinted at; the address at which the browser ends, which is never asked."""
    back = parse_qs(urlsplit(address).query)["redirect_uri"][0]

    class Elsewhere(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *asked: Any) -> urllib.request.Request | None:
            return None if asked[-1].startswith(back) else super().redirect_request(*asked)

    opener = urllib.request.build_opener(Elsewhere, urllib.request.HTTPCookieProcessor())
    with pytest.raises(urllib.error.HTTPError) as ended:
        opener.open(address)
    return str(ended.value.headers["Location"])


_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class AtTerminal:
    """The same at a terminal of its own: prompts come, colours too, and what is typed in secret is not shown."""

    def __init__(self, here: Here, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        self._process = here.start(*arguments, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self._pieces: list[bytes] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._ours, 4096)
            except OSError:  # Linux tells the end of a terminal so
                return
            if not piece:
                return
            self._pieces.append(piece)

    @property
    def shown(self) -> bytes:
        """All that was shown, with its colours."""
        return b"".join(self._pieces)

    @property
    def screen(self) -> str:
        """All that was shown, without colours."""
        return _ESCAPES.sub("", self.shown.decode("utf-8", "replace")).replace("\r\n", "\n")

    def until(self, words: str) -> str:
        """Wait for words on the screen; all of it."""
        wait_for(lambda: words in self.screen, f"the words {words!r} in {self.screen!r}", timeout=PATIENCE)
        return self.screen

    def answer(self, prompt: str, line: str) -> None:
        """Wait for a prompt and type a line."""
        self.until(prompt)
        os.write(self._ours, f"{line}\n".encode())

    def address(self) -> str:
        """The address that it wants opened."""
        return wait_for(lambda: _ADDRESS.findall(self.screen), f"an address in {self.screen!r}", timeout=PATIENCE)[0]

    def done(self) -> Done:
        """Its end."""
        status = self._process.wait(PATIENCE)
        self._reading.join(PATIENCE)
        return Done(status, self.screen, "")

    def __enter__(self) -> AtTerminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reading.join(PATIENCE)
        os.close(self._ours)
