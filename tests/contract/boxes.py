"""Mailboxes of every kind behind one face: filled and looked at by others, and read by a ``Reader``."""

from __future__ import annotations

import imaplib
import poplib
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, nullcontext
from typing import Protocol

from fakes import HastyClock, MemoryReader, MemoryServer, kit
from maildrop import Maildrop, MaildropReader
from postroom.drivers import Reader
from postroom.drivers.imap import open_imap
from postroom.drivers.pop3 import open_pop3
from postroom.drivers.provider import Place
from postroom.net.credentials import PasswordCredentials
from postroom.secret import Secret
from postroom.settings import Security
from servers.courier import Courier
from servers.dovecot import Dovecot
from servers.dovecot_config import PASSWORD
from servers.gmail_pop3 import GmailPop3, Popped
from servers.gmail_pop3 import Place as At
from servers.pymap_server import Pymap

_UID = re.compile(rb"UID (\d+)")


class Box(Protocol):
    """One mailbox, empty at first."""

    folder: str

    @property
    def imap(self) -> bool:
        """Listings have dates, messages are marked and moved, and what is settled is final at once. Else it is as POP3 is."""

    def fill(self, *letters: bytes) -> None:
        """They arrive in this order."""

    def texts(self) -> list[bytes]:
        """What is there now and would be listed, sorted."""

    def remove(self, letter: bytes) -> None:
        """Somebody else removes it."""

    def elsewhere(self, folder: str) -> list[bytes]:
        """What is in another folder of the mailbox, sorted."""

    def marked(self) -> int:
        """Messages that anybody can see have been read."""

    def reading(self, *, read_only: bool = False) -> AbstractAsyncContextManager[Reader]:
        """A conversation of its own."""


class MemoryBox:
    """The fake for IMAP."""

    folder, imap = "INBOX", True

    def __init__(self) -> None:
        self.server = MemoryServer(long=100_000)

    def fill(self, *letters: bytes) -> None:
        held = self.server.folder()
        for letter in letters:
            held.messages[held.add(letter)] = (letter, f"2026-02-01 {len(held.messages)}")

    def texts(self) -> list[bytes]:
        return self.elsewhere(self.folder)

    def remove(self, letter: bytes) -> None:
        held = self.server.folder().messages
        del held[next(uid for uid, (octets, _) in held.items() if octets == letter)]

    def elsewhere(self, folder: str) -> list[bytes]:
        return sorted(octets for octets, _ in self.server.folder(folder).messages.values())

    def marked(self) -> int:
        return len(self.server.folder().seen)

    @asynccontextmanager
    async def reading(self, *, read_only: bool = False) -> AsyncIterator[Reader]:
        yield MemoryReader(self.server)


class MaildropBox:
    """The fake for POP3."""

    folder, imap = "INBOX", False

    def __init__(self, *, hides: bool) -> None:
        self.maildrop = Maildrop(hides=hides, long=100_000)

    def fill(self, *letters: bytes) -> None:
        for letter in letters:
            self.maildrop.add(letter)

    def texts(self) -> list[bytes]:
        return sorted(self.maildrop.shown.values())

    def remove(self, letter: bytes) -> None:
        del self.maildrop.mails[next(name for name, octets in self.maildrop.mails.items() if octets == letter)]

    def elsewhere(self, folder: str) -> list[bytes]:
        return []

    def marked(self) -> int:
        return len(self.maildrop.popped)

    @asynccontextmanager
    async def reading(self, *, read_only: bool = False) -> AsyncIterator[Reader]:
        yield MaildropReader(self.maildrop)


