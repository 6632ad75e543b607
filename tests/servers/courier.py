"""A private Courier: IMAP and POP3 of another family than Dovecot's, in a directory of its own.

``install.py`` unpacked it; here it is copied beside its mail, because Courier's parts look for their configuration below
the directory that they are started in, and because root hands everything to a user who may see nothing else. The daemons
are Debian's own: ``authdaemond`` checks the passwords, ``couriertcpd`` accepts, ``couriertls`` does TLS from the first
octet. STARTTLS and STLS are off: for them Courier becomes the system's user "courier", whom an unpacked one has not.
"""

from __future__ import annotations

import contextlib
import functools
import imaplib
import itertools
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from servers.certificates import LOOPBACK, Certificates
from servers.dovecot_config import PASSWORD, Identities
from servers.install import COURIER
from servers.waiting import free_ports, greets, removed, running_from, wait_for

HASHED = "$1$postroom$nLsr83kvKFpAgxUkYlkaM."  # of PASSWORD: openssl passwd -1 -salt postroom pw

CAPABILITY = "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE"

# What Debian's files of settings say, but that IDLE tells at once, by its watcher of files (``gam_server``).
IMAP = {
    "IMAP_CAPABILITY": CAPABILITY,
    "IMAP_KEYWORDS": "1",
    "IMAP_ACL": "1",
    "IMAP_CHECK_ALL_FOLDERS": "0",
    "IMAP_DISABLETHREADSORT": "0",
    "IMAP_EMPTYTRASH": "Trash:7",
    "IMAP_ENHANCEDIDLE": "1",
    "IMAP_IDLE_TIMEOUT": "60",
    "IMAP_MAILBOX_SANITY_CHECK": "1",
    "IMAP_MOVE_EXPUNGE_TO_TRASH": "0",
    "IMAP_OBSOLETE_CLIENT": "0",
    "IMAP_TRASHFOLDERNAME": "Trash",
    "IMAP_USELOCKS": "1",
}
POP3 = {"POP3AUTH": "LOGIN"}


class CourierError(AssertionError):
    """Courier did not do as told; the words are its own."""


@dataclass(frozen=True)
class Listener:
    """One of the four that Courier has; each is a process of its own."""

    port: int
    command: tuple[str, ...]  # what serves a connection, below Courier's directory, and its arguments
    settings: Mapping[str, str]
    tls: bool  # from the first octet


