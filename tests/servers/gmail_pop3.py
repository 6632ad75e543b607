"""A POP3 server with the ways of Gmail, in a process of its own; ``gmail_pop3_box.py`` says what they are.

Microsoft's login in two lines is there too (``Manner``), and faults that no real server has on demand (``Faults``).
"""

from __future__ import annotations

import base64
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
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from servers.certificates import LOOPBACK, Certificates
from servers.dovecot_config import PASSWORD, Tokens
from servers.gmail_pop3_box import Place, Popped
from servers.gmail_pop3_faults import Faults, Manner
from servers.waiting import answers, free_ports, wait_for

__all__ = ["Faults", "GmailPop3", "Kept", "Manner", "Place", "Popped", "Said"]


@dataclass(frozen=True)
class Kept:
    """A message as the web interface shows it."""

    uidl: str
    popped: bool
    place: Place


@dataclass(frozen=True)
class Said:
    """A command of a client without its secrets, or in brackets what became of the connection."""

    session: int  # from 1
    user: str  # as the client named it; empty until then
    line: str


class GmailPop3:
    """A running server. As a context manager it starts on entry and is ended on exit.

    With ``tokens`` (see ``Authority.tokens``) XOAUTH2 asks the authority; ``allow`` names tokens that are good without.
    With ``certificates`` it listens over TLS as well.
    """

    host = "localhost"

    def __init__(self, *, tokens: Tokens | None = None, certificates: Certificates | None = None) -> None:
        self.port, self.tls_port, self._control_port = free_ports(3)
        self._directory = Path(tempfile.mkdtemp(prefix="pr-gmail-"))
        self._process: subprocess.Popen[bytes] | None = None
        certificate, key = certificates.issue(*LOOPBACK) if certificates else ("", "")
        self._ca_file = certificates.ca_file if certificates else None
        self._configuration = {
            "port": self.port,
            "tls_port": self.tls_port,
            "control_port": self._control_port,
            "certificate": str(certificate),
            "key": str(key),
            "introspection_url": tokens.introspection_url if tokens else "",
        }

    def start(self) -> None:
        """Start it; it answers afterwards."""
        parent = str(Path(__file__).parent.parent)
        path = os.pathsep.join(filter(None, [parent, os.environ.get("PYTHONPATH", "")]))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "servers.gmail_pop3_server", json.dumps(self._configuration)],
                stdin=subprocess.PIPE,  # it ends with this, so it does not outlive the tests
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": path},
            )
        # The control port is the last that it opens.
        wait_for(functools.partial(self._answers, self._process), f"the server on port {self._control_port}", timeout=30)

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        if process.poll() is not None:
            raise AssertionError(f"the server ended: {self._log.read_text(errors='replace')}")
        return answers("127.0.0.1", self._control_port)

    def close(self) -> None:
        """End it and forget everything."""
        if self._process and self._process.stdin:
            self._process.stdin.close()
            self._process.kill()
            self._process.wait()
            self._process = None
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> GmailPop3:
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
        return ssl.create_default_context(cafile=str(self._ca_file))

    # Orders

    def _order(self, do: str, **given: Any) -> Any:
        with (
            socket.create_connection(("127.0.0.1", self._control_port), timeout=30) as connection,
            connection.makefile("rwb") as file,
        ):
            file.write(json.dumps({"do": do, **given}).encode() + b"\n")
            file.flush()
            if not (answer := file.readline()):
                raise AssertionError(f"{do} failed: {self._log.read_text(errors='replace')}")
            return json.loads(answer)

    def add_user(self, user: str, *, password: str = PASSWORD, setting: Popped = Popped.KEEP) -> None:
        """Open a mailbox, or change its password and its setting "When messages are accessed with POP"."""
        self._order("add_user", user=user, password=password, setting=setting.value)

    def deliver(self, user: str, octets: bytes, *, age: float = 0.0, sent: bool = False) -> str:
        """A message came in ``age`` seconds ago, or was sent by a client; its UIDL. Sessions do not see it any more."""
        encoded = base64.b64encode(octets).decode()
        return str(self._order("deliver", user=user, octets=encoded, age=age, sent=sent))

    def unpop(self, user: str) -> None:
        """All messages of the user are in the inbox and never were popped."""
        self._order("unpop", user=user)

    def mails(self, user: str) -> list[Kept]:
        """All messages of the user, in the order of their arrival here."""
        return [Kept(mail["uidl"], mail["popped"], Place(mail["place"])) for mail in self._order("mails", user=user)]

    def log(self, user: str | None = None) -> list[Said]:
        """What clients said until now; of one user, as the client names it, from the login on."""
        said = [Said(**entry) for entry in self._order("log")]
        return [entry for entry in said if user is None or entry.user == user]

    def behave(self, manner: Manner) -> None:
        """Announce this from the next command on."""
        self._order("set", what="manner", value=asdict(manner))

    def fail(self, faults: Faults) -> None:
        """Do this wrong from the next command on; ``Faults()`` ends it."""
        self._order("set", what="faults", value=asdict(faults))

    def allow(self, tokens: Mapping[str, str]) -> None:
        """Access tokens that are good, and whose each is; those named before are forgotten."""
        self._order("set", what="tokens", value={token: user.lower() for token, user in tokens.items()})

    def go_ahead(self, seconds: float) -> None:
        """Let its clock be that much ahead of the system's."""
        self._order("set", what="ahead", value=seconds)
