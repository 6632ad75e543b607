"""What a client is judged with: what it names, what is known of providers, and the other clients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from postroom.settings.faults import Fault
from postroom.settings.ini import IniSection
from postroom.settings.pop_client import PopClient
from postroom.settings.reading import Draft
from postroom.settings.smtp_client import Client, SmtpClient

GOOGLE, MICROSOFT = "google", "microsoft"  # authorities with rules of their own in the options' specification


class ProviderFacts(Protocol):
    """What must be known of providers to judge a file."""

    def authority_name(self, tenant_authority: str, named: Collection[str]) -> str | None:
        """Which authority a value chooses: one of ``named``, or a built-in one; None where nobody knows it."""

    def server_of(self, client: Client, named: Collection[str]) -> str | None:
        """The server that a client logs in at, written or known; None where nobody knows it."""

    def authority_of_mailbox(self, mailbox: str) -> str | None:
        """The built-in authority whose accounts have addresses like this one."""


Places = Mapping[str, tuple[str, IniSection]]


@dataclass(frozen=True)
class Context:
    """What a client is judged with."""

    secrets: Places  # name in lower case: name as written, section
    authorities: Places
    providers: ProviderFacts
    drafts: tuple[Draft[PopClient], ...]  # all pop-clients in the order of the file
    senders: tuple[Draft[SmtpClient], ...]  # all smtp-clients likewise

    @property
    def everyone(self) -> tuple[Draft[Client], ...]:
        """All clients."""
        return (*self.drafts, *self.senders)

    def authority(self, draft: Draft[Client]) -> str | None:
        """The name of the authority that gives a client its tokens; None where nobody knows it."""
        if "tenant_authority" in draft.wrong:
            return None
        return self.providers.authority_name(draft.client.tenant_authority, self._authority_names)

    def server(self, draft: Draft[Client]) -> str | None:
        """The server of a client, written or known."""
        return self.providers.server_of(draft.client, self._authority_names)

    def identity(self, draft: Draft[PopClient]) -> tuple[object, ...] | None:
        """What tells one mailbox from another: type, server and login."""
        server = self.server(draft)
        if server is None or not draft.client.mailbox or draft.lacks("type") or draft.wrong & {"type", "server"}:
            return None
        return draft.client.type, server.lower(), draft.client.account.lower()

    def forgets_mechanism(self, draft: Draft[Client]) -> bool:
        """Whether a Google application is written, and no mechanism that would use it."""
        client = draft.client
        if client.mechanisms or "mechanisms" in draft.wrong or draft.lacks("tenant_authority") or draft.lacks("client_id"):
            return False
        return self.authority(draft) == GOOGLE and not (isinstance(client, PopClient) and draft.lacks("secret"))

    def means_oauth(self, draft: Draft[Client]) -> bool:
        """Whether OAuth is on, or was meant to be: what is missing is told at once, then."""
        client = draft.client
        meant = isinstance(client, SmtpClient) and client.enable_authentication is None and self.forgets_mechanism(draft)
        return meant or logs_in_by_token(client)

    @property
    def _authority_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.authorities.values())


def logs_in_by_token(client: Client) -> bool:
    """Whether the options of OAuth act at all."""
    return client.uses_oauth and (isinstance(client, PopClient) or client.authenticates)


Rule = Callable[[Draft[Client], Context], Iterator[Fault]]
PopRule = Callable[[Draft[PopClient], Context], Iterator[Fault]]
SmtpRule = Callable[[Draft[SmtpClient], Context], Iterator[Fault]]
