"""The seam to the mail world: a ``Reader`` for each protocol. A driver knows its protocol and nothing of the store.

Protocol, provider and credentials are three independent axes; they meet in ``open_reader`` alone.
"""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol

from postroom.clock import Clock
from postroom.drivers.idles import Idles
from postroom.drivers.provider import Authority, Place, Providers
from postroom.errors import ConfigError, PostroomError
from postroom.model import Absent, Changes, Fetched, Listed, Preview, Unfetched, Unsettled
from postroom.net.credentials import Credentials, PasswordCredentials, TokenCredentials, TokenSource
from postroom.net.grants import Application, ClientCredentials, External, OwnerPassword, RefreshToken, ServiceAccount, Way
from postroom.net.http import Http
from postroom.net.stream import Dialer, Trace
from postroom.net.tokens import Consented, TokenRequest, Tokens
from postroom.outbound import Content, DeliveryStatus, Envelope
from postroom.settings import (
    AuthoritySection,
    Client,
    FirstRead,
    GrantType,
    MailboxType,
    PopClient,
    ProxySettings,
    SecretSection,
    ServerType,
    SmtpClient,
)
from postroom.wire.jwt import Wanted

First = FirstRead | datetime.date
"""What of a mailbox that was never read is read: all, what comes from now on, or what the server got on a day (UTC) or later."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a server did of what it was asked to settle. What is in neither is asked for again."""

    committed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()  # it holds another message, or none, under these identifiers; nothing was done to it
    remarks: tuple[str, ...] = ()  # what an operator should know


class Reader(Protocol):
    """Reads one mailbox, cycle after cycle, until its connection or its connection's settings change. One task uses it."""

    async def changes(self, folder: str, since: str | None, limit: int, first: First = FirstRead.ALL) -> Changes:
        """List what arrived in a folder since a state; None lists all, the newest first. May repeat; never leaves one out.

        With None, ``first`` says what of the messages that are there is to be read; the state keeps it until the folder is
        whole. The others are listed as ``spared``. ``limit`` is for both together.
        """

    async def headers(self, folder: str, listed: Sequence[Listed]) -> Mapping[str, bytes]:
        """Each message's header by identifier, or as much of it as holds the Message-ID. What cannot be had is left out."""

    async def preview(self, folder: str, first: First) -> Preview:
        """What a first read would take."""

    def fetch(self, folder: str, listed: Sequence[Listed]) -> AsyncIterator[Fetched | Absent | Unfetched]:
        """Yield each message's octets exactly as stored, or why not. Each is answered once, in any order.

        A ``Fetched`` with a ``rest`` must be read to its end before the next is taken.
        """

    def fetch_headers(self, folder: str, listed: Sequence[Listed]) -> AsyncIterator[Fetched | Absent | Unfetched]:
        """Like ``fetch``, the header alone (RFC 5322 section 2.2) with the empty line behind it."""

    async def settle(self, folder: str, items: Sequence[Unsettled], target: str | None) -> Settlement:
        """Mark, move (to ``target``) or delete. Compares size and date first. Repeating is harmless."""

    def census(self, folder: str) -> AsyncIterator[Sequence[Listed]]:
        """All that the server holds in a folder now, in pieces, each message once; changes nothing.

        A message that the server names and says no more of has size 0 and no date.
        """

    async def commit(self) -> Sequence[str]:
        """Make final what settle asked for; return those committed by it. IMAP: nothing is left to do."""

    async def wait(self, seconds: float) -> None:
        """Return when something may have arrived, or after so long."""

    def stands(self) -> bool:
        """Whether the conversation stands while waiting. Else it ends with its cycle, and each cycle has a reader of its own."""


Commit = Callable[[Sequence[str]], Awaitable[None]]
"""Is told, before the octet after which a server may accept, for which recipients (addresses of the envelope) it may."""


