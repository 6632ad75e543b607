"""The servers, the seeded mailbox and its backup, and the configuration of who reads it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from crash.plan import Way
from crash.program import Postroom
from crash.verdict import Seeded
from servers.authority import TEST, Authority
from servers.dovecot import Dovecot
from servers.dovecot_config import PASSWORD

USER = "crash@example.test"
PROCESSED = "Processed"

_TOKEN_DELAY = 0.25  # seconds that the authority takes for a refresh, so that kills fall into it
_LARGE = 300_000  # octets
_CONFIGURATION = """\
[settings]
data-directory = {data}

[pop-client-crash]
type = imap
server = localhost
port = {port}
pop-connection-security = {security}
mailbox = {user}
after-capture = {disposition}
processed-folder-path = {processed}
connect-timeout = {timeout}s
protocol-timeout = {timeout}s
"""
_WITH_PASSWORD = f"password = {PASSWORD}\n"
_WITH_TOKEN = """\
mail.imap.auth.mechanisms = XOAUTH2
tenant-authority = rig
client-id = {client}
secret = rig
scope = https://mail.google.com/
password = {refresh_token}

[authority-rig]
token_endpoint = {endpoint}

[secret-rig]
password = {secret}
"""


def sample(seed: int, count: int) -> Iterator[bytes]:
    """Messages: mostly of 1 to 8 kB, some large, and now and then one with the very octets of the one before."""
    chance = random.Random(f"{seed} mailbox")
    message = b""
    for number in range(count):
        if number % 97 != 96:
            size = _LARGE if number % 131 == 60 else chance.randint(1000, 8000)
            message = _message(number, size, chance)
        yield message


def _message(number: int, size: int, chance: random.Random) -> bytes:
    head = f"From: Sender {number} <sender@example.test>\r\nSubject: Letter {number}\r\nMessage-ID: <{number}@crash.test>\r\n\r\n"
    text = chance.randbytes(size // 2).hex()
    return (head + "\r\n".join(text[start : start + 76] for start in range(0, len(text), 76)) + "\r\n").encode()


@dataclass
class Rig:
    """One seeded mailbox, restored for each run."""

    dovecot: Dovecot
    authority: Authority
    backup: Path  # does not exist yet
    messages: int
    seed: int
    seeded: Seeded = field(init=False)

    def __post_init__(self) -> None:
        self.dovecot.clear(USER)
        self.dovecot.seed(USER, sample(self.seed, self.messages))
        served = self.dovecot.raw(USER)
        assert len(served) == self.messages, f"{len(served)} of {self.messages} messages are served"
        validity = int(
            self.dovecot.doveadm("-f", "flow", "mailbox", "status", "-u", USER, "uidvalidity", "INBOX").partition("=")[2]
        )
        digests = {uid: hashlib.sha256(octets).hexdigest() for uid, octets in served.items()}
        self.seeded = Seeded(validity, digests, {uid: len(octets) for uid, octets in served.items()})
        self.dovecot.copy_maildir(USER, self.backup)

    def restore(self, way: Way) -> None:
        """The mailbox is as it was at the beginning, and the authority too."""
        self.dovecot.restore_maildir(USER, self.backup)
        if way.login == "token":
            self.authority.reset()
            self.authority.rotate(True, reuse_detection=False)
            self.authority.fault("delay", seconds=_TOKEN_DELAY)

    def configure(self, directory: Path, way: Way, port: int | None = None, *, timeout: int = 60) -> Postroom:
        """A fresh Postroom that reads the mailbox, on another port where one is given."""
        text = _CONFIGURATION.format(
            data=directory / "data",
            port=port or self.port(way),
            security="ssl-tls" if way.tls else "none",
            user=USER,
            disposition=way.disposition,
            processed=PROCESSED,
            timeout=timeout,
        )
        if way.tls:
            text += f"tls-ca-file = {self.dovecot.ca_file}\n"
        if way.login == "token":
            text += _WITH_TOKEN.format(
                client=TEST.id,
                secret=TEST.secret,
                refresh_token=self.authority.refresh_token(USER),
                endpoint=self.authority.token_url,
            )
        else:
            text += _WITH_PASSWORD
        (directory / "postroom.ini").write_text(text)
        return Postroom(directory)

    def port(self, way: Way) -> int:
        """The server's own port."""
        return self.dovecot.imaps_port if way.tls else self.dovecot.imap_port

    def inbox(self) -> tuple[set[int], set[int]]:
        """The UIDs in the mailbox now, and those that are marked as seen."""
        with self.dovecot.imap(USER) as connection:
            connection.select(readonly=True)
            found = [connection.uid("SEARCH", criterion)[1][0] or b"" for criterion in ("ALL", "SEEN")]
        all_, seen = (set(map(int, line.split())) for line in found)
        return all_, seen

    def moved(self) -> list[str]:
        """The digests of what is in the folder for processed messages."""
        with self.dovecot.imap(USER) as connection:
            if connection.select(PROCESSED, readonly=True)[0] != "OK":
                return []
        return [hashlib.sha256(octets).hexdigest() for octets in self.dovecot.raw(USER, PROCESSED).values()]
