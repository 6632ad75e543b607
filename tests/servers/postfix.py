"""A private Postfix: submission with Dovecot's SASL, a queue of its own, and delivery into the same Dovecot.

``install.py`` installs Debian's package; the instance lives in a directory of its own, beside any number of others, and
shares nothing with a Postfix of the system. It needs root: Postfix changes users. Whoever submits logs in at Dovecot,
with a password or with a token that the authority judges, and what was submitted is then in Dovecot's mailboxes.
"""

from __future__ import annotations

import contextlib
import functools
import grp
import json
import os
import pwd
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from servers.certificates import LOOPBACK, Certificates
from servers.dovecot import Dovecot
from servers.dovecot_config import Identities
from servers.install import program
from servers.postfix_config import ALIASES, BOUNCED, HOST, REFUSED, Options, Ports, Settings, main_cf, master_cf, tables
from servers.waiting import free_ports, greets, wait_for

__all__ = ["ALIASES", "BOUNCED", "HOST", "REFUSED", "Options", "Postfix", "PostfixError", "Queued", "without_trace"]

_AGENT = "/usr/lib/dovecot/dovecot-lda"
_TRACE = re.compile(rb"(?:(?:Return-Path|Delivered-To|X-Original-To|Received):[^\n]*\n(?:[ \t][^\n]*\n)*)+", re.IGNORECASE)


class PostfixError(AssertionError):
    """Postfix did not do as told; the words are its own."""


@dataclass(frozen=True)
class Queued:
    """One message in Postfix' queue."""

    id: str
    place: str  # incoming, active, deferred, hold
    sender: str
    recipients: tuple[str, ...]  # those still to be served
    why: tuple[str, ...]  # why each was put off; empty before the first attempt


def without_trace(octets: bytes) -> bytes:
    """A message without the fields that servers put before it on its way (RFC 5321 section 4.4)."""
    found = _TRACE.match(octets)
    return octets[found.end() :] if found else octets