class Courier:
    """A running Courier. As a context manager it is started on entry, stopped and wiped on exit.

    A user exists from the first call that names it (``add_user``, ``deliver``, ``seed``) and has the password ``pw``.
    ``imap`` and ``pop3`` are settings of ``imapd`` and ``pop3d`` by the names of Courier's manual, beside those above.
    """

    host = "localhost"  # a name that the certificate holds; it listens on 127.0.0.1 only

    def __init__(
        self,
        *,
        certificates: Certificates | None = None,
        imap: Mapping[str, str] | None = None,
        pop3: Mapping[str, str] | None = None,
    ) -> None:
        self._cleanup = contextlib.ExitStack()
        certificates = certificates or self._cleanup.enter_context(Certificates())
        self.ca_file = certificates.ca_file
        self._numbers = itertools.count()
        self._owner = Identities.of_this_process()
        self._users: set[str] = set()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._directory = Path(tempfile.mkdtemp(prefix="pr-", dir="/tmp"))
        self._prepare(*certificates.issue(*LOOPBACK))
        self._listeners = _listeners({**IMAP, **(imap or {})}, {**POP3, **(pop3 or {})})

    def _prepare(self, certificate: Path, key: Path) -> None:
        for part in ("usr/bin", "usr/sbin", "usr/lib", "usr/libexec", "lib"):
            shutil.copytree(COURIER / part, self._directory / part, symlinks=True)
        (self._directory / "both.pem").write_bytes(key.read_bytes() + certificate.read_bytes())
        for part in (".run/courier/authdaemon", ".etc/courier", "mail"):
            (self._directory / part).mkdir(parents=True)
        (self._directory / ".etc/courier/authdaemonrc").write_text(
            'authmodulelist="authuserdb"\nauthmodulelistorig="authuserdb"\ndaemons=2\nDEFAULTOPTIONS=""\nLOGGEROPTS=""\n'
        )
        self._log.touch()
        self._give_away(self._directory)
        for path in self._directory.rglob("*"):
            if not path.is_symlink():
                self._give_away(path)

    @property
    def imap_port(self) -> int:
        """IMAP in the clear."""
        return self._listeners[0].port

    @property
    def imaps_port(self) -> int:
        """IMAP over TLS."""
        return self._listeners[1].port

    @property
    def pop3_port(self) -> int:
        """POP3 in the clear."""
        return self._listeners[2].port

    @property
    def pop3s_port(self) -> int:
        """POP3 over TLS."""
        return self._listeners[3].port

    # Running

    def start(self) -> None:
        """Start it; all listeners answer afterwards."""
        self._write_users()
        self._run(["usr/lib/courier/courier-authlib/authdaemond"], {})
        wait_for((self._directory / ".run/courier/authdaemon/socket").exists, "Courier's authentication")
        for listener in self._listeners:
            encrypting = ["usr/bin/couriertls", "-server", "-tcpd"] if listener.tls else []
            command = [self._below(part) for part in (*encrypting, *listener.command)]
            self._run([*_ACCEPTING, f"-stderr={self._log}", str(listener.port), *command], listener.settings)
        for listener in self._listeners:
            if not listener.tls:
                wait_for(functools.partial(greets, "127.0.0.1", listener.port), f"Courier on port {listener.port}")
            else:
                wait_for(functools.partial(self._shakes_hands, listener.port), f"Courier on port {listener.port}")

    def _run(self, command: list[str], settings: Mapping[str, str]) -> None:
        """Start one of its daemons, as the user that owns the mail."""
        libraries = ("usr/lib", "usr/lib/courier-authlib", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")
        environment = {
            "PATH": "/usr/bin:/bin",
            "LD_LIBRARY_PATH": ":".join(str(self._directory / part) for part in libraries),
            "HOSTNAME": "localhost",
            "TLS_CERTFILE": str(self._directory / "both.pem"),
            "TLS_VERIFYPEER": "NONE",
            "GAMIN_DEBUG_SERVER": self._below("usr/libexec/gam_server"),
            "GAM_CLIENT_ID": self._directory.name,
            **settings,
        }
        root = os.geteuid() == 0
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [self._below(command[0]), *command[1:]],
                cwd=self._directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self._owner.mail_uid if root else None,
                group=self._owner.mail_gid if root else None,
                extra_groups=[] if root else None,
            )
        self._processes.append(process)

    def _below(self, part: str) -> str:
        """A program of Courier's as a path, and anything else as it is."""
        return str(self._directory / part) if part.startswith("usr/") else part

    def _shakes_hands(self, port: int) -> bool:
        try:
            connection = self.tls().wrap_socket(_connected(port), server_hostname=self.host)
        except OSError:
            return False
        connection.close()
        return True

    def stop(self) -> None:
        """End it with all its sessions; the ports are free afterwards and the mail stays. It may be stopped already."""
        # Not all are in the groups of those started here, and one that was just starting another is seen at the next look.
        while living := running_from(self._directory):
            for process in living:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            for child in self._processes:
                child.wait()
        self._processes.clear()
        (self._directory / ".run/courier/authdaemon/socket").unlink(missing_ok=True)

    def close(self) -> None:
        """End it at once and remove every trace."""
        self.stop()
        wait_for(functools.partial(removed, self._directory), "an empty place")
        self._cleanup.close()

    def __enter__(self) -> Courier:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # Users and mail

    def add_user(self, user: str) -> None:
        """Let this user log in, by the whole name; the mailbox is empty."""
        if user in self._users:
            return
        for part in ("", "Maildir", "Maildir/tmp", "Maildir/new", "Maildir/cur"):
            self._directory_of(self.home(user) / part)
        self._users.add(user)
        self._write_users()

    def _write_users(self) -> None:
        """Write Courier's database of users anew; it is looked into at each login."""
        owner = f"uid={self._owner.mail_uid}|gid={self._owner.mail_gid}"
        names = sorted(self._users)
        self._make_database("userdb", [f"{user}\t{owner}|home={self.home(user)}" for user in names])
        self._make_database("userdbshadow", [f"{user}\tsystempw={HASHED}" for user in names])

    def _make_database(self, name: str, lines: list[str]) -> None:
        maker = self._directory / "usr/lib/courier/courier-authlib/makedatprog"
        done = subprocess.run(
            [maker, "-", f"{name}.new", f".etc/courier/{name}.dat"],
            input="".join(f"{line}\n" for line in [*lines, "."]).encode(),
            cwd=self._directory,
            env={"LD_LIBRARY_PATH": str(self._directory / "usr/lib/x86_64-linux-gnu")},
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise CourierError(f"makedatprog ended with {done.returncode}: {done.stderr.decode()}")
        self._give_away(self._directory / f".etc/courier/{name}.dat")

    def home(self, user: str) -> Path:
        """The user's directory; the mail is in ``Maildir`` below it."""
        return self._directory / "mail" / user

    def deliver(self, user: str, octets: bytes, folder: str = "INBOX") -> None:
        """One message arrives while the server runs, as an agent delivers that writes Maildirs itself."""
        self.seed(user, [octets], folder)

    def seed(self, user: str, messages: Iterable[bytes], folder: str = "INBOX") -> None:
        """Messages arrive in this order. Folders are below INBOX: ``INBOX.Sent``.

        They are kept with LF, as agents on Unix write a Maildir, and read back with CRLF.
        """
        self.add_user(user)
        maildir = self.home(user) / "Maildir"
        if folder != "INBOX":
            maildir = self._directory_of(maildir / folder.removeprefix("INBOX"))
            for part in ("tmp", "new", "cur"):
                self._directory_of(maildir / part)
            (maildir / "maildirfolder").touch()
            self._give_away(maildir / "maildirfolder")
        for octets in messages:
            # Courier orders new messages by the numbers that their names begin with.
            name = f"{1_700_000_000 + next(self._numbers)}.M0.test"
            path = maildir / "tmp" / name
            path.write_bytes(octets.replace(b"\r\n", b"\n"))
            self._give_away(path)
            path.rename(maildir / "new" / name)

    def _directory_of(self, path: Path) -> Path:
        if not path.exists():
            path.mkdir(mode=0o700)
            self._give_away(path)
        return path

    def _give_away(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, self._owner.mail_uid, self._owner.mail_gid)

    @contextlib.contextmanager
    def imap(self, user: str) -> Iterator[imaplib.IMAP4]:
        """A connection of Python's own client, logged in by password; logged out at the end."""
        connection = imaplib.IMAP4(self.host, self.imap_port)
        try:
            connection.login(user, PASSWORD)
            yield connection
        finally:
            with contextlib.suppress(imaplib.IMAP4.error, OSError):  # the test may have ended it
                connection.logout()

    # Administration

    @property
    def _log(self) -> Path:
        return self._directory / "log"

    def log_text(self) -> str:
        """All that Courier logged until now: logins, and at the end of a session the octets received and sent."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def tls(self) -> ssl.SSLContext:
        """A client's TLS context that trusts the tests' authority only."""
        return ssl.create_default_context(cafile=str(self.ca_file))


_ACCEPTING = [
    "usr/sbin/couriertcpd",
    "-address=127.0.0.1",
    "-nodnslookup",
    "-noidentlookup",
    "-maxprocs=1000",
    "-maxperip=1000",
]


def _listeners(imap: dict[str, str], pop3: dict[str, str]) -> tuple[Listener, ...]:
    """IMAP, IMAP over TLS, POP3, POP3 over TLS."""
    ports = free_ports(4)
    serves_imap = ("usr/lib/courier/courier/imaplogin", "usr/bin/imapd", "Maildir")
    serves_pop3 = ("usr/lib/courier/courier/courierpop3login", "usr/lib/courier/courier/courierpop3d", "Maildir")
    return (
        Listener(ports[0], serves_imap, imap, tls=False),
        Listener(ports[1], serves_imap, {**imap, "IMAP_TLS": "1"}, tls=True),
        Listener(ports[2], serves_pop3, pop3, tls=False),
        Listener(ports[3], serves_pop3, {**pop3, "POP3_TLS": "1"}, tls=True),
    )


def _connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)
