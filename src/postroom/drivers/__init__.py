"""The seam to the mail world: a ``Reader`` for each protocol. A driver knows its protocol and nothing of the store.

Protocol, provider and credentials are three independent axes; they meet in ``open_reader`` alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from postroom.clock import Clock
from postroom.drivers.provider import Authority, Providers
from postroom.errors import ConfigError
from postroom.model import Absent, Changes, Fetched, Listed, Unfetched, Unsettled
from postroom.net.stream import Dialer, Trace
from postroom.net.tokens import Credentials, PasswordCredentials, TokenCredentials, TokenRequest, Tokens
from postroom.settings import AuthoritySection, MailboxType, PopClient, SecretSection


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a server did of what it was asked to settle. What is in neither is asked for again."""

    committed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()  # it holds another message, or none, under these identifiers; nothing was done to it
    remarks: tuple[str, ...] = ()  # what an operator should know


class Reader(Protocol):
    """Reads one mailbox, cycle after cycle, until its connection or its connection's settings change. One task uses it."""

    async def changes(self, folder: str, since: str | None, limit: int) -> Changes:
        """List what arrived in a folder since a state; None lists all, the newest first. May repeat; never leaves one out."""

    def fetch(self, folder: str, listed: Sequence[Listed]) -> AsyncIterator[Fetched | Absent | Unfetched]:
        """Yield each message's octets exactly as stored, or why not. Each is answered once, in any order.

        A ``Fetched`` with a ``rest`` must be read to its end before the next is taken.
        """

    async def settle(self, folder: str, items: Sequence[Unsettled], target: str | None) -> Settlement:
        """Mark, move (to ``target``) or delete. Compares size and date first. Repeating is harmless."""

    async def commit(self) -> Sequence[str]:
        """Make final what settle asked for; return those committed by it. IMAP: nothing is left to do."""

    async def wait(self, seconds: float) -> None:
        """Return when something may have arrived, or after so long."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A client's settings with what they refer to: all that a cycle needs. Equal mailboxes may share a conversation."""

    client: PopClient
    secret: SecretSection | None
    authorities: Mapping[str, AuthoritySection]


@dataclass(frozen=True)
class Kit:
    """What drivers work with."""

    clock: Clock
    dialer: Dialer
    tokens: Tokens
    providers: Providers
    trace: Callable[[str], Trace]  # for a section with enable-debug


def open_reader(mailbox: Mailbox, kit: Kit) -> AbstractAsyncContextManager[Reader]:
    """A reader, logged in within the block. Raises ``ConfigError``, ``AuthError``, the network's errors."""
    from postroom.drivers.imap import open_imap

    client = mailbox.client
    place = kit.providers.place_of(client, mailbox.authorities)
    credentials = credentials_of(mailbox, kit)
    trace = kit.trace(client.section) if client.enable_debug else None
    return {MailboxType.IMAP: open_imap}[client.type](place, credentials, kit, trace)


def credentials_of(mailbox: Mailbox, kit: Kit) -> Credentials:
    """Who answers the server: a password, or a token where the mechanisms say so. Raises ``ConfigError``."""
    client = mailbox.client
    if not client.uses_oauth:
        return PasswordCredentials(client.mailbox, kit.providers.basic_password(client), client.mechanisms)
    authority = kit.providers.authority_of(client, mailbox.authorities)
    request = token_request(mailbox, authority)
    return TokenCredentials(client.mailbox, request, kit.tokens, client.mechanisms)


def token_request(mailbox: Mailbox, authority: Authority) -> TokenRequest:
    """The refresh that this mailbox's settings ask for. Raises ``ConfigError``."""
    client = mailbox.client
    if client.client_id is None or client.password is None:
        raise ConfigError(f"{client.section}: XOAUTH2 needs client-id and password (the refresh token)")
    return TokenRequest(
        token_endpoint=authority.token_endpoint,
        client_id=client.client_id,
        client_secret=None if mailbox.secret is None else mailbox.secret.password,
        refresh_token=client.password,
        scope=client.scope or authority.scope,
        ca_file=authority.ca_file,
        margin=client.token_expiry_margin_time,
        issuer=authority.issuer,
        consent=authority.authorization_endpoint,
    )
