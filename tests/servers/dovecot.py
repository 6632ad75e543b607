"""A private Dovecot: IMAP, POP3 and LMTP with passwords and OAuth 2.0, in a directory of its own.

It runs as root and as an ordinary user, on free ports, beside any number of others. The directory stands right under
/tmp because the path of a Unix socket ends at 107 octets.
"""

from __future__ import annotations

import binascii
import contextlib
import datetime
import functools
import imaplib
import itertools
import os
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from servers.certificates import LOOPBACK, Certificates
from servers.dovecot_config import (
    PASSWORD,
    Additions,
    Ports,
    Settings,
    Tokens,
    dovecot_conf,
    oauth2_app_conf,
    oauth2_conf,
)
from servers.install import program
from servers.waiting import free_ports, greets, removed, wait_for

FIRST_SEEDED = 1_700_000_000  # INTERNALDATE of the first seeded message; each further one is a second later

_LINKS = 1000  # names of one file

_ENDED = re.compile(r"(?P<protocol>imap|pop3)\((?P<user>[^)]*)\).* in=(?P<in>\d+) out=(?P<out>\d+)")
_FETCHED = re.compile(rb"UID (\d+)")


class DovecotError(AssertionError):
    """Dovecot did not do as told; the words are its own."""


@dataclass(frozen=True)
class EndedSession:
    """One line that Dovecot wrote at the end of a session."""

    protocol: str  # imap or pop3
    octets_in: int  # from the client, after login
    octets_out: int  # to the client, after login
    line: str


