"""Postroom and its peers, each told to copy one mailbox into a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from bench.measure import SCRIPTS

POSTROOM = str(Path(sys.executable).parent / "postroom")


@dataclass(frozen=True)
class Account:
    """A mailbox at its server, reached in clear on loopback."""

    host: str
    port: int
    user: str
    password: str

    @property
    def words(self) -> list[str]:
        """For the scripts' command lines."""
        return [self.host, str(self.port), self.user, self.password]


class Contender(Protocol):
    """A way to copy a mailbox."""

    name: ClassVar[str]
    program: ClassVar[str]  # what must be installed for it

    def prepare(self, folder: Path, account: Account) -> list[str]:
        """Write what it needs into an empty folder; return the program to run."""
        ...

    def kept(self, folder: Path) -> int | None:
        """How many messages are in the folder now; None for one that keeps nothing."""
        ...


@dataclass(frozen=True)
class Postroom:
    """``postroom run --once`` with a data directory of its own."""

    name: ClassVar = "postroom"
    program: ClassVar = POSTROOM
    protocol: str = "IMAP"

    def prepare(self, folder: Path, account: Account) -> list[str]:
        file = folder / "postroom.ini"
        file.write_text(
            f"[settings]\ndata-directory = {folder / 'data'}\n\n[pop-client-bench]\ntype = {self.protocol}\n"
            f"server = {account.host}\nport = {account.port}\npop-connection-security = none\n"
            f"mailbox = {account.user}\npassword = {account.password}\n"
        )
        return [POSTROOM, "--config", str(file), "run", "--once"]

    def listed(self, folder: Path) -> list[str]:
        """``postroom messages list --json``: one JSON object for each message."""
        command = [POSTROOM, "--config", str(folder / "postroom.ini"), "messages", "list", "--json"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    def kept(self, folder: Path) -> int:
        return len(self.listed(folder))


class Mbsync:
    """isync's ``mbsync`` into a Maildir."""

    name: ClassVar = "mbsync"
    program: ClassVar = "mbsync"

    def prepare(self, folder: Path, account: Account) -> list[str]:
        file = folder / "mbsyncrc"
        (folder / "mail").mkdir()
        file.write_text(
            f"IMAPAccount bench\nHost {account.host}\nPort {account.port}\nUser {account.user}\nPass {account.password}\n"
            "SSLType None\nAuthMechs LOGIN\n\nIMAPStore far\nAccount bench\n\n"
            f"MaildirStore near\nPath {folder / 'mail'}/\nInbox {folder / 'mail' / 'INBOX'}\n\n"
            "Channel bench\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSync Pull\nSyncState *\n"
        )
        return ["mbsync", "-q", "-c", str(file), "bench"]

    def kept(self, folder: Path) -> int:
        return messages_in(folder / "mail" / "INBOX")


class Getmail:
    """getmail6 into a Maildir."""

    name: ClassVar = "getmail6"
    program: ClassVar = "getmail"

    def prepare(self, folder: Path, account: Account) -> list[str]:
        maildir(folder / "mail")
        (folder / "getmailrc").write_text(
            f"[retriever]\ntype = SimpleIMAPRetriever\nserver = {account.host}\nport = {account.port}\n"
            f'username = {account.user}\npassword = {account.password}\nmailboxes = ("INBOX",)\n\n'
            f"[destination]\ntype = Maildir\npath = {folder / 'mail'}/\n{_for_another(folder)}\n"
            "[options]\nread_all = true\ndelete = false\nverbose = 0\n"
        )
        return ["getmail", f"--getmaildir={folder}", "--rcfile=getmailrc"]

    def kept(self, folder: Path) -> int:
        return messages_in(folder / "mail")


@dataclass(frozen=True)
class Imaplib:
    """Python's own client in a script that syncs each message's file."""

    name: ClassVar = "imaplib"
    program: ClassVar = sys.executable
    together: int = 100  # messages in one FETCH

    def prepare(self, folder: Path, account: Account) -> list[str]:
        (folder / "mail").mkdir()
        script = str(SCRIPTS / "imap_fsync.py")
        return [sys.executable, script, *account.words, str(folder / "mail"), str(self.together)]

    def kept(self, folder: Path) -> int:
        return len(list((folder / "mail").glob("*.eml")))


@dataclass(frozen=True)
class Bare:
    """A socket that reads the same answers and throws them away."""

    name: ClassVar = "bare"
    program: ClassVar = sys.executable
    work: str = "fetch"  # or look

    def prepare(self, folder: Path, account: Account) -> list[str]:
        return [sys.executable, str(SCRIPTS / "bare.py"), *account.words, self.work]

    def kept(self, folder: Path) -> None:
        return None


def _for_another(folder: Path) -> str:
    """getmail refuses to deliver as root: then its Maildir belongs to another user, whom it must be told."""
    if os.geteuid() != 0:
        return ""
    for path in (folder / "mail", *(folder / "mail").iterdir()):
        shutil.chown(path, "nobody")
    return "user = nobody\n"


def maildir(folder: Path) -> None:
    """Make an empty Maildir."""
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(parents=True)


def messages_in(maildir: Path) -> int:
    """How many messages a Maildir holds."""
    return sum(len(list((maildir / part).iterdir())) for part in ("cur", "new"))


def absent(contender: Contender) -> bool:
    """True when its program is not installed."""
    return shutil.which(contender.program) is None


def version(*command: str) -> str:
    """The first line that a program prints of itself; empty when it is not there."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().partition("\n")[0]
