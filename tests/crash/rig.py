"""The servers, the seeded mailboxes, and the configuration of who reads them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from crash.mailboxes import PROCESSED, USER, DovecotMailbox, GmailMailbox, Served
from crash.plan import Way
from crash.program import Postroom
from servers.authority import TEST, Authority
from servers.dovecot import Dovecot
from servers.dovecot_config import PASSWORD
from servers.gmail_pop3 import GmailPop3, Manner

_TOKEN_DELAY = 0.25  # seconds that the authority takes for a refresh, so that kills fall into it
_LARGE = 300_000  # octets
_AT_GMAIL = 300  # messages at most: a page and some, for each command there waits for the answer to the one before
_CONFIGURATION = """\
[settings]
data-directory = {data}

[pop-client-crash]
type = {kind}
server = localhost
port = {port}
pop-connection-security = {security}
mailbox = {user}
after-capture = {disposition}
connect-timeout = {timeout}s
protocol-timeout = {timeout}s
"""
_WITH_FOLDER = f"processed-folder-path = {PROCESSED}\n"
_WITH_PASSWORD = f"password = {PASSWORD}\n"
_WITH_TOKEN = """\
mail.{kind}.auth.mechanisms = XOAUTH2
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
    """The seeded mailboxes, restored for each run."""

    dovecot: Dovecot
    gmail: GmailPop3
    authority: Authority
    backup: Path  # does not exist yet
    messages: int
    seed: int
    served: dict[str, Served] = field(init=False)  # by protocol

    def __post_init__(self) -> None:
        at_dovecot = DovecotMailbox(self.dovecot, self.backup, sample(self.seed, self.messages))
        self.gmail.behave(Manner(login_delay=0))
        at_gmail = GmailMailbox(self.gmail, itertools.islice(sample(self.seed, self.messages), _AT_GMAIL))
        self.served = {"imap": at_dovecot.imap, "pop3": at_dovecot.pop3, "gmail": at_gmail}
        assert len(at_dovecot.served) == self.messages, f"{len(at_dovecot.served)} of {self.messages} messages are served"

    def of(self, way: Way) -> Served:
        """The mailbox that is read in that way."""
        return self.served[way.protocol]

    def restore(self, way: Way) -> None:
        """The mailbox is as it was at the beginning, and the authority too."""
        self.of(way).restore()
        if way.login == "token":
            self.authority.reset()
            self.authority.rotate(True, reuse_detection=False)
            self.authority.fault("delay", seconds=_TOKEN_DELAY)

    def configure(self, directory: Path, way: Way, timeout: int) -> Postroom:
        """A fresh Postroom that reads the mailbox."""
        kind = self.of(way).kind
        text = _CONFIGURATION.format(
            data=directory / "data",
            kind=kind,
            port=self.port(way),
            security="ssl-tls" if way.tls else "none",
            user=USER,
            disposition=way.disposition,
            timeout=timeout,
        )
        if way.aim.moved:
            text += _WITH_FOLDER
        if way.tls:
            text += f"tls-ca-file = {self.dovecot.ca_file}\n"
        if way.login == "token":
            text += _WITH_TOKEN.format(
                kind=kind.lower(),
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
        return self.of(way).port(tls=way.tls)
