"""Where a mailbox is and where its mail is handed in, found from its address alone.

What is known of providers comes first. For a domain of its own, these are asked at once, and the first in this order that
knows something counts:

1. the domain's MX records: mail that a known provider takes is read there;
2. the domain's own automatic configuration, at ``autoconfig.DOMAIN`` and under ``DOMAIN/.well-known``;
3. the domain's SRV records (RFC 6186, RFC 8314 section 5.1);
4. Thunderbird's public database, for the domain, then for the domain of its MX hosts.

The whole address goes to the domain's own hosts only; Thunderbird's database is asked for a domain; no password goes anywhere.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlsplit

from postroom.errors import ConfigError, PostroomError, RemoteProtocolError
from postroom.net.http import Http
from postroom.net.resolver import Resolver, Service
from postroom.settings import Security
from postroom.wire.autoconfig import ADDRESS, LARGEST, Autoconfig, ServerEntry, filled, read_autoconfig

DATABASE = "https://autoconfig.thunderbird.net/v1.1/"
_TYPES = {"imap": 0, "pop3": 1, "smtp": 2}  # what is taken from a document; the first two are read
_SAFEST = {Security.SSL_TLS: 0, Security.START_TLS: 1, Security.NONE: 2}
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SERVICES = (  # RFC 6186 section 3, RFC 8314 section 5.1; what runs TLS at once comes first
    ("_imaps", "imap", Security.SSL_TLS),
    ("_imap", "imap", Security.START_TLS),
    ("_pop3s", "pop3", Security.SSL_TLS),
    ("_pop3", "pop3", Security.START_TLS),
    ("_submissions", "smtp", Security.SSL_TLS),
    ("_submission", "smtp", Security.START_TLS),
)


class KnownProvider(Protocol):
    """What must be known of a provider."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def imap(self) -> str: ...

    @property
    def smtp(self) -> str: ...

    def is_personal_mx(self, host: str) -> bool:
        """Whether an MX host takes mail for persons' accounts, which no administrator governs."""


class KnownProviders(Protocol):
    """What is known of all providers (``drivers.provider.Providers``)."""

    def provider_of_mailbox(self, mailbox: str) -> KnownProvider | None:
        """The provider whose accounts have addresses like this one."""

    def provider_of_mx(self, host: str) -> KnownProvider | None:
        """The provider that an MX host belongs to."""

    def provider_of_server(self, host: str) -> KnownProvider | None:
        """The provider whose mail server this is."""


@dataclass(frozen=True, slots=True)
class FoundServer:
    """One server, and how it was found."""

    type: str  # imap, pop3 or smtp
    host: str
    port: int
    security: Security
    user: str  # the form of the login name: %EMAILADDRESS%, %EMAILLOCALPART% or what else the domain says
    oauth: bool  # whether the one who named it says that a token opens it
    how: str  # one sentence

    def login(self, address: str) -> str:
        """The login name for an address."""
        return filled(self.user, address)


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for one address, and what was tried in vain before."""

    address: str
    provider: str | None = None  # the name of a known provider
    title: str = ""  # its name for people, or the one that a document gives
    personal: bool = False  # an account of the provider's own domains: there is no company and no administrator
    servers: tuple[FoundServer, ...] = ()  # imap before pop3 before smtp, TLS at once before STARTTLS before none
    issuer: str = ""  # the OAuth 2.0 authority that a document names
    how: str = ""  # one sentence on the provider, or on the servers
    failed: tuple[str, ...] = ()  # a sentence for each source that knew nothing

    @property
    def domain(self) -> str:
        """The address's domain."""
        return self.address.rpartition("@")[2]

    @property
    def useful(self) -> bool:
        """Whether it says where mail is read."""
        return any(server.type in ("imap", "pop3") for server in self.servers)

    def server(self, kind: str) -> FoundServer | None:
        """The best server of a type."""
        return next((server for server in self.servers if server.type == kind), None)


def parsed_address(address: str) -> str:
    """An address with its domain as it stands in the DNS: lower case, A-labels. ConfigError for what is none."""
    local, at, domain = address.strip().rpartition("@")
    try:
        domain = domain.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError:
        domain = ""
    labels = domain.split(".")
    sound = len(labels) > 1 and len(domain) <= 253 and all(_LABEL.fullmatch(label) for label in labels)
    if not at or not sound or not local.isprintable() or not local or len(local) > 64 or any(c in local for c in ' "<>@'):
        raise ConfigError(f"'{address}' is not an e-mail address", value=address, valid="an address such as orders@example.com")
    return f"{local}@{domain}"