class Submitter(Protocol):
    """Sends messages of one account over one conversation, one after the other. One task uses it."""

    async def submit(self, envelope: Envelope, content: Content, about_to_commit: Commit) -> Sequence[DeliveryStatus]:
        """Send; return one status for each recipient, in their order: SENT, PENDING (refused for now), FAILED, or DOUBT.

        ``about_to_commit`` is awaited before the octet after which the server may accept, with the recipients that it has
        not refused; once, or once for each part where the server takes so many recipients in several parts only; it is not
        called where none is left. DOUBT is said where no answer came after that. What concerns
        the account and not this message raises before anything may have been accepted: ``AuthError``, ``Throttled``
        (limits and quotas), ``ConfigError``, the server's own ``Reply`` where it says no more, the network's errors; then no
        recipient has changed. Where the last answer speaks of the account, its recipients are PENDING, and the next ``submit``
        or ``check`` raises what it said. After an error or a DOUBT ``stands`` tells whether the conversation can be used again.
        """

    async def check(self) -> None:
        """Prove that the conversation stands (NOOP). Raises the network's errors, and what is said of the account."""

    def stands(self) -> bool:
        """Whether another message can be sent over this conversation: it is open, and its token's hour is not over."""


class SentFolder(Protocol):
    """The folder where an account keeps what it sent, over one conversation. One task uses it.

    All raise ``ImapStatus`` and the network's errors; after the latter the conversation is over.
    """

    folder: str  # its name, as far as it is known

    async def has(self, message_id: str, since: float) -> bool:
        """Whether a message with this Message-ID is there that the server has since then. False where there is no folder."""

    async def file(self, content: Content, when: float) -> None:
        """Put a copy there, read already, with the time of its sending; make the folder where there is none.

        What is there twice was filed twice: whoever is not sure asks ``has`` before.
        """


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the way to a mailbox: what was found, or the error that ends the way."""

    name: str  # dns, tcp, tls, capabilities, token, login, select or maildrop, first-read
    words: str
    error: PostroomError | None = None


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A client's settings with what they refer to: all that a cycle needs. Equal mailboxes may share a conversation."""

    client: PopClient
    secret: SecretSection | None
    authorities: Mapping[str, AuthoritySection]
    consented_at: float | None = None  # of the consent in the vault: another one is other settings
    proxy: ProxySettings | None = None  # through whom the mailbox and its token authority are reached
    shadow: bool = False  # read beside another system: nothing that can be seen is done at the server


@dataclass(frozen=True, slots=True)
class Account:
    """An smtp-client's settings with what they refer to. Equal accounts may share a conversation."""

    client: SmtpClient
    secret: SecretSection | None
    authorities: Mapping[str, AuthoritySection]
    consented_at: float | None = None  # of the consent in the vault: another one is other settings
    proxy: ProxySettings | None = None  # through whom the server and its token authority are reached


@dataclass(frozen=True)
class Kit:
    """What drivers work with."""

    clock: Clock
    dialer: Dialer
    http: Http
    tokens: Tokens
    providers: Providers
    trace: Callable[[str], Trace]  # for a section with enable-debug
    idles: Idles = field(default_factory=Idles)


class Open(Protocol):
    """How a driver opens its reader."""

    def __call__(
        self, place: Place, credentials: Credentials, kit: Kit, trace: Trace | None, *, read_only: bool = False
    ) -> AbstractAsyncContextManager[Reader]: ...


def place_of(mailbox: Mailbox | Account, providers: Providers) -> Place:
    """Where a mailbox is, and through whom it is reached. Raises ``ConfigError``."""
    place = providers.place_of(mailbox.client, mailbox.authorities)
    return replace(place, via=mailbox.proxy.for_host(place.host) if mailbox.proxy is not None else None)


def open_reader(mailbox: Mailbox, kit: Kit, *, read_only: bool = False) -> AbstractAsyncContextManager[Reader]:
    """A reader, logged in within the block; with ``read_only`` nothing it does can be seen at the server, and it does not settle.

    Raises ``ConfigError``, ``AuthError``, the network's errors.
    """
    client = mailbox.client
    place = place_of(mailbox, kit.providers)
    credentials = credentials_of(mailbox, kit)
    trace = kit.trace(client.section) if client.enable_debug else None
    return _opener(client.type)(place, credentials, kit, trace, read_only=read_only or mailbox.shadow)


