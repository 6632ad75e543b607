"""A mail provider to practise with: IMAP, SMTP and OAuth 2.0 on loopback, speaking the real protocols.

The rule: what an application sees here is what it sees at a provider, refusals included; nothing leaves this machine,
and nothing outlives the run but the files in the sandbox's directory. Only the command line may import this package.

Reading order: ``Sandbox`` below puts together ``authority`` (OAuth 2.0, by ``oauth`` and ``tokens``), ``imap`` and ``smtp``
(both by ``sasl``); ``configuration`` writes the ``postroom.ini`` for them; ``samples`` is the mail. ``python -m
postroom.sandbox`` runs it all.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path

from postroom.clock import Clock

try:
    from postroom.sandbox import certificates, configuration
    from postroom.sandbox.authority import MAIL_SCOPE, Authority
    from postroom.sandbox.imap import Held, ImapServer
    from postroom.sandbox.smtp import SmtpServer, Submitted
except ModuleNotFoundError as missing:
    # In this package's name: python -m then says it in one line, without a trace.
    words = f"{missing.name} is missing, which the sandbox needs: pip install 'postroom[sandbox]'"
    raise ModuleNotFoundError(words, name=__name__) from None

__all__ = ["MAIL_SCOPE", "Authority", "Held", "ImapServer", "Sandbox", "SmtpServer", "Submitted"]

ACCOUNTS = ("sales@example.test", "support@example.test")


class Sandbox:
    """An IMAP server, an SMTP server and an OAuth 2.0 authority that trust each other. Use it as ``async with``.

    Inside, ports, address and certificates are known and all are listening; afterwards all are gone. A port of 0
    means any free one. Each account has an empty INBOX, which opens with an access token of the authority (XOAUTH2,
    OAUTHBEARER) or with ``password`` (PLAIN, LOGIN). With the same it sends: to the other accounts at once, and what is
    for anybody else is kept in ``outside``.
    """

    def __init__(
        self,
        directory: Path,
        *,
        accounts: Sequence[str] = ACCOUNTS,
        imap_port: int = 0,
        imaps_port: int = 0,
        smtp_port: int = 0,
        smtps_port: int = 0,
        authority_port: int = 0,
        password: str = "sandbox",  # noqa: S107 - opens nothing but made-up mail on loopback
        clock: Clock | None = None,
    ) -> None:
        self.directory = directory
        self.password = password
        self.authority = Authority(accounts, port=authority_port, clock=clock)
        self.accounts = self.authority.accounts
        self.client_id = self.authority.client.client_id
        self.client_secret = self.authority.client.secret
        self.imap_port = imap_port  # in the clear, with STARTTLS
        self.imaps_port = imaps_port
        self.smtp_port = smtp_port  # in the clear, with STARTTLS
        self.smtps_port = smtps_port
        self.authority_url = ""
        self.ca_file = directory / "ca.pem"
        self._clock = clock
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Sandbox:
        self.directory.mkdir(parents=True, exist_ok=True)
        tls = certificates.make(self.directory)
        self.ca_file = tls.ca_file
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.authority)
            self.authority_url = self.authority.url
            discovery = f"{self.authority_url}/.well-known/openid-configuration"
            self.imap = ImapServer(
                self.authority.judge,
                tls.server,
                scope=MAIL_SCOPE,
                discovery=discovery,
                port=self.imap_port,
                tls_port=self.imaps_port,
                clock=self._clock,
            )
            await stack.enter_async_context(self.imap)
            self.smtp = SmtpServer(
                self.authority.judge,
                tls.server,
                self.imap.deliver,
                scope=MAIL_SCOPE,
                discovery=discovery,
                port=self.smtp_port,
                tls_port=self.smtps_port,
                clock=self._clock,
            )
            await stack.enter_async_context(self.smtp)
            for account in self.accounts:
                self.imap.create_user(account, self.password)
                self.smtp.create_user(account, self.password)
            self.imap_port, self.imaps_port = self.imap.port, self.imap.tls_port
            self.smtp_port, self.smtps_port = self.smtp.port, self.smtp.tls_port
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def deliver(self, account: str, octets: bytes, when: datetime | None = None) -> int:
        """Put a message, octet for octet, into the account's INBOX and return its UID. Idling clients are told at once.

        ``when`` is the date of its arrival (INTERNALDATE), else now.
        """
        return await self.imap.deliver(account, octets, when)

    async def listing(self, account: str, folder: str = "INBOX") -> list[Held]:
        """What a folder of the account holds now."""
        return await self.imap.listing(account, folder)

    @property
    def outside(self) -> list[Submitted]:
        """What was sent to recipients who have no mailbox here, the oldest first."""
        return self.smtp.outside

    def configuration(self, data_directory: Path, *, consented: bool = True) -> str:
        """The text of a ``postroom.ini`` that reads every account, and sends by each.

        Each call issues new refresh tokens; with ``consented`` False none, and ``postroom authorize`` has to get them.
        """
        return configuration.text(
            data_directory=data_directory,
            metadata=self.authority.metadata(),
            client_id=self.client_id,
            client_secret=self.client_secret,
            ca_file=self.ca_file,
            imap_port=self.imaps_port,
            smtp_port=self.smtp_port,
            refresh_tokens={
                account: self.authority.issue_refresh_token(account) if consented else None for account in self.accounts
            },
        )
