"""getmail6 (GPL, only ever run as a command): POP3 or IMAP into a Maildir."""

from __future__ import annotations

import os
import shutil
from typing import ClassVar

from servers.fetcher import Fetcher
from servers.install import program

KINDS = {
    ("imap", False): "SimpleIMAPRetriever",
    ("imap", True): "SimpleIMAPSSLRetriever",
    ("pop3", False): "SimplePOP3Retriever",
    ("pop3", True): "SimplePOP3SSLRetriever",
}


class Getmail(Fetcher):
    """getmail6 for one mailbox. It remembers by UIDL, or by UIDVALIDITY and UID, what it has read."""

    own_lines: ClassVar = (b"Return-Path: <unknown>\r\n", b"X-getmail-retrieved-from-mailbox: INBOX\r\n")

    def configure(self) -> None:
        """Write ``getmailrc``."""
        mailbox = self.mailbox
        lines = [
            "[retriever]",
            f"type = {KINDS[mailbox.protocol, mailbox.ca_file is not None]}",
            f"server = {mailbox.host}",
            f"port = {mailbox.port}",
            f"username = {mailbox.user}",
            f"password = {mailbox.password}",
            *([f"ca_certs = {mailbox.ca_file}"] if mailbox.ca_file else []),
            *(['mailboxes = ("INBOX",)'] if mailbox.protocol == "imap" else []),
            "[destination]",
            "type = Maildir",
            f"path = {self.maildir}/",
            *self._owner(),
            "[options]",
            "read_all = false",
            f"delete = {str(self.delete).lower()}",
            "delivered_to = false",
            "received = false",
            "verbose = 1",
        ]
        (self.directory / "getmailrc").write_text("\n".join(lines) + "\n")

    def _owner(self) -> list[str]:
        """getmail refuses to deliver as root: then the Maildir belongs to another user, whom it must be told."""
        if os.geteuid() != 0:
            return []
        for path in (self.maildir, *self.maildir.iterdir()):
            shutil.chown(path, "nobody")
        return ["user = nobody"]

    def environment(self) -> dict[str, str]:
        """Let its delivering child wait a moment.

        getmail begins to listen for a child's end after it forked it: a child that is faster is never heard of, and getmail
        waits for three minutes, then delivers the message again (6.18).
        """
        shim = "import os, time\nos.register_at_fork(after_in_child=lambda: time.sleep(0.05))\n"
        (self.directory / "sitecustomize.py").write_text(shim)
        return {"PYTHONPATH": str(self.directory)}

    def command(self) -> list[str]:
        """One run over the mailbox."""
        return [program("getmail") or "getmail", f"--getmaildir={self.directory}", "--rcfile=getmailrc"]