def open_submitter(account: Account, kit: Kit) -> AbstractAsyncContextManager[Submitter]:
    """A submitter, logged in within the block where the account logs in at all.

    Raises ``ConfigError``, ``AuthError``, ``Throttled``, ``SmtpReply``, the network's errors.
    """
    from postroom.drivers.smtp import open_smtp

    client = account.client
    credentials = credentials_of(account, kit) if client.authenticates else None
    trace = kit.trace(client.section) if client.enable_debug else None
    return open_smtp(place_of(account, kit.providers), credentials, kit, trace)


def open_sent(mailbox: Mailbox, kit: Kit, folder: str | None = None) -> AbstractAsyncContextManager[SentFolder] | None:
    """The account's folder of what was sent, or the one named, logged in within the block. None: its protocol has no folders.

    Raises ``ConfigError``; within ``AuthError``, ``Throttled``, ``ImapStatus``, the network's errors.
    """
    client = mailbox.client
    if client.type is not MailboxType.IMAP:
        return None
    from postroom.drivers.imap_sent import USE, open_imap_sent

    trace = kit.trace(client.section) if client.enable_debug else None
    return open_imap_sent(place_of(mailbox, kit.providers), credentials_of(mailbox, kit), kit, trace, folder or USE)


def _opener(mailbox_type: MailboxType) -> Open:
    """A driver is loaded where a mailbox needs it: a run from cron pays for its imports each time."""
    match mailbox_type:
        case MailboxType.IMAP:
            from postroom.drivers.imap import open_imap

            return open_imap
        case MailboxType.POP3:
            from postroom.drivers.pop3 import open_pop3

            return open_pop3


def first_read_words(folder: str, first: First, preview: Preview) -> str:
    """What a first read would take, for the step that tells it."""
    chosen = first.value if isinstance(first, FirstRead) else first.isoformat()
    roughly = f", about {shown_octets(preview.octets)}" if preview.messages else ""
    return f"{folder} was never read: first-read = {chosen} takes {preview.messages:,} messages{roughly}"