class Postfix:
    """A running Postfix. As a context manager it is started on entry, stopped and wiped on exit.

    ``dovecot`` must have been made with ``sasl=True``, and run. Users are Dovecot's, whose password is ``pw``. Its
    certificate holds ``certificate_names``.
    """

    host = "localhost"  # a name that the certificate holds, unless told otherwise; it listens on 127.0.0.1 only

    def __init__(
        self,
        dovecot: Dovecot,
        *,
        certificates: Certificates | None = None,
        certificate_names: tuple[str, ...] = LOOPBACK,
        options: Options | None = None,
    ) -> None:
        if os.geteuid() != 0:
            raise PostfixError("Postfix changes users and so needs root")
        self._cleanup = contextlib.ExitStack()
        certificates = certificates or self._cleanup.enter_context(Certificates())
        self.ca_file = certificates.ca_file
        certificate, key = certificates.issue(*certificate_names)
        owner = Identities.of_this_process()
        names = pwd.getpwuid(owner.mail_uid).pw_name, grp.getgrgid(owner.mail_gid).gr_name
        self._settings = Settings(
            directory=Path(tempfile.mkdtemp(prefix="pr-", dir="/tmp")),
            ports=Ports(*free_ports(4)),
            certificate=certificate,
            key=key,
            sasl=dovecot.sasl_socket,
            lmtp_port=dovecot.lmtp_port,
            deliver=f"{_AGENT} -c {dovecot.configuration} -o log_path=/dev/null -f ${{sender}} -d ${{recipient}}",
            owner=":".join(names),
            options=options or Options(),
        )
        self._prepare()

    def _prepare(self) -> None:
        directory = self._settings.directory
        directory.chmod(0o711)  # its parts run as several users, and each must reach its files
        for part in ("etc", "queue", "data"):
            (directory / part).mkdir()
        shutil.chown(directory / "data", "postfix")
        files = {"main.cf": main_cf(self._settings), "master.cf": master_cf(self._settings), **tables(self._settings)}
        for name, text in files.items():
            (self._etc / name).write_text(text)

    @property
    def _etc(self) -> Path:
        return self._settings.directory / "etc"

    @property
    def submission_port(self) -> int:
        """Submission with STARTTLS; AUTH only after it, unless ``auth_in_clear``."""
        return self._settings.ports.submission

    @property
    def submissions_port(self) -> int:
        """Submission over TLS from the first octet (RFC 8314 section 3.3)."""
        return self._settings.ports.submissions

    @property
    def relay_port(self) -> int:
        """In the clear and without AUTH: everybody on this machine may send everywhere."""
        return self._settings.ports.relay

    # Running

    def start(self) -> None:
        """Start it; all listeners answer afterwards."""
        words = self._settings.directory / "start.txt"  # a pipe would be held open by the daemon
        with words.open("wb") as output:
            done = subprocess.run(
                [program("postfix") or "postfix", "-c", self._etc, "start"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
            )
        if done.returncode:
            raise PostfixError(f"postfix ended with {done.returncode}: {words.read_text()}{self.log_text()}")
        for port in (self.submission_port, self.relay_port, self._settings.ports.behind):
            wait_for(functools.partial(greets, "127.0.0.1", port), f"Postfix on port {port}")

    def _master(self) -> int | None:
        """The master's process, which leads the group of all others; None where it never ran."""
        file = self._settings.directory / "queue" / "pid" / "master.pid"
        return int(file.read_text()) if file.exists() else None

    def stop(self) -> None:
        """Stop it in order; the ports are free afterwards and the queue stays. It may be stopped already."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End all its processes at once, as when the power fails; the queue stays as it is on the disk."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if master := self._master():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(master, how)
            wait_for(lambda: not _lives(master), "the end of Postfix")

    def __enter__(self) -> Postfix:
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
        self.kill()
        shutil.rmtree(self._settings.directory, ignore_errors=True)
        self._cleanup.close()

    # The queue

    def queue(self) -> list[Queued]:
        """What is accepted and not yet delivered, discarded or returned."""
        lines = self._command("postqueue", "-j").splitlines()
        return [_queued(json.loads(line)) for line in lines]

    def flush(self) -> None:
        """Try again at once whatever was put off."""
        self._command("postqueue", "-f")

    def forget(self) -> None:
        """Delete all that is in the queue."""
        self._command("postsuper", "-d", "ALL")

    def _command(self, name: str, *arguments: str) -> str:
        command = [program(name) or name, "-c", str(self._etc), *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PostfixError(f"{name} {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def log_text(self) -> str:
        """All that Postfix logged until now."""
        log = self._settings.directory / "log"
        return log.read_text(errors="replace") if log.exists() else ""

    def logged(self, message_id: str, *, timeout: float = 10.0) -> list[str]:
        """What became of a message by its Message-ID, one line for each recipient; waits until it left the queue."""

        def look() -> list[str] | None:
            text = self.log_text()
            found = re.search(rf" (\S+): message-id={re.escape(message_id)}$", text, re.MULTILINE)
            if not found or f" {found[1]}: removed" not in text:
                return None
            return [line for line in text.splitlines() if f" {found[1]}: to=<" in line]

        return wait_for(look, f"{message_id} out of the queue", timeout=timeout)

    def tls(self) -> ssl.SSLContext:
        """A client's TLS context that trusts the tests' authority only."""
        return ssl.create_default_context(cafile=str(self.ca_file))


def _queued(entry: dict[str, Any]) -> Queued:
    recipients = entry["recipients"]
    return Queued(
        id=entry["queue_id"],
        place=entry["queue_name"],
        sender=entry["sender"],
        recipients=tuple(recipient["address"] for recipient in recipients),
        why=tuple(recipient["delay_reason"] for recipient in recipients if "delay_reason" in recipient),
    )


def _lives(group: int) -> bool:
    """Whether a process of the group runs. One that only waits to be reaped, by whatever is process 1, does not."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                return True
    return False