class ServerBox:
    """A mailbox at a real server, looked at over IMAP and read over IMAP or POP3."""

    def __init__(
        self,
        seed: Callable[[Iterable[bytes]], None],
        connect: Callable[[], AbstractContextManager[imaplib.IMAP4]],
        place: Place,
        user: str,
        *,
        pop3: bool = False,
        folder: str = "INBOX",
    ) -> None:
        self.folder, self.imap = folder, not pop3
        self._seed = seed
        self._connect = connect
        self._place = place
        self._user = user

    def fill(self, *letters: bytes) -> None:
        self._seed(letters)

    def texts(self) -> list[bytes]:
        return self.elsewhere(self.folder)

    def _all(self, connection: imaplib.IMAP4, folder: str) -> dict[bytes, bytes]:
        if connection.select(folder, readonly=True)[0] != "OK" or not (connection.uid("SEARCH", "ALL")[1][0] or b""):
            return {}
        _, parts = connection.uid("FETCH", "1:*", "(UID BODY.PEEK[])")
        return {found[1]: part[1] for part in parts if isinstance(part, tuple) and (found := _UID.search(part[0]))}

    def remove(self, letter: bytes) -> None:
        with self._connect() as connection:
            uid = next(uid for uid, octets in self._all(connection, self.folder).items() if octets == letter)
            connection.select(self.folder)
            connection.uid("STORE", uid.decode(), "+FLAGS", "(\\Deleted)")
            connection.expunge()

    def elsewhere(self, folder: str) -> list[bytes]:
        with self._connect() as connection:
            return sorted(self._all(connection, folder).values())

    def marked(self) -> int:
        with self._connect() as connection:
            connection.select(self.folder, readonly=True)
            return len((connection.uid("SEARCH", "SEEN")[1][0] or b"").split())

    def reading(self, *, read_only: bool = False) -> AbstractAsyncContextManager[Reader]:
        return _opened(self._place, self._user, imap=self.imap, read_only=read_only)


class GmailBox:
    """A mailbox that POP3 looks into as Gmail's does; what is had or deleted goes to the trash."""

    folder, imap = "INBOX", False

    def __init__(self, gmail: GmailPop3, user: str) -> None:
        gmail.add_user(user, setting=Popped.DELETE)
        self._gmail = gmail
        self._user = user
        self._mails: dict[str, bytes] = {}

    def fill(self, *letters: bytes) -> None:
        for letter in letters:
            self._mails[self._gmail.deliver(self._user, letter)] = letter

    def texts(self) -> list[bytes]:
        shown = (mail.uidl for mail in self._gmail.mails(self._user) if not mail.popped and mail.place is not At.TRASH)
        return sorted(self._mails[uidl] for uidl in shown)

    def remove(self, letter: bytes) -> None:
        connection = poplib.POP3("127.0.0.1", self._gmail.port, timeout=20)
        connection.user(self._user)
        connection.pass_(PASSWORD)
        listed = (line.split() for line in connection.uidl()[1])
        connection.dele(next(int(number) for number, uidl in listed if self._mails[uidl.decode()] == letter))
        connection.quit()

    def elsewhere(self, folder: str) -> list[bytes]:
        return []

    def marked(self) -> int:
        return sum(mail.popped for mail in self._gmail.mails(self._user))

    def reading(self, *, read_only: bool = False) -> AbstractAsyncContextManager[Reader]:
        return _opened(_place(self._gmail.port), self._user, imap=False, read_only=read_only)


def at_dovecot(dovecot: Dovecot, user: str, *, pop3: bool) -> Box:
    """A mailbox of Dovecot's."""
    place = _place(dovecot.pop3_port if pop3 else dovecot.imap_port)
    return ServerBox(lambda letters: dovecot.seed(user, letters), lambda: dovecot.imap(user), place, user, pop3=pop3)


def at_courier(courier: Courier, user: str, *, pop3: bool) -> Box:
    """A mailbox of Courier's."""
    courier.add_user(user)
    place = _place(courier.pop3_port if pop3 else courier.imap_port)
    return ServerBox(lambda letters: courier.seed(user, letters), lambda: courier.imap(user), place, user, pop3=pop3)


def at_pymap(pymap: Pymap, connection: imaplib.IMAP4, folder: str) -> Box:
    """A folder of pymap's one user, looked at over a connection that stays."""
    connection.create(folder)

    def seed(letters: Iterable[bytes]) -> None:
        for letter in letters:
            connection.append(folder, "", "", letter)

    return ServerBox(seed, lambda: nullcontext(connection), _place(pymap.imap_port), pymap.user, folder=folder)


def _place(port: int) -> Place:
    return Place("localhost", port, Security.NONE, None, 10.0, 30.0)


@asynccontextmanager
async def _opened(place: Place, user: str, *, imap: bool, read_only: bool) -> AsyncIterator[Reader]:
    credentials = PasswordCredentials(user, Secret(PASSWORD), (), "", "pop-client-a")
    opener = open_imap if imap else open_pop3
    async with opener(place, credentials, kit(HastyClock()), None, read_only=read_only) as reader:
        yield reader
