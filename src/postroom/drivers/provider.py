"""What is known of providers: where a mailbox is, and which authority gives its tokens.

The facts are data, one file for each provider in ``providers/``, with the names of the fields of ``Provider`` and
``Cloud``. An ``authority-<name>`` section of the configuration is chosen by its exact name before anything else is
asked; under the name of a built-in authority it stands in for that one's endpoints.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from postroom.drivers.limits import DEFAULT, Limits
from postroom.errors import ConfigError
from postroom.secret import Secret
from postroom.settings import (
    AuthoritySection,
    Client,
    GrantType,
    MailboxType,
    PopClient,
    ProxySettings,
    Security,
    ServerType,
    SmtpClient,
)

_PORTS: Mapping[MailboxType | ServerType, Mapping[Security, int]] = {  # with TLS from the beginning: RFC 8314 section 7.3
    MailboxType.IMAP: {Security.SSL_TLS: 993, Security.START_TLS: 143, Security.NONE: 143},
    MailboxType.POP3: {Security.SSL_TLS: 995, Security.START_TLS: 110, Security.NONE: 110},
    ServerType.SMTP: {Security.SSL_TLS: 465, Security.START_TLS: 587, Security.NONE: 25},
}


@dataclass(frozen=True)
class Authority:
    """Where a client's tokens come from, and what is asked for."""

    name: str  # of the section, or of the built-in authority
    title: str  # the name for messages
    token_endpoint: str
    ca_file: Path | None  # further certificate authorities to trust there
    authorization_endpoint: str | None  # where a person consents
    device_authorization_endpoint: str | None  # RFC 8628 section 3.1
    admin_consent_endpoint: str | None  # where an administrator consents for a directory
    issuer: str | None  # the authority's own name for itself
    provider: Provider | None  # what is known of it; None for one of the configuration alone
    cloud: Cloud | None
    built_in: bool  # no section of the configuration stands in for it

    def scope(self, mailbox_type: MailboxType | ServerType, grant: GrantType) -> str | None:
        """What reading such a mailbox, or sending so, needs with such a grant; None asks for no scope."""
        return None if self.cloud is None else self.cloud.scopes.get(mailbox_type.value, {}).get(grant.value)

    @property
    def default_grant(self) -> GrantType:
        """How a token is obtained where ``grant-type`` is not written: at Microsoft as the product family does."""
        return GrantType.PASSWORD if self.provider is not None and self.provider.password_tenant else GrantType.REFRESH_TOKEN


@dataclass(frozen=True)
class Manners:
    """How a server wants to be talked to, where its provider or the configuration knows. All but the first is POP3's."""

    two_lines: bool | None = None  # XOAUTH2's response on a line of its own; None: as RFC 5034 has it
    capabilities: bool = True  # whether CAPA is asked
    top: bool = True  # whether TOP is asked
    hides_retrieved: bool | None = None  # what was retrieved is not shown again after QUIT; None: as the server says (EXPIRE)


@dataclass(frozen=True)
class Place:
    """Where a mailbox is, and how it is reached."""

    host: str
    port: int
    security: Security
    ca_file: Path | None
    connect_timeout: float
    protocol_timeout: float
    manners: Manners = Manners()
    via: ProxySettings | None = None  # the proxy that leads there
    compress: bool = False  # COMPRESS=DEFLATE (RFC 4978) where the server has it
    provider: str = ""  # whose server it is, where that is known
    limits: Limits = DEFAULT  # of its provider
    presents: str = ""  # SMTP: the name under which EHLO is said; empty: the connection's own address


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """One of a provider's separate worlds: accounts, authority and mail servers of their own."""

    imap: str
    pop3: str = ""  # empty where the provider has none
    smtp: str = ""  # likewise
    hosts: tuple[str, ...] = ()  # of the authority, as they stand in tenant-authority
    scopes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # by type of mailbox, then by grant

    def server(self, mailbox_type: MailboxType | ServerType) -> str | None:
        """The host that speaks a type's protocol."""
        hosts: Mapping[MailboxType | ServerType, str] = {
            MailboxType.IMAP: self.imap,
            MailboxType.POP3: self.pop3,
            ServerType.SMTP: self.smtp,
        }
        return hosts[mailbox_type] or None

    def has(self, server: str | None) -> bool:
        """Whether a host is one of its mail servers."""
        return bool(server) and server in (self.imap, self.pop3, self.smtp)