class Dovecot:
    """A running Dovecot. As a context manager it is started on entry, stopped and wiped on exit.

    A user is the whole login name, ``somebody@example.test``; every one exists and has the password ``pw``. Without
    ``tokens`` (see ``Authority.tokens``) there is no OAuth; with ``sasl`` Postfix may ask about logins. Each refusal of a
    login takes Dovecot half a second.
    """

    host = "localhost"  # a name that the certificate holds; it listens on 127.0.0.1 only

    def __init__(
        self,
        tokens: Tokens | None = None,
        *,
        certificates: Certificates | None = None,
        certificate_names: tuple[str, ...] = LOOPBACK,
        sasl: bool = False,
        extra: str = "",
        imap: str = "",
        pop3: str = "",
    ) -> None:
        self._cleanup = contextlib.ExitStack()
        certificates = certificates or self._cleanup.enter_context(Certificates())
        self.ca_file = certificates.ca_file
        self._certificates = certificates
        self._numbers = itertools.count()  # of the files written into Maildirs
        certificate, key = certificates.issue(*certificate_names)
        directory = Path(tempfile.mkdtemp(prefix="pr-", dir="/tmp"))
        self._settings = Settings(
            directory=directory,
            ports=Ports(*free_ports(5)),
            certificate=certificate,
            key=key,
            tokens=tokens,
            sasl=directory / "sasl" if sasl else None,
            additions=Additions(extra, imap, pop3),
        )
        self._owner = self._settings.identities
        self._prepare()

    def _prepare(self) -> None:
        directory = self._settings.directory
        mail = directory / "mail"
        mail.mkdir()
        if os.geteuid() == 0:
            # Dovecot's parts run as several users, and each must reach its files.
            directory.chmod(0o711)
            os.chown(mail, self._owner.mail_uid, self._owner.mail_gid)
        self._write_configuration()

    def _write_configuration(self) -> None:
        self.configuration.write_text(dovecot_conf(self._settings))
        if self._settings.tokens:
            (self._settings.directory / "oauth2.conf").write_text(oauth2_conf(self._settings.tokens))
            (self._settings.directory / "oauth2-app.conf").write_text(oauth2_app_conf(self._settings.tokens))

    @property
    def configuration(self) -> Path:
        """The file that Dovecot's programs are given with ``-c``."""
        return self._settings.directory / "dovecot.conf"

    @property
    def imap_port(self) -> int:
        """IMAP, with STARTTLS offered."""
        return self._settings.ports.imap

    @property
    def imaps_port(self) -> int:
        """IMAP over TLS."""
        return self._settings.ports.imaps

    @property
    def pop3_port(self) -> int:
        """POP3, with STLS offered."""
        return self._settings.ports.pop3

    @property
    def pop3s_port(self) -> int:
        """POP3 over TLS."""
        return self._settings.ports.pop3s

    @property
    def lmtp_port(self) -> int:
        """LMTP, for ``smtplib.LMTP``."""
        return self._settings.ports.lmtp

    @property
    def sasl_socket(self) -> Path:
        """Where Postfix asks about logins; it must have been made with ``sasl``."""
        if self._settings.sasl is None:
            raise DovecotError("this Dovecot was made without sasl=True")
        return self._settings.sasl

    def start(self) -> None:
        """Start it; all listeners answer afterwards (those for TLS belong to the same processes as those without)."""
        words = self._settings.directory / "start.txt"  # a pipe would be held open by the daemon
        with words.open("wb") as output:
            done = subprocess.run(
                [program("dovecot") or "dovecot", "-c", self.configuration],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
            )
        if done.returncode:
            raise DovecotError(f"dovecot ended with {done.returncode}: {words.read_text()}{self.log_text()}")
        ports = self._settings.ports
        # Their greetings, not only their ports: a process that has not begun yet would hold up the next stop for long.
        for port in (ports.imap, ports.pop3, ports.lmtp):
            wait_for(functools.partial(greets, "127.0.0.1", port), f"Dovecot on port {port}")
        wait_for(self._pid, "Dovecot's process file")  # written after the ports were opened

    def stop(self) -> None:
        """Stop it in order; the ports are free afterwards and the mail stays. It may be stopped already."""
        if pid := self._pid():
            os.kill(pid, signal.SIGTERM)
            wait_for(lambda: self._pid() is None, "the end of Dovecot")

    def _pid(self) -> int | None:
        """The master's process, which removes this file as its last act."""
        pid_file = self._settings.directory / "run" / "master.pid"
        return int(pid_file.read_text()) if pid_file.exists() else None

    def restart(
        self,
        *,
        extra: str | None = None,
        imap: str | None = None,
        pop3: str | None = None,
        certificate_names: tuple[str, ...] | None = None,
    ) -> None:
        """Stop and start on the same ports with the same mail; what is given replaces what was given before."""
        self.stop()
        old = self._settings.additions
        additions = Additions(
            old.everywhere if extra is None else extra,
            old.imap if imap is None else imap,
            old.pop3 if pop3 is None else pop3,
        )
        self._settings = replace(self._settings, additions=additions)
        if certificate_names is not None:
            certificate, key = self._certificates.issue(*certificate_names)
            self._settings = replace(self._settings, certificate=certificate, key=key)
        self._write_configuration()
        self.start()

    def __enter__(self) -> Dovecot:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End it at once and remove every trace."""
        if pid := self._pid():
            # An orderly end takes a second, and nothing is left that could come to harm.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        wait_for(functools.partial(removed, self._settings.directory), "an empty place")
        self._cleanup.close()

    # Mail

    def deliver(self, user: str, octets: bytes, folder: str = "INBOX", when: datetime.datetime | None = None) -> None:
        """One message arrives while the server runs, as ``doveadm save`` does it; sessions in IDLE are told.

        With ``when`` as its INTERNALDATE it arrives as from an agent that writes Maildirs itself.
        """
        if when is None:
            self._doveadm(["save", "-u", user, "-m", folder], octets)
        else:
            self._write(self._maildir(user, folder), "new", octets, int(when.timestamp()))

    def seed(self, user: str, messages: Iterable[bytes], folder: str = "INBOX") -> None:
        """Thousands of messages at once, written as files; their order is the order of their UIDs.

        The n-th file of this Dovecot has the INTERNALDATE ``FIRST_SEEDED + n`` seconds. A bare LF reads back as CRLF
        and NUL as 0x80: that is how Dovecot serves a Maildir.
        """
        maildir = self._maildir(user, folder)
        for octets in messages:
            self._write(maildir, "cur", octets, None)
        # Dovecot looks now, so that what is delivered afterwards comes after these.
        self.doveadm("mailbox", "status", "-u", user, "messages", folder)

    def seed_unseen(self, user: str, octets: bytes) -> None:
        """One message in ``new``, without Dovecot's looking: for mailboxes by the thousand."""
        self._write(self._inbox(user), "new", octets, None)

    def seed_alike(self, user: str, octets: bytes, count: int) -> None:
        """The same octets ``count`` times, each a message of its own: for mailboxes whose length alone matters."""
        maildir = self._inbox(user)
        source = maildir / "tmp" / "alike"
        for start in range(0, count, _LINKS):  # a file has no more names than the file system gives it
            source.unlink(missing_ok=True)
            source.write_bytes(octets)
            self._give_away(source)
            for _ in range(min(_LINKS, count - start)):
                os.link(source, maildir / "cur" / f"{self._name(octets)}:2,")
        source.unlink(missing_ok=True)
        self.doveadm("mailbox", "status", "-u", user, "messages", "INBOX")

    def _name(self, octets: bytes) -> str:
        """A new name for a file; all of them are in the order of their making."""
        number = next(self._numbers)
        virtual = len(octets) + octets.count(b"\n") - octets.count(b"\r\n")  # the size with every line end as CRLF
        return f"{FIRST_SEEDED + number}.M{number:06}.test,S={len(octets)},W={virtual}"

    def _write(self, maildir: Path, where: str, octets: bytes, when: int | None) -> None:
        name = self._name(octets)
        path = maildir / "tmp" / name
        path.write_bytes(octets)
        stamp = int(name.partition(".")[0]) if when is None else when
        os.utime(path, (stamp, stamp))
        self._give_away(path)
        path.rename(maildir / where / (f"{name}:2," if where == "cur" else name))

    def _maildir(self, user: str, folder: str) -> Path:
        if folder == "INBOX":
            return self._inbox(user)
        if folder not in self.doveadm("mailbox", "list", "-u", user).splitlines():
            self.doveadm("mailbox", "create", "-u", user, folder)
        return Path(self.doveadm("mailbox", "path", "-u", user, folder).strip())

    def _inbox(self, user: str) -> Path:
        maildir = self.home(user) / "Maildir"
        for directory in (maildir.parent, maildir, *(maildir / part for part in ("cur", "new", "tmp"))):
            if not directory.exists():
                directory.mkdir(mode=0o700)
                self._give_away(directory)
        return maildir

    def _give_away(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, self._owner.mail_uid, self._owner.mail_gid)

    def home(self, user: str) -> Path:
        """The user's directory; the mail is in ``Maildir`` below it."""
        return self._settings.directory / "mail" / user.lower()

    def raw(self, user: str, folder: str = "INBOX") -> dict[int, bytes]:
        """UID and octets of every message of a folder, as the server serves them; no flag is changed."""
        with self.imap(user) as connection:
            connection.select(f'"{modified_utf7(folder)}"', readonly=True)
            _, parts = connection.uid("FETCH", "1:*", "(UID BODY.PEEK[])")
        found: dict[int, bytes] = {}
        for part in parts:
            if isinstance(part, tuple) and (uid := _FETCHED.search(part[0])):
                found[int(uid[1])] = part[1]
        return found

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

    def clear(self, user: str) -> None:
        """End the user's sessions and forget all mail, UIDs and indexes: a mailbox that never was."""
        self.kick(user)
        shutil.rmtree(self.home(user), ignore_errors=True)

    def copy_maildir(self, user: str, to: Path) -> None:
        """A backup of all mail with UIDs and indexes; ``to`` must not exist yet."""
        shutil.copytree(self._inbox(user), to)

    def restore_maildir(self, user: str, source: Path) -> None:
        """Put a backup in the place of the user's mail; sessions end. UIDs given since then will be given again."""
        self.clear(user)
        maildir = self._inbox(user)
        shutil.copytree(source, maildir, dirs_exist_ok=True)
        for path in maildir.rglob("*"):
            self._give_away(path)

    # Administration

    def doveadm(self, *arguments: str) -> str:
        """What ``doveadm`` prints; ``DovecotError`` with its words if it fails."""
        return self._doveadm(arguments, b"").decode()

    def _doveadm(self, arguments: Iterable[str], given: bytes) -> bytes:
        command = [program("doveadm") or "doveadm", "-c", str(self.configuration), *arguments]
        done = subprocess.run(command, input=given, capture_output=True, check=False)
        if done.returncode:
            raise DovecotError(f"{' '.join(command[3:])} ended with {done.returncode}: {done.stderr.decode()}")
        return done.stdout

    def sessions(self, user: str) -> int:
        """How many sessions of the user live now."""
        return len(self.doveadm("-f", "tab", "who", "-1", user).splitlines()) - 1

    def kick(self, user: str) -> None:
        """End all sessions of the user; none is left afterwards."""
        if self.sessions(user):
            with contextlib.suppress(DovecotError):  # they ended by themselves meanwhile
                self.doveadm("kick", user)
            wait_for(lambda: self.sessions(user) == 0, f"the end of the sessions of {user}")

    def log_text(self) -> str:
        """All that Dovecot logged until now."""
        log = self._settings.directory / "log"
        return log.read_text(errors="replace") if log.exists() else ""

    def ended(self, user: str, *, at_least: int = 0, timeout: float = 10.0) -> list[EndedSession]:
        """The user's ended sessions, oldest first. Dovecot logs a bit late: wait until there are ``at_least``."""

        def look() -> list[EndedSession] | None:
            found = self._ended(user)
            return found if len(found) >= at_least else None

        if at_least == 0:
            return self._ended(user)
        return wait_for(look, f"{at_least} ended sessions of {user}", timeout=timeout)

    def _ended(self, user: str) -> list[EndedSession]:
        lines = (line for line in self.log_text().splitlines() if f"({user.lower()})" in line)
        found = ((line, _ENDED.search(line)) for line in lines)
        return [EndedSession(hit["protocol"], int(hit["in"]), int(hit["out"]), line) for line, hit in found if hit]

    def octets_in(self, user: str, *, at_least: int = 1) -> int:
        """Octets that the user's clients sent after login, over all ended sessions (at least so many)."""
        return sum(session.octets_in for session in self.ended(user, at_least=at_least))

    def tls(self) -> ssl.SSLContext:
        """A client's TLS context that trusts the tests' authority only."""
        return ssl.create_default_context(cafile=str(self.ca_file))


def modified_utf7(name: str) -> str:
    """A folder's name as IMAP4rev1 writes it (RFC 3501 section 5.1.3)."""
    parts = re.split(r"([^\x20-\x7e]+)", name.replace("&", "&-"))
    for at in range(1, len(parts), 2):
        shifted = binascii.b2a_base64(parts[at].encode("utf-16-be"), newline=False).decode()
        parts[at] = f"&{shifted.rstrip('=').replace('/', ',')}-"
    return "".join(parts)