async def discover(
    address: str,
    providers: KnownProviders,
    http: Http,
    resolver: Resolver,
    note: Callable[[str], None],
    *,
    within: float = 15.0,
) -> Found:
    """Find where a mailbox is, within so many seconds. ``note`` is told what is going on, a sentence at a time.

    Never raises for what others do not know or do not answer: that stands in ``failed``. ConfigError for what is no address.
    """
    address = parsed_address(address)
    found = Found(address)
    known = providers.provider_of_mailbox(address)
    if known is not None:
        found = _at(found, known, f"{found.domain} is a domain of {known.title}.")
        found = replace(found, personal=True)
    else:
        note(f"Asking the DNS and {found.domain} itself where its mail is.")
        found = await _Search(found, providers, http, resolver, within).run()
        for words in found.failed:
            note(words)
    if found.how:
        note(found.how)
    return found


class _Search:
    """One domain's search. Every source gives a ``Found``: what it knows, or why it knows nothing."""

    def __init__(self, nothing: Found, providers: KnownProviders, http: Http, resolver: Resolver, within: float) -> None:
        self._nothing = nothing
        self._address = nothing.address
        self._domain = nothing.domain
        self._providers = providers
        self._http = http
        self._resolver = resolver
        self._within = within  # seconds for each source; all are asked at once

    async def run(self) -> Found:
        """Ask all sources at once; let the others go when the first that counts has answered."""
        asked = f"emailaddress={quote(self._address, safe='@')}"
        hosts = asyncio.create_task(self._resolver.mx(self._domain))
        sources: tuple[tuple[str, Coroutine[Any, Any, Found]], ...] = (
            (f"MX records of {self._domain}", self._by_mx(hosts)),
            (f"autoconfig.{self._domain}", self._own(f"https://autoconfig.{self._domain}/mail/config-v1.1.xml", asked)),
            (f"{self._domain}/.well-known", self._own(f"https://{self._domain}/.well-known/autoconfig/mail/config-v1.1.xml")),
            (f"SRV records of {self._domain}", self._by_srv()),
            ("Thunderbird's database", self._by_database([self._domain])),
            ("Thunderbird's database", self._by_mx_database(hosts)),
        )
        tasks = [asyncio.create_task(self._within_limit(name, source)) for name, source in sources]
        failed: list[str] = []
        try:
            for task in tasks:
                found = await task
                if found.useful:
                    return replace(found, failed=tuple(dict.fromkeys([*failed, *found.failed])))
                failed += found.failed
        finally:
            hosts.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(hosts, *tasks, return_exceptions=True)
        return replace(self._nothing, failed=tuple(dict.fromkeys(failed)))

    async def _within_limit(self, name: str, source: Coroutine[Any, Any, Found]) -> Found:
        try:
            async with asyncio.timeout(self._within):
                return await source
        except TimeoutError:
            return self._failed(f"{name}: no answer within {self._within:g} s.")
        except PostroomError as error:
            return self._failed(f"{error.detail}.")

    def _failed(self, words: str) -> Found:
        return replace(self._nothing, failed=(words,))

    # --- MX

    async def _by_mx(self, asked: asyncio.Task[tuple[str, ...]]) -> Found:
        hosts = await asyncio.shield(asked)
        for host in hosts:
            known = self._providers.provider_of_mx(host)
            if known is not None:
                found = _at(self._nothing, known, f"The mail of {self._domain} goes to {known.title} (MX {host}).")
                return replace(found, personal=known.is_personal_mx(host))
        if not hosts:
            return self._failed(f"{self._domain} names no host that takes its mail (MX).")
        return self._failed(f"The MX records of {self._domain} name no known provider: {', '.join(hosts[:3])}.")

    async def _by_mx_database(self, asked: asyncio.Task[tuple[str, ...]]) -> Found:
        try:
            hosts = await asyncio.shield(asked)
        except PostroomError:
            return self._nothing  # told already
        return await self._by_database([domain for domain in _bases(hosts) if domain != self._domain])

    # --- documents

    async def _own(self, url: str, query: str = "") -> Found:
        """A document at a host of the domain itself."""
        document = await self._document(url, query)
        if isinstance(document, Found):
            return document
        return self._of_document(document, f"{self._domain} names its servers at {url}.", f"{url}: no server that is known.")

    async def _by_database(self, domains: Sequence[str]) -> Found:
        """Thunderbird's database, for each of the domains in turn."""
        failed: list[str] = []
        for domain in domains:
            url = f"{DATABASE}{domain}"
            document = await self._document(url)
            found = (
                document
                if isinstance(document, Found)
                else self._of_document(document, f"Thunderbird's database knows {domain}.", f"{url}: no server that is known.")
            )
            if found.useful:
                return replace(found, failed=tuple(failed))
            failed += found.failed
        return replace(self._nothing, failed=tuple(failed))

    async def _document(self, url: str, query: str = "") -> Autoconfig | Found:
        asked = f"{url}?{query}" if query else url
        try:
            answer = await self._http.fetch(
                asked, ca_file=None, timeout=self._within / 2, largest=LARGEST, redirected=self._without_address
            )
            if answer.status != 200:
                return self._failed(f"{url}: nothing is there ({answer.status}).")
            return read_autoconfig(answer.body)
        except PostroomError as error:
            return self._failed(f"{error.detail}.")
        except ValueError as error:
            return self._failed(f"{url}: {error}.")

    def _without_address(self, _: str, there: str) -> str:
        """A redirect to a host of another domain is followed without the address."""
        parts = urlsplit(there)
        host = (parts.hostname or "").lower()
        if host == self._domain or host.endswith(f".{self._domain}"):
            return there
        bare = parts._replace(query="", fragment="").geturl() if self._tells(there) else there
        if self._tells(bare):
            raise RemoteProtocolError(f"{host}: the address would go to a host of another domain")
        return bare

    def _tells(self, url: str) -> bool:
        return self._address.lower() in unquote(unquote(url)).lower()

    def _of_document(self, document: Autoconfig, how: str, failure: str) -> Found:
        entries = [entry for entry in (*document.incoming, *document.outgoing) if entry.type in _TYPES]
        servers = _ordered([self._of_entry(entry, how) for entry in entries])
        found = replace(self._nothing, servers=servers, title=document.name, issuer=document.issuer, how=how)
        return self._recognised(found) if found.useful else self._failed(failure)

    def _of_entry(self, entry: ServerEntry, how: str) -> FoundServer:
        host = filled(entry.host, self._address)
        return FoundServer(entry.type, host, entry.port, entry.security, entry.username or ADDRESS, entry.oauth, how)

    # --- SRV

    async def _by_srv(self) -> Found:
        names = [f"{service}._tcp.{self._domain}" for service, _, _ in _SERVICES]
        answers = await asyncio.gather(*(self._resolver.srv(name) for name in names), return_exceptions=True)
        servers: list[FoundServer] = []
        failed: list[str] = []
        errors: list[str] = []
        for name, (_, kind, security), answer in zip(names, _SERVICES, answers, strict=True):
            if isinstance(answer, PostroomError):
                errors.append(f"{answer.detail}.")
            elif isinstance(answer, BaseException):
                raise answer
            else:
                servers += [self._of_service(service, name, kind, security) for service in answer if service.host]
                # A target of "." says that the service is not offered (RFC 2782).
                failed += [f"{self._domain} says that it does not offer {name}." for service in answer if not service.host]
        found = replace(self._nothing, servers=_ordered(servers), failed=tuple(failed))
        if found.useful:
            return self._recognised(replace(found, how=found.servers[0].how))
        last = errors[0] if errors else f"{self._domain} has no SRV record for reading mail."
        return replace(self._nothing, failed=(*failed, last))

    def _of_service(self, service: Service, name: str, kind: str, security: Security) -> FoundServer:
        how = f"The SRV record {name} names {service.host}."
        if service.host != self._domain and not service.host.endswith(f".{self._domain}"):
            # RFC 6186 section 6: without DNSSEC a person must confirm a host of another domain.
            how += " It is a host of another domain: see that it is your provider's."
        return FoundServer(kind, service.host, service.port, security, ADDRESS, False, how)

    def _recognised(self, found: Found) -> Found:
        """A known provider by the server where mail is read."""
        server = found.server("imap") or found.servers[0]
        known = self._providers.provider_of_server(server.host)
        if known is None:
            return found
        own = () if found.server("smtp") else (_submission(known, found.how),)
        return replace(found, provider=known.name, title=known.title, servers=(*found.servers, *own))