@dataclass(frozen=True, kw_only=True)
class Provider:
    """What is known of one provider."""

    name: str  # of the file
    title: str
    domains: tuple[str, ...]  # of its accounts' addresses
    clouds: tuple[Cloud, ...]  # the public one first
    mx: tuple[str, ...] = ()  # domains of the hosts that take mail for accounts of other domains, a company's own
    personal_mx: tuple[str, ...] = ()  # likewise for persons' accounts, whose domains are the provider's
    contains: str = ""  # what in tenant-authority means this provider, in any case
    tenant: str = ""  # stands for {tenant} where directory-id is not written
    password_tenant: str = ""  # likewise, with the password grant
    token_endpoint: str = ""  # with {host} and {tenant}; empty where the provider is no built-in authority
    authorization_endpoint: str = ""
    device_authorization_endpoint: str = ""
    admin_consent_endpoint: str = ""
    consent_parameters: Mapping[str, str] = field(default_factory=dict)  # of the address where a person consents
    identity_scope: str = ""  # tells who signed in, beside any other scope
    out_of_band: bool = False  # whether the page may show the code to carry over
    refresh_token_unused_days: int = 0  # a refresh token ends when it was not used for so long; 0: not known to
    refresh_token_testing_days: int = 0  # … and so long after the consent, for an application in testing
    audiences: tuple[str, ...] = ()  # whom a token for mail is for, where it can be read
    rights: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # by type: what a token must allow
    pop3_two_lines: bool | None = None  # how POP3 wants XOAUTH2's response: on a line of its own, or not; None: not known
    pop3_hides_retrieved: bool = False  # POP3 shows no more what was retrieved once QUIT was said
    limits: Mapping[str, Limits] = field(default_factory=dict)  # by type of mailbox
    files_sent: tuple[str, ...] = ()  # the ways to send by which a copy is filed in Sent without being asked
    password_in_groups: str = ""  # how a generated password is printed; its blanks do not belong to it

    @property
    def imap(self) -> str:
        """The public world's IMAP server."""
        return self.clouds[0].imap

    @property
    def smtp(self) -> str:
        """The public world's server that mail is handed to."""
        return self.clouds[0].smtp

    def is_personal_mx(self, host: str) -> bool:
        """Whether an MX host takes mail for persons' accounts, which no administrator governs."""
        return _nearest(self.personal_mx, host) > 0

    def cloud(self, tenant_authority: str) -> Cloud:
        """The world that a value of tenant-authority names; else the public one."""
        host, _ = _host_and_tenant(tenant_authority)
        return next((cloud for cloud in self.clouds if host in cloud.hosts), self.clouds[0])

    def is_chosen_by(self, tenant_authority: str) -> bool:
        """Whether a value of tenant-authority means this provider."""
        if self.contains:
            return self.contains in tenant_authority.lower()
        host, _ = _host_and_tenant(tenant_authority)
        return any(host in cloud.hosts for cloud in self.clouds)


