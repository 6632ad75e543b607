"""Switch a mailbox between another system and Postroom, there and back, while mail comes in; see that each message was handled
once.

The other system is getmail6. Of the commands that switch, some are killed at any instant and run again. At last every message
that was delivered must be in getmail's Maildir or here as our own, and none in both.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from crash.program import Postroom, kill
from servers.authority import Authority
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.dovecot_config import PASSWORD
from servers.fetcher import Mailbox
from servers.getmail import Getmail

_INI = """\
[settings]
data-directory = {data}

[pop-client-a]
type = IMAP
server = 127.0.0.1
port = {port}
pop-connection-security = none
mailbox = {user}
password = {password}
after-capture = delete
"""
_KILLED = 0.3  # of the commands


@dataclass
class Incoming:
    """Mail that comes in all the while: with and without Message-IDs, some of it twice the same."""

    dovecot: Dovecot
    user: str
    chance: random.Random
    delivered: Counter[bytes] = field(default_factory=Counter)

    def arrive(self) -> None:
        """One message; one in ten is the same as one before."""
        number = sum(self.delivered.values())
        name = f"Message-ID: <{number}@example.test>\r\n" if number % 5 else ""
        octets = f"From: a@example.test\r\n{name}Subject: {number}\r\n\r\nText {number}\r\n".encode()
        if self.delivered and self.chance.random() < 0.1:
            octets = self.chance.choice(list(self.delivered))
        self.dovecot.deliver(self.user, octets)
        self.delivered[octets] += 1

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """All through the block."""
        ended = threading.Event()

        def flow() -> None:
            while not ended.wait(self.chance.uniform(0.05, 0.4)):
                self.arrive()

        thread = threading.Thread(target=flow, name="incoming")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


class Switching:
    """One mailbox and its two systems."""

    def __init__(self, dovecot: Dovecot, directory: Path, user: str, seed: int) -> None:
        self._chance = random.Random(f"{seed} switches")
        self._postroom = Postroom(directory)
        self._directory = directory
        self._getmail = Getmail(Mailbox("imap", dovecot.host, dovecot.imap_port, user))
        self._incoming = Incoming(dovecot, user, random.Random(f"{seed} incoming"))
        self.kills = 0
        text = _INI.format(data=directory / "data", port=dovecot.imap_port, user=user, password=PASSWORD)
        (directory / "postroom.ini").write_text(text)

    def run(self, switches: int) -> list[str]:
        """What is to be complained of after so many switches there and back; empty when all is well."""
        complaints: list[str] = []
        with self._getmail:
            with self._incoming.flowing():
                for number in range(switches):
                    complaints += self._there(number)
                    complaints += self._here(number)
            complaints += self._command("shadow", "a", "--give-back")
            complaints += self._fetch()
            complaints += self._judged()
        return complaints

    def _there(self, number: int) -> list[str]:
        """Under the other system, with us beside it."""
        self._getmail.delete = number % 2 == 1
        give_back = ["--give-back"] if number else []
        complaints = self._command("shadow", "a", *give_back)
        complaints += self._fetch()
        return complaints + self._command("shadow", "a", *self._maildir, foreseen=(0, 4))

    def _here(self, number: int) -> list[str]:
        """Taken over, and read for a while under our own settings."""
        complaints = self._command("shadow", "a", *self._maildir, "--take-over")
        for _ in range(1 + number % 2):
            complaints += self._command("run", "--once")
        return complaints

    @property
    def _maildir(self) -> tuple[str, str]:
        return "--maildir", str(self._getmail.maildir)

    def _fetch(self) -> list[str]:
        done = self._getmail.run()
        return [] if done.status == 0 else [f"getmail: {done.words}"]

    def _command(self, *arguments: str, foreseen: tuple[int, ...] = (0,)) -> list[str]:
        """A command to its end; before that, now and then, the same one killed at any instant."""
        while self._chance.random() < _KILLED:
            with self._postroom.running(*arguments) as process:
                try:
                    process.wait(self._chance.uniform(0.1, 1.5))
                except subprocess.TimeoutExpired:
                    kill(process)
                    self.kills += 1
        with self._postroom.running(*arguments) as process:
            process.wait(60)
        ended = self._postroom.ended(process)
        return [] if ended.status in foreseen else [f"{' '.join(arguments)} ended with {ended.status}: {ended.errors}"]

    def _judged(self) -> list[str]:
        here = self._directory / "out"
        with self._postroom.running("messages", "export", "--all", "--output", str(here)) as process:
            process.wait(60)
        with self._postroom.running("messages", "list", "--json") as process:
            process.wait(60)
        rows = self._postroom.ended(process).reports
        ours = Counter((here / f"{row['id']}.eml").read_bytes() for row in rows if row["handled"] is None)
        theirs, delivered = Counter(self._getmail.kept()), self._incoming.delivered
        both = ours + theirs
        complaints = [f"never handled: {octets!r}" for octets in (delivered - both).elements()]
        complaints += [f"handled twice: {octets!r}" for octets in (both - delivered).elements()]
        if not ours or not theirs:
            complaints.append("one of the systems handled nothing")
        return complaints


def main() -> int:
    """Make the switches and tell what was found; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m crash.switches", description=__doc__)
    parser.add_argument("--switches", type=int, default=100, help="there and back so often (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="where kills and mail come from (%(default)s)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="postroom-switches-"))
    with (
        Certificates() as certificates,
        Authority(certificates=certificates) as authority,
        Dovecot(authority.tokens, certificates=certificates) as dovecot,
    ):
        switching = Switching(dovecot, folder, "switches@example.test", options.seed)
        complaints = switching.run(options.switches)
    for complaint in complaints:
        print(complaint)
    print(f"{options.switches} switches there and back, {switching.kills} kills: {len(complaints)} complaints")
    if complaints:
        print(f"evidence is in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
