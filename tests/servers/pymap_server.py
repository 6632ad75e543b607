"""pymap: an IMAP server of a third family, in pure Python, with one user's mail in memory.

It has IDLE, UIDPLUS, MOVE and LITERAL+; it lacks CONDSTORE, QRESYNC, NAMESPACE, ESEARCH, SPECIAL-USE and an initial response
to AUTHENTICATE. It has no POP3. The command that its package installs is run as a process. Its Maildirs are not used here:
from them it sends lines that end with LF.
"""

from __future__ import annotations

import contextlib
import functools
import imaplib
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

from servers.certificates import LOOPBACK, Certificates
from servers.dovecot_config import DOMAIN, PASSWORD
from servers.install import beside_python
from servers.waiting import free_ports, greets, wait_for

USER = f"user@{DOMAIN}"


class Pymap:
    """A running pymap. As a context manager it is started on entry, stopped and wiped on exit.

    Only ``user`` exists, with the password ``pw`` and an empty INBOX.
    """

    host = "localhost"  # a name that the certificate holds; it listens on 127.0.0.1 only

    def __init__(self, user: str = USER, *, certificates: Certificates | None = None) -> None:
        self.user = user
        self._cleanup = contextlib.ExitStack()
        certificates = certificates or self._cleanup.enter_context(Certificates())
        self.ca_file = certificates.ca_file
        self._certificate, self._key = certificates.issue(*LOOPBACK)
        self._directory = Path(tempfile.mkdtemp(prefix="pr-pymap-", dir="/tmp"))
        self._process: subprocess.Popen[bytes] | None = None
        [self.imap_port] = free_ports(1)  # with STARTTLS offered

    def start(self) -> None:
        """Start it; it answers afterwards."""
        pymap = [beside_python("pymap") or "pymap", "--host", "127.0.0.1", "--port", str(self.imap_port)]
        tls = ["--cert", str(self._certificate), "--key", str(self._key)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*pymap, *tls, "dict", "--demo-user", self.user, "--demo-password", PASSWORD],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_for(functools.partial(self._greets, self._process), f"pymap on port {self.imap_port}", timeout=30)

    def _greets(self, process: subprocess.Popen[bytes]) -> bool:
        if process.poll() is not None:
            raise AssertionError(f"pymap ended: {self.log_text()}")
        return greets("127.0.0.1", self.imap_port)

    def stop(self) -> None:
        """End it with all its sessions and its mail. It may be stopped already."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End it and remove every trace."""
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)
        self._cleanup.close()

    def __enter__(self) -> Pymap:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # Mail

    def deliver(self, octets: bytes, folder: str = "INBOX") -> None:
        """One message arrives while the server runs; sessions in IDLE are told."""
        self.seed([octets], folder)

    def seed(self, messages: Iterable[bytes], folder: str = "INBOX") -> None:
        """Messages arrive in this order, by APPEND; the folder is made if need be."""
        with self.imap() as connection:
            connection.create(folder)  # it may be there
            for octets in messages:
                connection.append(folder, "", "", octets)

    @contextlib.contextmanager
    def imap(self) -> Iterator[imaplib.IMAP4]:
        """A connection of Python's own client, logged in by password; logged out at the end."""
        connection = imaplib.IMAP4(self.host, self.imap_port)
        try:
            connection.login(self.user, PASSWORD)
            yield connection
        finally:
            with contextlib.suppress(imaplib.IMAP4.error, OSError):  # the test may have ended it
                connection.logout()

    @property
    def _log(self) -> Path:
        return self._directory / "log"

    def log_text(self) -> str:
        """All that pymap logged until now."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def tls(self) -> ssl.SSLContext:
        """A client's TLS context that trusts the tests' authority only."""
        return ssl.create_default_context(cafile=str(self.ca_file))
