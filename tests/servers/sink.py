"""Postfix' own measure of clients: ``smtp-sink`` takes all mail and throws it away, ``smtp-source`` sends as fast as it can.

Both come with Debian's Postfix and need no rights. The sink announces PIPELINING, 8BITMIME, DSN, ENHANCEDSTATUSCODES and
an AUTH that refuses nobody, and knows neither STARTTLS nor SIZE nor CHUNKING; the source pipelines nothing.
"""

from __future__ import annotations

import functools
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from servers.install import program
from servers.waiting import free_ports, greets, wait_for

CONNECTIONS = 256  # that the sink serves at a time; further ones wait

_COUNTERS = re.compile(rb"sess=(\d+) quit=(\d+) mesg=(\d+)\r")
_ARGUMENT = re.compile(rb"^X-(Mail|Rcpt)-Args: <([^>\n]*)>.*\n", re.MULTILINE)
_RECEIVED = re.compile(rb"^Received: .*\n(?:\t.*\n)*", re.MULTILINE)


@dataclass(frozen=True)
class Captured:
    """One message that the sink took over."""

    sender: str
    recipients: tuple[str, ...]
    octets: bytes  # with LF at the end of each line, as the sink writes them


class Sink:
    """A running ``smtp-sink``. As a context manager it is started on entry, ended and wiped on exit.

    With ``capture`` it writes down each message, which takes it several times as long. ``options`` are smtp-sink(1)'s:
    ``("-p",)`` announces no PIPELINING, ``("-W", ".:1")`` answers each final dot a second later.
    """

    host = "127.0.0.1"

    def __init__(self, *, capture: bool = False, options: Sequence[str] = ()) -> None:
        [self.port] = free_ports(1)
        self._directory = Path(tempfile.mkdtemp(prefix="pr-sink-"))
        self._mails = self._directory / "mails"
        self._mails.mkdir()
        user = ("-u", pwd.getpwuid(0).pw_name) if os.geteuid() == 0 else ()  # it insists on being told
        dump = ("-d", f"{self._mails}/%s.") if capture else ()
        self._options = ("-4", "-c", "-m", str(CONNECTIONS), *user, *dump, *options)
        self._process: subprocess.Popen[bytes] | None = None
        self._before = (0, 0)  # counted by processes that were killed

    def start(self) -> None:
        """Start it, or start it again on the same port; it answers afterwards."""
        with self._counters.open("wb") as counters, self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program("smtp-sink") or "smtp-sink", *self._options, f"{self.host}:{self.port}", "1024"],
                stdin=subprocess.DEVNULL,
                stdout=counters,
                stderr=log,
            )
        wait_for(functools.partial(self._greets, self._process), f"smtp-sink on port {self.port}")

    def _greets(self, process: subprocess.Popen[bytes]) -> bool:
        if process.poll() is not None:
            raise AssertionError(f"smtp-sink ended: {self._log.read_text(errors='replace')}")
        return greets(self.host, self.port)

    def kill(self) -> None:
        """End it at once; connections break, and what was captured stays."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._before = (self.messages, self.sessions)
            self._counters.unlink()

    def close(self) -> None:
        """End it and forget everything."""
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Sink:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def _counters(self) -> Path:
        return self._directory / "counters"

    @property
    def _log(self) -> Path:
        return self._directory / "log"

    @property
    def messages(self) -> int:
        """How many final dots it received since it was made."""
        return self._before[0] + self._counted()[2]

    @property
    def sessions(self) -> int:
        """How many connections ended since it was made, those included by which it was seen that it runs."""
        return self._before[1] + self._counted()[0]

    def _counted(self) -> tuple[int, int, int]:
        octets = self._counters.read_bytes() if self._counters.exists() else b""
        last = list(_COUNTERS.finditer(octets[-200:]))
        return (int(last[-1][1]), int(last[-1][2]), int(last[-1][3])) if last else (0, 0, 0)

    def captured(self) -> list[Captured]:
        """The messages taken over until now, in any order; it must have been made with ``capture``."""
        return [_captured(path.read_bytes()) for path in self._mails.iterdir()]


def _captured(dump: bytes) -> Captured:
    """Take a dump apart: the sink's own lines end with its Received, and an empty line is after the message."""
    received = _RECEIVED.search(dump)
    if received is None:
        raise AssertionError(f"not a dump of smtp-sink: {dump[:200]!r}")
    arguments = [(kind, address.decode()) for kind, address in _ARGUMENT.findall(dump[: received.start()])]
    return Captured(
        sender=next(address for kind, address in arguments if kind == b"Mail"),
        recipients=tuple(address for kind, address in arguments if kind == b"Rcpt"),
        octets=dump[received.end() :].removesuffix(b"\n"),
    )


def send(
    host: str,
    port: int,
    messages: int,
    *,
    connections: int = 1,
    octets: int = 4000,
    sender: str = "sender@example.test",
    recipient: str = "reader@example.test",
) -> None:
    """Send so many messages by ``smtp-source -d`` and return when the last was answered; no connection ends before.

    ``octets`` is the length of a body. Raises ``AssertionError`` with its words at the first refusal.
    """
    options = {"-m": messages, "-s": connections, "-l": octets, "-f": sender, "-t": recipient, "-M": "bench.example.test"}
    words = [word for name, value in options.items() for word in (name, str(value))]
    command = [program("smtp-source") or "smtp-source", "-4", "-d", *words, f"{host}:{port}"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"smtp-source ended with {done.returncode}: {done.stderr}")