def shown_octets(count: float) -> str:
    """A number of octets for people."""
    for unit in ("octets", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "octets" else f"{count:.1f} {unit}"


class Probe(Protocol):
    """Takes the way to a mailbox one step at a time."""

    def steps(self, folders: tuple[str, ...], first: Mapping[str, First]) -> AsyncIterator[Step]:
        """What each step found; the last one may hold the error that ended the way.

        The last of all tells what a first read of the folders in ``first`` would take.
        """


def open_probe(login: Mailbox | Account, kit: Kit, tokens: TokenSource | None = None) -> Probe:
    """The way to a mailbox, or to where an account sends; with ``tokens`` by a token that is not in the vault yet.

    Raises ``ConfigError``.
    """
    from postroom.drivers.imap_probe import ImapApproach
    from postroom.drivers.pop3_probe import Pop3Approach
    from postroom.drivers.probe import Connect, Probing
    from postroom.drivers.smtp_probe import SmtpApproach

    client = login.client
    place = place_of(login, kit.providers)
    trace = kit.trace(client.section) if client.enable_debug else None
    connects: Mapping[MailboxType | ServerType, Connect] = {
        MailboxType.IMAP: ImapApproach.connect,
        MailboxType.POP3: Pop3Approach.connect,
        ServerType.SMTP: SmtpApproach.connect,
    }
    logs_in = isinstance(client, PopClient) or client.authenticates
    credentials = credentials_of(login, kit, tokens) if logs_in else None
    return Probing(connects[client.type], place, credentials, kit.dialer, kit.clock, trace)


def credentials_of(mailbox: Mailbox | Account, kit: Kit, tokens: TokenSource | None = None) -> Credentials:
    """Who answers the server: a password, or a token where the mechanisms say so. Raises ``ConfigError``."""
    client = mailbox.client
    if not client.uses_oauth:
        provider = kit.providers.provider_of(client, mailbox.authorities)
        password = kit.providers.basic_password(client)
        return PasswordCredentials(_login(client), password, client.mechanisms, provider.name if provider else "", client.section)
    authority = kit.providers.authority_of(client, mailbox.authorities)
    request = token_request(mailbox, kit.providers)
    return TokenCredentials(_login(client), request, tokens or kit.tokens, client.mechanisms, wanted(client, authority), kit.clock)


def _login(client: Client) -> str:
    """The name that is said at the server, which at Gmail's POP3 says more than whose mailbox it is."""
    return client.mailbox if isinstance(client, PopClient) else client.account


def wanted(client: Client, authority: Authority) -> Wanted:
    """What a token must say to open the mailbox, as far as its provider is known."""
    provider = authority.provider
    rights = provider.rights.get(client.type.value, {}) if provider is not None else {}
    audiences = provider.audiences if provider is not None else ()
    return Wanted(client.token_user, audiences, rights.get("delegated", ""), rights.get("application", ""))


def token_request(mailbox: Mailbox | Account, providers: Providers) -> TokenRequest:
    """How this mailbox's settings ask for a token. Raises ``ConfigError``.

    Where ``grant-type`` is not written, a consent in the vault comes first; else what the family does holds.
    """
    client = mailbox.client
    consenting = providers.authority_of(client, mailbox.authorities)
    grant = client.grant_type or consenting.default_grant
    if grant is GrantType.PASSWORD and client.grant_type is None and client.password is None:
        grant = GrantType.REFRESH_TOKEN
    authority = providers.authority_of(client, mailbox.authorities, grant)
    consented = None
    if client.grant_type in (None, GrantType.REFRESH_TOKEN):
        scope = client.scope or consenting.scope(client.type, GrantType.REFRESH_TOKEN)
        consented = Consented(client.section, client.token_user, client.password, consenting.token_endpoint, scope)
    way = _way(mailbox, grant)
    return TokenRequest(
        token_endpoint=_endpoint(way, authority),
        application=application_of(mailbox, grant, way),
        way=way,
        scope=client.scope or authority.scope(client.type, grant),
        ca_file=authority.ca_file,
        margin=client.token_expiry_margin_time,
        authority=authority.provider.name if authority.provider is not None else "",
        issuer=authority.issuer,
        client=client.section,
        consented=consented,
        via=mailbox.proxy,
    )


def _way(mailbox: Mailbox | Account, grant: GrantType) -> Way:
    client, secret = mailbox.client, mailbox.secret
    match grant:
        case GrantType.REFRESH_TOKEN:
            return RefreshToken(client.password)
        case GrantType.CLIENT_CREDENTIALS:
            return ClientCredentials()
        case GrantType.PASSWORD:
            if client.password is None:
                raise ConfigError(f"[{client.section}] the password grant needs password", option="password")
            return OwnerPassword(client.token_user, client.password)
        case GrantType.SERVICE_ACCOUNT:
            if secret is None or secret.service_account is None:
                raise ConfigError(f"[{client.section}] needs a secret- section with a service-account", option="secret")
            return ServiceAccount(secret.service_account, client.token_user)
        case GrantType.EXTERNAL:
            environment = {"POSTROOM_MAILBOX": client.account, "POSTROOM_OAUTH_USER": client.token_user}
            return External(client.token_command, client.token_url, environment)


def _endpoint(way: Way, authority: Authority) -> str:
    match way:
        case External(command, url):
            return url or f"token-command {command[0] if command else ''}"
        case ServiceAccount(key) if authority.built_in:
            return key.token_uri
    return authority.token_endpoint


def application_of(mailbox: Mailbox | Account, grant: GrantType, way: Way | None = None) -> Application:
    """The application that a mailbox is opened through, with what proves it. Raises ``ConfigError``."""
    client, secret = mailbox.client, mailbox.secret
    if isinstance(way, ServiceAccount):
        return Application(way.key.client_email)
    if client.client_id is None and not isinstance(way, External):
        raise ConfigError(f"[{client.section}] XOAUTH2 needs client-id", option="client-id")
    if secret is None:
        own = client.password if grant is GrantType.CLIENT_CREDENTIALS else None
        return Application(client.client_id or "", own)
    return Application(client.client_id or "", secret.password, secret.certificate, secret.private_key)