def _at(found: Found, known: KnownProvider, how: str) -> Found:
    """Everything as it is known of a provider."""
    imap = FoundServer("imap", known.imap, 993, Security.SSL_TLS, ADDRESS, False, how)
    return replace(found, provider=known.name, title=known.title, servers=(imap, _submission(known, how)), how=how)


def _submission(known: KnownProvider, how: str) -> FoundServer:
    """Where a known provider takes mail: by STARTTLS, which all of them have, and not all TLS at once."""
    return FoundServer("smtp", known.smtp, 587, Security.START_TLS, ADDRESS, False, how)


def _ordered(servers: Sequence[FoundServer]) -> tuple[FoundServer, ...]:
    """By type, then by protection; else as they were given."""
    return tuple(sorted(servers, key=lambda server: (_TYPES[server.type], _SAFEST[server.security])))


def _bases(hosts: Sequence[str]) -> list[str]:
    """The domains that MX hosts may be named after, the longest first: ``mx1.mail.example.net`` gives two."""
    found: dict[str, None] = {}
    for host in hosts[:2]:
        labels = host.split(".")
        starts = range(max(1, len(labels) - 3), len(labels) - 1) if len(labels) > 2 else range(1)
        found.update(dict.fromkeys(".".join(labels[start:]) for start in starts))
    return list(found)