class Providers:
    """All that is known. The files are read once, when the first question is asked."""

    def authority_name(self, tenant_authority: str, named: Collection[str]) -> str | None:
        """Which authority a value chooses: one of ``named``, or a built-in one; None where nobody knows it.

        An exact name comes first, then "google" anywhere in the value, then Microsoft's hosts.
        """
        wanted = tenant_authority.lower()
        for name in named:
            if wanted in (name.lower(), f"authority-{name}".lower()):
                return name.lower() if name.lower() in self._known else name
        chosen = (provider.name for provider in self._authorities() if provider.is_chosen_by(tenant_authority))
        return next(chosen, None)

    def authority_of(
        self,
        client: Client,
        authorities: Mapping[str, AuthoritySection],
        grant: GrantType = GrantType.REFRESH_TOKEN,
    ) -> Authority:
        """The authority that gives a client's tokens for a grant. ConfigError where nobody knows it."""
        name = self.authority_name(client.tenant_authority, authorities)
        if name is None:
            raise ConfigError(
                f"[{client.section}] tenant-authority names no known authority",
                option="tenant-authority",
                value=client.tenant_authority,
            )
        provider = self._known.get(name)
        section = next((known for known in authorities.values() if known.name.lower() == name.lower()), None)
        endpoints = section or provider
        assert endpoints is not None  # a name is a section's or a provider's

        def filled(template: str | None) -> str | None:
            return _filled(template, client, provider, grant) if template else None

        return Authority(
            name=name,
            title=provider.title if provider else name,
            token_endpoint=_filled(endpoints.token_endpoint, client, provider, grant),
            ca_file=section.tls_ca_file if section else None,
            authorization_endpoint=filled(endpoints.authorization_endpoint),
            device_authorization_endpoint=filled(endpoints.device_authorization_endpoint),
            admin_consent_endpoint=filled(endpoints.admin_consent_endpoint),
            issuer=section.issuer if section else None,
            provider=provider,
            cloud=provider.cloud(client.tenant_authority) if provider else None,
            built_in=section is None,
        )

    def server_of(self, client: Client, named: Collection[str]) -> str | None:
        """The server that a client's mailbox is at: as written, else its provider's; None where nobody knows it.

        With OAuth the authority tells the provider, else the address in ``mailbox`` does.
        """
        if client.server is not None:
            return client.server
        provider = self.provider_of(client, named)
        if provider is None:
            return None
        return provider.cloud(client.tenant_authority if client.uses_oauth else "").server(client.type)

    def provider_of(self, client: Client, named: Collection[str]) -> Provider | None:
        """The provider of a client's mailbox: by its authority with OAuth, else by its server or the address in ``mailbox``."""
        name = self.authority_name(client.tenant_authority, named) if client.uses_oauth else None
        if name is not None and name in self._known:
            return self._known[name]
        at = (p for p in self._known.values() if any(cloud.has(client.server) for cloud in p.clouds))
        return next(at, None) or self.provider_of_mailbox(client.account)

    def place_of(self, client: Client, authorities: Mapping[str, AuthoritySection]) -> Place:
        """Where a client's mailbox is. ConfigError where nobody knows it."""
        host = self.server_of(client, authorities)
        if host is None:
            raise ConfigError(f"[{client.section}] server is not written, and the provider is unknown", option="server")
        provider = self.provider_of(client, authorities)
        return Place(
            host=host,
            port=client.port or _PORTS[client.type][client.security],
            security=client.security,
            ca_file=client.tls_ca_file,
            connect_timeout=client.connect_timeout,
            protocol_timeout=client.protocol_timeout,
            manners=self._manners(client, authorities),
            compress=isinstance(client, PopClient) and client.compress,
            provider=provider.name if provider is not None else "",
            limits=self.limits_of(client, authorities),
            presents=(isinstance(client, SmtpClient) and client.ehlo_name) or "",
        )

    def _manners(self, client: Client, authorities: Mapping[str, AuthoritySection]) -> Manners:
        if not isinstance(client, PopClient):
            return Manners()
        provider = self.provider_of(client, authorities)
        two_lines, hides = None, None
        if provider is not None and client.type is MailboxType.POP3:
            two_lines = provider.pop3_two_lines
            hides = not client.wants_recent if provider.pop3_hides_retrieved else None
        return Manners(
            two_lines=two_lines if client.two_line_xoauth2 is None else client.two_line_xoauth2,
            capabilities=not client.disable_capa,
            top=not client.disable_top,
            hides_retrieved=hides,
        )

    def limits_of(self, client: Client, named: Collection[str]) -> Limits:
        """What the provider of a client's mailbox allows."""
        provider = self.provider_of(client, named)
        return provider.limits.get(client.type.value, DEFAULT) if provider is not None else DEFAULT

    def authority_of_mailbox(self, mailbox: str) -> str | None:
        """The built-in authority whose accounts have addresses like this one."""
        provider = self.provider_of_mailbox(mailbox)
        return provider.name if provider and provider.token_endpoint else None

    def provider_of_mailbox(self, mailbox: str) -> Provider | None:
        """The provider whose accounts have addresses like this one."""
        domain = mailbox.rpartition("@")[2].lower()
        return next((provider for provider in self._known.values() if domain in provider.domains), None)

    def provider_of_mx(self, host: str) -> Provider | None:
        """The provider that an MX host belongs to; of two that claim it the one that says more of its name."""
        claims = [(_nearest((*known.mx, *known.personal_mx), host), known.name) for known in self._known.values()]
        longest, name = max(claims)
        return self._known[name] if longest else None

    def provider_of_server(self, host: str) -> Provider | None:
        """The provider whose mail server this is."""
        return next((known for known in self._known.values() if known.clouds[0].has(host.lower())), None)

    def basic_password(self, client: Client) -> Secret:
        """The password as the server wants it: without the blanks with which its provider prints it; else untouched."""
        if client.password is None:
            raise ConfigError(f"[{client.section}] password is not written", option="password")
        password = client.password.reveal()
        server = self.server_of(client, ())
        for provider in self._known.values():
            at_home = any(cloud.has(server) for cloud in provider.clouds)
            if at_home and provider.password_in_groups and re.fullmatch(provider.password_in_groups, password.strip()):
                return Secret("".join(password.split()))
        return client.password

    def _authorities(self) -> Iterator[Provider]:
        """Built-in authorities, those that a mere word chooses first."""
        known = [provider for provider in self._known.values() if provider.token_endpoint]
        return iter(sorted(known, key=lambda provider: not provider.contains))

    @functools.cached_property
    def _known(self) -> Mapping[str, Provider]:
        import tomllib

        files = sorted((Path(__file__).parent / "providers").glob("*.toml"))
        return {file.stem: _provider(file.stem, tomllib.loads(file.read_text("utf-8"))) for file in files}


