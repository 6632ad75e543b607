"""The seeded mailboxes: one at Dovecot, read over IMAP and POP3, and one with the ways of Gmail. Restored for every run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from crash.verdict import Left, Seeded
from servers.dovecot import Dovecot
from servers.gmail_pop3 import GmailPop3, Place

USER = "crash@example.test"
PROCESSED = "Processed"


class Served(Protocol):
    """A mailbox of one protocol at its server."""

    seeded: Seeded
    kind: str  # of the client's section

    def restore(self) -> None:
        """The mailbox is as it was at the beginning."""

    def port(self, *, tls: bool) -> int:
        """The server's own port."""

    def left(self) -> Left:
        """What is there now."""

    def moved(self) -> list[str]:
        """The digests of what is there, and not in the mailbox."""

    def preserve(self, directory: Path) -> None:
        """Keep what shows what went wrong."""


class DovecotMailbox:
    """Seeded once, with a backup; ``imap`` and ``pop3`` are views of it."""

    def __init__(self, dovecot: Dovecot, backup: Path, messages: Iterable[bytes]) -> None:
        self.dovecot = dovecot
        self.backup = backup
        dovecot.clear(USER)
        dovecot.seed(USER, messages)
        self.served = dovecot.raw(USER)
        line = dovecot.doveadm("-f", "flow", "mailbox", "status", "-u", USER, "uidvalidity", "INBOX")
        validity = int(line.partition("=")[2])
        dovecot.copy_maildir(USER, backup)
        self.imap: Served = _View(self, "IMAP", {uid: f"{validity}/{uid}" for uid in self.served})
        # as the configuration of Dovecot says it: %08Xu%08Xv
        self.pop3: Served = _View(self, "POP3", {uid: f"{uid:08x}{validity:08x}" for uid in self.served})


class _View:
    def __init__(self, mailbox: DovecotMailbox, kind: str, names: Mapping[int, str]) -> None:
        self.kind = kind
        self._mailbox = mailbox
        self._dovecot = mailbox.dovecot
        self._names = names
        served = {names[uid]: octets for uid, octets in mailbox.served.items()}
        self.seeded = _seeded(served)

    def restore(self) -> None:
        self._dovecot.restore_maildir(USER, self._mailbox.backup)

    def port(self, *, tls: bool) -> int:
        if self.kind == "IMAP":
            return self._dovecot.imaps_port if tls else self._dovecot.imap_port
        return self._dovecot.pop3s_port if tls else self._dovecot.pop3_port

    def left(self) -> Left:
        with self._dovecot.imap(USER) as connection:
            connection.select(readonly=True)
            found = [connection.uid("SEARCH", criterion)[1][0] or b"" for criterion in ("ALL", "SEEN")]
        listed, seen = (frozenset(self._names[int(uid)] for uid in line.split()) for line in found)
        return Left(listed, seen)

    def moved(self) -> list[str]:
        with self._dovecot.imap(USER) as connection:
            if connection.select(PROCESSED, readonly=True)[0] != "OK":
                return []
        return [hashlib.sha256(octets).hexdigest() for octets in self._dovecot.raw(USER, PROCESSED).values()]

    def preserve(self, directory: Path) -> None:
        self._dovecot.copy_maildir(USER, directory / "Maildir")
        (directory / "dovecot.log").write_text(self._dovecot.log_text())


class GmailMailbox:
    """More than one page of Gmail's: what is behind it is listed once the first was popped."""

    kind = "POP3"

    def __init__(self, gmail: GmailPop3, messages: Iterable[bytes]) -> None:
        self._gmail = gmail
        gmail.add_user(USER)
        self._served = {gmail.deliver(USER, octets): octets for octets in messages}
        self.seeded = _seeded(self._served)

    def restore(self) -> None:
        self._gmail.unpop(USER)

    def port(self, *, tls: bool) -> int:
        return self._gmail.tls_port if tls else self._gmail.port

    def left(self) -> Left:
        return Left(frozenset(mail.uidl for mail in self._gmail.mails(USER) if not mail.popped))

    def moved(self) -> list[str]:
        elsewhere = (mail.uidl for mail in self._gmail.mails(USER) if mail.place is not Place.INBOX)
        return [self.seeded.digests[uidl] for uidl in elsewhere]

    def preserve(self, directory: Path) -> None:
        mails = [asdict(mail) for mail in self._gmail.mails(USER)]
        said = [asdict(line) for line in self._gmail.log()[-2000:]]
        (directory / "gmail.json").write_text(json.dumps({"mails": mails, "said": said}, indent=1))


def _seeded(served: Mapping[str, bytes]) -> Seeded:
    digests = {name: hashlib.sha256(octets).hexdigest() for name, octets in served.items()}
    return Seeded(digests, {name: len(octets) for name, octets in served.items()})
