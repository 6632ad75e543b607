"""What getmail and mpop have in common: other systems that read a mailbox into a Maildir, each run as a process."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Literal

from servers.dovecot_config import PASSWORD

PATIENCE = 120  # seconds for one run


@dataclass(frozen=True)
class Mailbox:
    """Where mail is read, and as whom."""

    protocol: Literal["imap", "pop3"]
    host: str
    port: int
    user: str
    password: str = PASSWORD
    ca_file: Path | None = None  # TLS from the first octet when given; it alone is trusted


@dataclass(frozen=True)
class Done:
    """A run that ended."""

    status: int
    words: str  # all that it printed


class Fetcher:
    """A reader of one mailbox with its state in a directory of its own, which goes away with it.

    What it has read it does not read again, unless ``delete`` lets it remove messages from the server.
    """

    own_lines: ClassVar[tuple[bytes, ...]] = ()  # that it adds to the header

    def __init__(self, mailbox: Mailbox, *, delete: bool = False) -> None:
        self.mailbox = mailbox
        self.delete = delete  # may be changed between two runs
        self.directory = Path(tempfile.mkdtemp(prefix="pr-fetch-", dir="/tmp"))
        self.directory.chmod(0o711)  # whoever writes the Maildir must reach it
        self.maildir = self.directory / "mail"
        for part in ("cur", "new", "tmp"):
            (self.maildir / part).mkdir(parents=True)

    def configure(self) -> None:
        """Write the configuration."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """The program and its arguments."""
        raise NotImplementedError

    def run(self) -> Done:
        """Read the mailbox once."""
        with self.start() as process:
            out, _ = process.communicate(timeout=PATIENCE)
        return Done(process.returncode, out.decode(errors="replace"))

    def start(self) -> subprocess.Popen[bytes]:
        """Begin a run that the test waits for itself, or kills."""
        self.configure()
        environment = {**os.environ, "HOME": str(self.directory), **self.environment()}
        return subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
        )

    def environment(self) -> dict[str, str]:
        """Further variables for a run."""
        return {}

    def kept(self) -> list[bytes]:
        """The messages in its Maildir as they were on the wire, without its own lines; in no order that means anything."""
        return [self._as_sent(path.read_bytes()) for part in ("new", "cur") for path in (self.maildir / part).iterdir()]

    def _as_sent(self, octets: bytes) -> bytes:
        octets = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        for line in self.own_lines:
            octets = octets.replace(line, b"", 1)
        return octets

    def close(self) -> None:
        """Remove everything of it."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