def _provider(name: str, facts: dict[str, Any]) -> Provider:
    public = {key: facts.pop(key) for key in ("imap", "pop3", "smtp", "hosts", "scopes") if key in facts}
    clouds = tuple(_cloud(cloud) for cloud in [public, *facts.pop("clouds", [])])
    lists = {key: tuple(facts.pop(key, ())) for key in ("domains", "mx", "personal_mx", "audiences", "files_sent")}
    limits = {type_: Limits(**known) for type_, known in facts.pop("limits", {}).items()}
    return Provider(name=name, clouds=clouds, limits=limits, **{**facts, **lists})


def _cloud(facts: dict[str, Any]) -> Cloud:
    return Cloud(hosts=tuple(facts.pop("hosts", ())), **facts)


def _nearest(domains: Collection[str], host: str) -> int:
    """How much of a host's name the longest of the domains that it is in says; 0 where it is in none."""
    name = f".{host.lower().removesuffix('.')}"
    return max((len(domain) for domain in domains if name.endswith(f".{domain}")), default=0)


def _host_and_tenant(tenant_authority: str) -> tuple[str, str]:
    """The authority's host and the directory that may follow it; both empty for what is no address over https."""
    text = tenant_authority if "://" in tenant_authority else f"https://{tenant_authority}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "", ""
    if parts.scheme != "https" or "@" in parts.netloc or port not in (None, 443):
        return "", ""
    return host, parts.path.strip("/").partition("/")[0]


def _filled(template: str, client: Client, provider: Provider | None, grant: GrantType) -> str:
    """An endpoint for one client: host and directory in their places."""
    host, tenant = _host_and_tenant(client.tenant_authority)
    if provider is not None and provider.tenant:
        by_grant = provider.password_tenant if grant is GrantType.PASSWORD else ""
        tenant = client.directory_id or tenant or by_grant or provider.tenant
    else:
        tenant = client.directory_id or ""
    return template.replace("{host}", host).replace("{tenant}", quote(tenant or "common", safe=""))
