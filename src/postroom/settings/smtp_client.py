"""An smtp-client: the options of one outbound account.

What it shares with a pop-client is declared there; here stands when it acts, and what else differs.
"""

# ruff: noqa: RUF009 - ``option()`` makes a field, as dataclasses.field() does

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from postroom.secret import Secret
from postroom.settings import keys, values
from postroom.settings.network import ProxySettings
from postroom.settings.option import Effect, also, option
from postroom.settings.pop_client import PopClient
from postroom.settings.values import OAUTH_MECHANISMS
from postroom.settings.words import GrantType, InDoubt, Security, ServerType

_WHOLE = "The option."
_RESTART = Effect.RESTART
_MODIFIED = ("8.5.201.05", "8.5.202.02", "8.5.205.03")


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpClient:
    """One account that mail is sent by. The section's record as it was when the client was started or restarted."""

    section: str  # whole name of the section, as written
    name: str  # the part after "smtp-client-", or "smtp-client"
    proxy: ProxySettings | None = None  # of this account alone; a property of mail.smtp.* says it
    oauth_user: None = None  # the account that logs in is the one whose token it is

    # what has no option of its own, and a property of mail.smtp.* says (``smtp_properties``)
    ehlo_name: str | None = None  # under which EHLO is said; None: the connection's own address
    envelope_from: str | None = None  # who is the sender in the envelope; None: whoever is in From
    dsn_notify: tuple[str, ...] = ()  # NEVER, or of SUCCESS, FAILURE, DELAY (RFC 3461 section 4.1); empty: as the server likes
    dsn_ret: str = ""  # FULL or HDRS (RFC 3461 section 4.3); empty: as the server likes

    server_type: ServerType = option(
        "server-type",
        values.one_of(ServerType, "is none that this version sends by; it sends by SMTP"),
        default="SMTP",
        valid="SMTP, in any case",
        effect=_RESTART,
        introduced="8.1.4",
        ours="The default.",
        sentence="The protocol by which mail is sent.",
    )
    server: str | None = also(
        PopClient,
        "server",
        _RESTART,
        sentence="The server that mail is handed to. Where the provider is "
        "known, from the authority or from the address in `user`, it need not be written.",
    )
    port: int | None = also(
        PopClient, "port", _RESTART, default_words="By security: 465 with ssl-tls, 587 with start-tls, 25 with none"
    )
    security: Security = option(
        "smtp-connection-security",
        values.one_of(Security),
        default="start-tls",
        valid="none, start-tls, ssl-tls",
        effect=_RESTART,
        ours="The default.",
        sentence="How the connection is protected. `start-tls` never goes on in clear, and certificates are always checked.",
    )
    tls_ca_file: Path | None = also(PopClient, "tls_ca_file", _RESTART)
    enable_authentication: bool | None = option(
        "enable-authentication",
        values.boolean,
        default_words="false; where XOAUTH2 is set and the option is not written, true",
        valid=values.BOOLEAN,
        effect=Effect.IMMEDIATELY,
        ours="The default where XOAUTH2 is set: the seed's own list of steps leaves the option out. It is said once in the log.",
        sentence="Whether to log in, with `user` and `password`; `password` has no use without it. Turned off, connections "
        "that are logged in retire.",
    )
    user: str = option(
        "user",
        values.text,
        default="",
        default_words="No default value",
        valid="the login name",
        effect=_RESTART,
        sentence="The user's name at the server, with OAuth too.",
    )
    password: Secret | None = also(
        PopClient,
        "password",
        _RESTART,
        modified=("8.5.201.05", "8.5.205.03"),
        sentence="With basic authentication the password. With OAuth (`mail.smtp.auth.mechanisms`) what `grant-type` says: the "
        "account's refresh token, its password, or with `client_credentials` the application's secret. It acts only when "
        "`enable-authentication` is true.",
    )
    mechanisms: tuple[str, ...] = also(
        PopClient,
        "mechanisms",
        _RESTART,
        name="mail.<server-type>.auth.mechanisms",
        sentence="Which "
        "mechanisms of login may be used; `<server-type>` is the section's server-type in lower case: `mail.smtp.auth.mechanisms`. "
        "XOAUTH2 (and OAUTHBEARER, the standard's) switches OAuth 2.0 on; without one of them no token is ever asked for.",
    )
    client_id: str | None = also(
        PopClient,
        "client_id",
        _RESTART,
        modified=_MODIFIED,
        sentence="The client ID of the application that sends for the account. It acts only with OAuth.",
    )
    tenant_authority: str = also(PopClient, "tenant_authority", _RESTART, modified=_MODIFIED)
    directory_id: str | None = also(PopClient, "directory_id", _RESTART)
    scope: str | None = also(
        PopClient,
        "scope",
        _RESTART,
        modified=_MODIFIED,
        default_words="By provider and grant: Google "
        "https://mail.google.com/; Microsoft https://outlook.office.com/SMTP.Send offline_access with refresh_token, "
        "https://outlook.office365.com/.default with client_credentials, https://outlook.office.com/.default with password",
    )
    secret: str = also(
        PopClient,
        "secret",
        _RESTART,
        default="smtp",
        modified=(),
        sentence="Names the section "
        "secret-<secretName> that holds the application's client_secret, certificate or service account. It acts only with OAuth; "
        "Google wants it always. Unlike a pop-client's it has a default.",
    )
    grant_type: GrantType | None = also(PopClient, "grant_type", _RESTART)
    token_command: tuple[str, ...] | None = also(PopClient, "token_command", _RESTART)
    token_url: str | None = also(PopClient, "token_url", _RESTART)
    token_expiry_margin_time: float = also(PopClient, "token_expiry_margin_time", _RESTART)
    connect_timeout: float = also(PopClient, "connect_timeout", _RESTART)
    protocol_timeout: float = also(
        PopClient,
        "protocol_timeout",
        _RESTART,
        sentence="How long the server may be silent when it owes "
        "an answer. After the end of a message it has ten minutes at least (RFC 5321 section 4.5.3.2.6): to hang up earlier is to "
        "be in doubt.",
    )
    enable_debug: bool = also(PopClient, "enable_debug", _RESTART)
    pool_size: int = option(
        "cnx-pool-size",
        values.integer(1, 1000),
        default="4",
        valid="1..1000",
        effect=_RESTART,
        ours="The default.",
        sentence="The most connections open at once. Where the provider allows fewer, fewer are opened.",
    )
    check_idle_time: float = option(
        "cnx-check-idle-time",
        values.time_span(minimum=0),
        default="00:00:30",
        valid=values.TIME_SPAN,
        effect=_RESTART,
        sentence="A connection that was idle for longer is checked with NOOP before a message goes over it.",
    )
    max_idle_time: float = option(
        "cnx-max-idle-time",
        values.time_span(minimum=0),
        default="00:05:00",
        valid=values.TIME_SPAN,
        effect=_RESTART,
        sentence="A connection that is idle for so long is closed.",
    )
    addresses: tuple[str, ...] = option(
        "addresses",
        values.addresses,
        default="",
        default_words="All that no other account sends for",
        valid="e-mail addresses and domains, with commas between them",
        effect=_RESTART,
        ours=_WHOLE,
        sentence="Which From addresses this account sends for: an address, or all of a domain and of those within it. An address "
        "goes before its domain, a longer domain before a shorter. The section without it is the default account; there is one "
        "at most.",
    )
    messages_per_minute: int | None = option(
        "messages-per-minute",
        values.integer(1),
        default_words="By provider",
        valid="1 or more",
        effect=_RESTART,
        ours=_WHOLE,
        sentence="Mail is never sent faster than this.",
    )
    in_doubt: InDoubt = option(
        "in-doubt",
        values.one_of(InDoubt),
        default="hold",
        valid="hold, resend",
        effect=_RESTART,
        ours=_WHOLE,
        sentence="What becomes of a recipient whose acceptance is not known and cannot be found out, because the connection was "
        "lost before the server's answer: wait for a person (`postroom outbox resolve`), or be sent again, perhaps twice.",
    )
    retry_span: float = option(
        "retry-span",
        values.time_span(minimum=0),
        default="120h",
        valid=values.TIME_SPAN,
        effect=_RESTART,
        ours=_WHOLE,
        sentence="How long a refusal for now is tried again before it counts as one for good.",
    )
    copy_in_sent: str | None = option(
        "copy-in-sent",
        values.folder,
        default_words="By provider: no where its server files a copy itself, and where no pop-client reads the same account by "
        "IMAP; else the folder that the server names as Sent",
        valid="a folder, or no",
        effect=_RESTART,
        ours=_WHOLE,
        sentence="Where a copy of what was sent is filed, over the pop-client of the same account.",
    )
    dkim_domain: str | None = option(
        "dkim-domain",
        values.word,
        valid="a domain",
        effect=_RESTART,
        ours=_WHOLE,
        sentence="The domain that signs what leaves (RFC 6376). The three options of DKIM go together.",
    )
    dkim_selector: str | None = option(
        "dkim-selector",
        values.word,
        valid="a selector: the key's name in the domain's DNS",
        effect=_RESTART,
        ours=_WHOLE,
        sentence="Which of the domain's keys signs.",
    )
    dkim_key: Secret | None = option(
        "dkim-key",
        keys.signing_key,
        valid="a file with a private key in PEM form, RSA or Ed25519, without a passphrase",
        effect=_RESTART,
        ours=_WHOLE,
        secret=True,
        sentence="The private key that signs.",
    )

    @property
    def type(self) -> ServerType:
        """What it is to providers and tokens, which speak of a mailbox's type."""
        return self.server_type

    @property
    def account(self) -> str:
        """Who logs in."""
        return self.user

    @property
    def token_user(self) -> str:
        """The account whose token logs in."""
        return self.user

    @property
    def uses_oauth(self) -> bool:
        """Whether a login is made with an access token."""
        return any(mechanism in OAUTH_MECHANISMS for mechanism in self.mechanisms)

    @property
    def authenticates(self) -> bool:
        """Whether a login is made at all."""
        return self.uses_oauth if self.enable_authentication is None else self.enable_authentication


Client = PopClient | SmtpClient
"""A section that logs in somewhere. What providers and tokens ask of it, both have under the same names."""
