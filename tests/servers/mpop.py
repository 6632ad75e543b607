"""mpop (GPL, only ever run as a command): POP3 into a Maildir, with pipelining where the server offers it."""

from __future__ import annotations

from servers.fetcher import Fetcher
from servers.install import program


class Mpop(Fetcher):
    """mpop for one mailbox. It remembers by UIDL what it has read."""

    def configure(self) -> None:
        """Write ``mpoprc``, which must be readable by its owner alone since the password is in it."""
        mailbox = self.mailbox
        assert mailbox.protocol == "pop3", "mpop reads POP3 only"
        trust = [f"tls_trust_file {mailbox.ca_file}", "tls_starttls off"] if mailbox.ca_file else []
        lines = [
            "account here",
            f"host {mailbox.host}",
            f"port {mailbox.port}",
            f"user {mailbox.user}",
            f"password {mailbox.password}",
            "auth user",
            f"tls {'on' if mailbox.ca_file else 'off'}",
            *trust,
            f"keep {'off' if self.delete else 'on'}",
            "only_new on",
            "received_header off",
            f"uidls_file {self.directory / 'uidls'}",
            f"delivery maildir {self.maildir}",
        ]
        file = self.directory / "mpoprc"
        file.touch(mode=0o600)
        file.write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        """One run over the mailbox."""
        return [program("mpop") or "mpop", f"--file={self.directory / 'mpoprc'}", "--half-quiet", "here"]
