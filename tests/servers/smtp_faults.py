"""An SMTP server that does wrong what it is told, and keeps the record of what it took over.

It is a process of its own and of no family: its faults are ordered one by one (``Fault``), its ways are those of Microsoft
or Gmail (``Manner``). ``taken`` reads the record from a file that a kill does not harm: a message is there before its end
is answered, so whoever sent something twice is found out. For cuts at a chosen octet of any real server there is
``proxy.FaultProxy``.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from servers.certificates import LOOPBACK, Certificates
from servers.dovecot import Dovecot
from servers.dovecot_config import Tokens
from servers.smtp_faults_hub import as_json
from servers.smtp_faults_orders import (
    BASIC_AUTH_DISABLED,
    GMAIL,
    MAILBOX_FULL,
    MICROSOFT,
    SMTP_AUTH_DISABLED,
    TRY_LATER,
    Fault,
    Manner,
)
from servers.waiting import answers, free_ports, wait_for

__all__ = [
    "BASIC_AUTH_DISABLED",
    "GMAIL",
    "MAILBOX_FULL",
    "MICROSOFT",
    "SMTP_AUTH_DISABLED",
    "TRY_LATER",
    "Fault",
    "Manner",
    "Said",
    "SmtpFaults",
    "Taken",
]


@dataclass(frozen=True)
class Taken:
    """A message that the server took over, whether it said so or not."""

    number: int  # from 1, in the order of their ends
    session: int
    user: str  # who was logged in
    sender: str
    recipients: tuple[str, ...]  # those that were not refused
    message_id: str  # empty where the header has none


@dataclass(frozen=True)
class Said:
    """A command of a client without its secrets, or in brackets what became of the connection."""

    session: int  # from 1; begins anew with the process
    user: str  # who was logged in
    line: str


class SmtpFaults:
    """A running server. As a context manager it starts on entry and is ended on exit.

    Everybody may log in with the password ``pw``; with ``tokens`` (see ``Authority.tokens``) access tokens are the
    authority's affair, and ``allow`` names some that are good without. With a Dovecot it can file what it took over
    (``Manner.sent_folder``).
    """

    host = "localhost"  # a name that the certificate holds; it listens on 127.0.0.1 only

    def __init__(
        self,
        *,
        tokens: Tokens | None = None,
        certificates: Certificates,
        dovecot: Dovecot | None = None,
        manner: Manner | None = None,
    ) -> None:
        self.port, self.tls_port, self._control_port = free_ports(3)
        self.ca_file = certificates.ca_file
        self._directory = Path(tempfile.mkdtemp(prefix="pr-smtp-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._manner = manner or Manner()
        certificate, key = certificates.issue(*LOOPBACK)
        self._configuration = {
            "port": self.port,
            "tls_port": self.tls_port,
            "control_port": self._control_port,
            "certificate": str(certificate),
            "key": str(key),
            "introspection_url": tokens.introspection_url if tokens else "",
            "imap_port": dovecot.imap_port if dovecot else 0,
            "directory": str(self._directory),
        }

    def start(self) -> None:
        """Start it, for the first time or again, with the manner that it was made with; it answers afterwards."""
        parent = str(Path(__file__).parent.parent)
        path = os.pathsep.join(filter(None, [parent, os.environ.get("PYTHONPATH", "")]))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "servers.smtp_faults_server", json.dumps(self._configuration)],
                stdin=subprocess.PIPE,  # it ends with this, so it does not outlive the tests
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": path},
            )
        # The control port is the last that it opens.
        wait_for(functools.partial(self._answers, self._process), f"the server on port {self._control_port}", timeout=30)
        self.behave(self._manner)

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        if process.poll() is not None:
            raise AssertionError(f"the server ended: {self.log_text()}")
        return answers("127.0.0.1", self._control_port)

    def kill(self) -> None:
        """End it at once: its connections break, its orders are forgotten, its record stays."""
        if self._process and self._process.stdin:
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._process = None

    def close(self) -> None:
        """End it and forget everything."""
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> SmtpFaults:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def _log(self) -> Path:
        return self._directory / "log"

    def tls(self) -> ssl.SSLContext:
        """A client's TLS context that trusts the tests' authority only."""
        return ssl.create_default_context(cafile=str(self.ca_file))

    # Orders

    def _order(self, do: str, **given: Any) -> Any:
        with (
            socket.create_connection(("127.0.0.1", self._control_port), timeout=30) as connection,
            connection.makefile("rwb") as file,
        ):
            file.write(json.dumps({"do": do, **given}).encode() + b"\n")
            file.flush()
            if not (answer := file.readline()):
                raise AssertionError(f"{do} failed: {self.log_text()}")
            return json.loads(answer)

    def fail(self, *faults: Fault) -> None:
        """Let these happen, after what was ordered before; of two that are meant for one occasion the first has it."""
        self._order("fail", faults=[as_json(fault) for fault in faults])

    def behave(self, manner: Manner) -> None:
        """Be like this from the next command on."""
        self._order("behave", manner=as_json(manner))

    def allow(self, tokens: Mapping[str, str]) -> None:
        """Access tokens that are good, and whose each is; those named before are forgotten."""
        self._order("allow", tokens=dict(tokens))

    def go_on(self) -> None:
        """Let the answers that are held be given; one that is ordered afterwards is held again."""
        self._order("go_on")

    def go_ahead(self, seconds: float) -> None:
        """Let its clock be that much ahead of the system's: sessions by token end, days of a quota pass."""
        self._order("go_ahead", seconds=seconds)

    def reset(self) -> None:
        """Take back all orders, and forget what was counted for quotas and what clients said; the record stays."""
        self._order("forget")
        self.behave(self._manner)

    # What it tells

    def log_text(self) -> str:
        """What it wrote of faults of its own; empty as long as it has none."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def log(self, session: int = 0) -> list[Said]:
        """What clients said since the process began or ``reset``; of one connection, or of all."""
        said = [Said(**entry) for entry in self._order("log")]
        return [entry for entry in said if session in (0, entry.session)]

    def logins(self) -> list[str]:
        """Who is logged in now, once for each connection."""
        return [str(user) for user in self._order("logins")]

    @property
    def ledger(self) -> Path:
        """The file of the record: a line of JSON for each message."""
        return self._directory / "ledger"

    def taken(self) -> list[Taken]:
        """The record: every message that was taken over since the server was made, also when it is not running."""
        lines = self.ledger.read_bytes().split(b"\n")[:-1] if self.ledger.exists() else []  # half a line is no message
        entries = [json.loads(line) for line in lines]
        return [Taken(**{**entry, "recipients": tuple(entry["recipients"])}) for entry in entries]

    def octets(self, number: int) -> bytes:
        """A message of the record, as it was sent."""
        return (self._directory / f"{number}.eml").read_bytes()

    def throw_away(self, number: int) -> None:
        """Take a message's octets away; its line in the record stays."""
        (self._directory / f"{number}.eml").unlink(missing_ok=True)
