"""What all benches work with: one Dovecot, its mailboxes, and a folder on the disk that is measured."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import mail
from bench.contenders import Account, Bare, Contender, Postroom, absent, version
from bench.measure import FailedError, Run, fresh, run
from servers.dovecot import Dovecot
from servers.dovecot_config import DOMAIN, PASSWORD
from servers.proxy import Direction, FaultProxy, _Connection


@dataclass
class Rig:
    """The parts. ``quick`` makes everything small: then the figures mean nothing, and all is run through all the same."""

    dovecot: Dovecot
    folder: Path
    rounds: int
    quick: bool
    told: Callable[[str], None]
    _seeded: set[str] = field(default_factory=set)

    def count(self, whole: int, quick: int) -> int:
        """How many messages."""
        return quick if self.quick else whole

    def account(self, name: str, messages: Iterable[bytes]) -> Account:
        """A mailbox with these messages, made at its first use; Dovecot has its indexes and the files are in memory."""
        user = f"{name}@{DOMAIN}"
        account = Account(self.dovecot.host, self.dovecot.imap_port, user, PASSWORD)
        if user not in self._seeded:
            self.told(f"  filling the mailbox {user}")
            self.dovecot.seed(user, messages)
            self._seeded.add(user)
            os.sync()
            self.copy(Bare(), account, None)
        return account

    def over_pop3(self, account: Account) -> Account:
        """The same mailbox by POP3."""
        return replace(account, port=self.dovecot.pop3_port)

    def small(self, count: int) -> Account:
        """A mailbox with so many messages of 4 kB."""
        return self.account(f"small{count}", mail.small(count))

    def warm(self) -> None:
        """Let Postroom's modules be compiled, as they are where it was installed."""
        self.copy(Postroom(), self.small(1), 1)

    def copy(
        self, contender: Contender, account: Account, count: int | None, then: Callable[[Path, Run], None] | None = None
    ) -> Run:
        """One copy of a mailbox into a fresh folder. Raises ``FailedError`` when not all of ``count`` is there afterwards."""
        with fresh(self.folder) as folder:
            done = run(contender.prepare(folder, account))
            check(contender, folder, count)
            if then is not None:
                then(folder, done)
            return done

    def present(self, contenders: Iterable[Contender]) -> tuple[list[Contender], list[str]]:
        """Those that are installed, and a remark for each that is not."""
        here, remarks = [], []
        for contender in contenders:
            if absent(contender):
                remarks.append(f"{contender.name} is not installed and was left out")
            else:
                here.append(contender)
        return here, remarks

    def machine(self) -> str:
        """One line: what it was measured on."""
        kind = version("findmnt", "-n", "-o", "FSTYPE", "-T", str(self.folder))
        parts = [
            f"{os.cpu_count()} cores",
            platform.machine(),
            f"Linux {platform.release()}" if sys.platform == "linux" else platform.platform(),
            f"Python {platform.python_version()}",
            f"Dovecot {version('/usr/sbin/dovecot', '--version') or version('dovecot', '--version')}",
            version("mbsync", "--version") or "no mbsync",
            version("getmail", "--version") or "no getmail6",
            f"{kind or 'unknown file system'} at {self.folder.parent}",
            f"load {os.getloadavg()[0]:.1f}",
        ]
        return ", ".join(parts)


def check(contender: Contender, folder: Path, count: int | None) -> None:
    """Raises ``FailedError`` when a contender has not kept so many messages."""
    kept = contender.kept(folder)
    if kept is not None and kept != count:
        raise FailedError(f"{contender.name} kept {kept} messages of {count}")


class Line(FaultProxy):
    """A line to the server that also counts the client's lines and times its conversation from octet to octet."""

    lines = 0
    first = 0.0
    last = 0.0

    def begin(self) -> None:
        """Count from zero again."""
        self.reset_counters()
        self.lines = 0
        self.first = self.last = 0.0

    @property
    def seconds(self) -> float:
        """From the first octet that passed to the last."""
        return self.last - self.first

    async def _let_through(self, connection: _Connection, direction: Direction, data: bytes, writer: object) -> None:
        await super()._let_through(connection, direction, data, writer)  # type: ignore[arg-type]
        self.last = time.perf_counter()
        self.first = self.first or self.last
        if direction == "to_server":
            self.lines += data.count(b"\n")
