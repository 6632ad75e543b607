"""The peers that read over POP3."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.contenders import Account, maildir, messages_in
from bench.measure import SCRIPTS


class Mpop:
    """mpop into a Maildir, with its pipelining."""

    name: ClassVar = "mpop"
    program: ClassVar = "mpop"

    def prepare(self, folder: Path, account: Account) -> list[str]:
        maildir(folder / "mail")
        file = folder / "mpoprc"
        file.touch(mode=0o600)  # the password is in it, and it insists
        file.write_text(
            f"account bench\nhost {account.host}\nport {account.port}\nuser {account.user}\npassword {account.password}\n"
            f"auth user\ntls off\nkeep on\nonly_new on\nreceived_header off\nuidls_file {folder / 'uidls'}\n"
            f"delivery maildir {folder / 'mail'}\n"
        )
        return ["mpop", f"--file={file}", "--quiet", "bench"]

    def kept(self, folder: Path) -> int:
        return messages_in(folder / "mail")


class Poplib:
    """Python's own client in a script that syncs each message's file."""

    name: ClassVar = "poplib"
    program: ClassVar = sys.executable

    def prepare(self, folder: Path, account: Account) -> list[str]:
        (folder / "mail").mkdir()
        return [sys.executable, str(SCRIPTS / "pop3_fsync.py"), *account.words, str(folder / "mail")]

    def kept(self, folder: Path) -> int:
        return len(list((folder / "mail").glob("*.eml")))


@dataclass(frozen=True)
class BarePop3:
    """A socket that reads the same answers and throws them away."""

    name: ClassVar = "bare"
    program: ClassVar = sys.executable
    work: str = "fetch"  # or look

    def prepare(self, folder: Path, account: Account) -> list[str]:
        return [sys.executable, str(SCRIPTS / "bare_pop3.py"), *account.words, self.work]

    def kept(self, folder: Path) -> None:
        return None
