"""Every section and option, on one page.

To add an option, declare it in its section's record; parsing, ``postroom options``, ``docs/options.md`` and the JSON
follow. Only what acts is declared. Names that the product knows and does not act on yet stand at the end, so that a
file which is pasted whole is answered with a warning and not with a riddle.
"""

# ruff: noqa: RUF009 - ``option()`` makes a field, as dataclasses.field() does

from __future__ import annotations

import datetime
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from postroom.model import Disposition
from postroom.secret import Secret
from postroom.settings import values
from postroom.settings.network import ProxySettings
from postroom.settings.option import Effect, option
from postroom.settings.properties import MailProperties
from postroom.settings.values import MECHANISMS, OAUTH_MECHANISMS

MICROSOFT = "https://login.microsoftonline.com"
_WHOLE = "The option."


class MailboxType(enum.Enum):
    """The protocol of a mailbox."""

    IMAP = "IMAP"


class Security(enum.Enum):
    """How a connection is protected."""

    NONE = "none"
    START_TLS = "start-tls"
    SSL_TLS = "ssl-tls"


class GrantType(enum.Enum):
    """How an access token is obtained. The first three values are words of RFC 6749."""

    REFRESH_TOKEN = "refresh_token"  # noqa: S105 - section 6
    CLIENT_CREDENTIALS = "client_credentials"  # section 4.4: the application's own token
    PASSWORD = "password"  # noqa: S105 - section 4.3: the resource owner's password, legacy
    SERVICE_ACCOUNT = "service_account"  # Google, domain-wide delegation (RFC 7523 section 2.1)
    EXTERNAL = "external"  # a command or an address that answers with a token


class PublishingStatus(enum.Enum):
    """How far a Google application is published: it decides how long its refresh tokens live."""

    TESTING = "testing"  # user type External, status Testing: seven days
    PRODUCTION = "production"  # user type External, status In production
    INTERNAL = "internal"  # user type Internal, a Workspace organisation's own


@dataclass(frozen=True, slots=True, kw_only=True)
class PopClient:
    """One mailbox that is read. The section's record as one cycle sees it, from beginning to end."""

    section: str  # whole name of the section, as written
    name: str  # the part after "pop-client-", or "pop-client"

    # what has no option of its own, and a property of mail.<type>.* says (``properties``)
    proxy: ProxySettings | None = None  # of this mailbox alone
    compress: bool = False  # IMAP: COMPRESS=DEFLATE where the server offers it (RFC 4978)
    disable_top: bool = False  # POP3: TOP is never sent
    disable_capa: bool = False  # POP3: CAPA is never sent
    two_line_xoauth2: bool | None = None  # the token follows in a line of its own; None: as the provider wants it

    type: MailboxType = option(
        "type",
        values.one_of(MailboxType, "is none that this version reads; it reads IMAP"),
        required=True,
        valid="IMAP, in any case",
        effect=Effect.NEXT_CYCLE,
        ours="It must be written.",
        sentence="The protocol of the mailbox.",
    )
    server: str | None = option(
        "server",
        values.host,
        default_words="By provider",
        valid="the name or address of a host",
        effect=Effect.NEXT_CYCLE,
        ours="The default.",
        sentence="The server of the mailbox. Where the provider is known, from the authority or from the address in "
        "`mailbox`, it need not be written.",
    )
    port: int | None = option(
        "port",
        values.integer(1, 65535),
        default_words="By type and security: IMAP 993 with ssl-tls, else 143",
        valid="1..65535",
        effect=Effect.NEXT_CYCLE,
        ours="The default.",
        sentence="The port of the server.",
    )
    mailbox: str = option(
        "mailbox",
        values.text,
        required=True,
        valid="the login name",
        effect=Effect.NEXT_CYCLE,
        ours="It must be written.",
        sentence="The user's name at the server, with OAuth too. For a shared mailbox it is the shared one's address.",
    )
    oauth_user: str | None = option(
        "oauth-user",
        values.text,
        default_words="The value of mailbox",
        valid="the login name of the account that consents, or whose password is used",
        effect=Effect.NEXT_CYCLE,
        ours=_WHOLE,
        oauth=True,
        sentence="The account whose token opens the mailbox, where that is another's: a shared mailbox.",
    )
    password: Secret | None = option(
        "password",
        values.secret,
        valid=f"a password or a refresh_token, as {values.SECRET_FORMS}",
        effect=Effect.NEXT_CYCLE,
        modified=("8.5.205.03",),
        ours="The forms env:NAME and file:PATH.",
        secret=True,
        sentence="With basic authentication the password; blanks in Google's application passwords do not count. "
        "With OAuth (`mail.<type>.auth.mechanisms`) what `grant-type` says: the mailbox's refresh token, its password, or "
        "with `client_credentials` the application's secret. After `postroom authorize` the refresh token is in the vault; "
        "a new value written here wins over it.",
    )
    folder_path: tuple[str, ...] = option(
        "folder-path",
        values.folders,
        default="INBOX",
        valid="one or more folders, with commas between them",
        effect=Effect.NEXT_CYCLE,
        introduced="8.1.4",
        ours="The default.",
        sentence="The folders that are read. New mail in the first is noticed at once where the server can say so; "
        "the others are looked at in every cycle.",
    )
    security: Security = option(
        "pop-connection-security",
        values.one_of(Security),
        default="ssl-tls",
        valid="none, start-tls, ssl-tls",
        effect=Effect.NEXT_CYCLE,
        ours="The default.",
        sentence="How the connection is protected. With `none` the password or token crosses the network in clear.",
    )
    tls_ca_file: Path | None = option(
        "tls-ca-file",
        values.certificates,
        default_words="The system's authorities alone",
        valid="a file with certificates in PEM form",
        effect=Effect.NEXT_CYCLE,
        ours=_WHOLE,
        sentence="Further certificate authorities to trust, such as a company's own. Names and dates are always checked.",
    )
    connect_timeout: float = option(
        "connect-timeout",
        values.time_span(minimum=1),
        default="00:00:30",
        valid=f"{values.TIME_SPAN}, at least 1s",
        effect=Effect.NEXT_CYCLE,
        ours="The default.",
        sentence="How long a connection may take to come about.",
    )
    protocol_timeout: float = option(
        "protocol-timeout",
        values.time_span(minimum=1),
        default="00:01:00",
        valid=f"{values.TIME_SPAN}, at least 1s",
        effect=Effect.NEXT_CYCLE,
        ours="The default.",
        sentence="How long the server may be silent when it owes an answer.",
    )
    enable_client: bool = option(
        "enable-client",
        values.boolean,
        default="true",
        valid=values.BOOLEAN,
        effect=Effect.NEXT_CYCLE,
        ours="The default.",
        sentence="Switches the mailbox off without losing how far it was read.",
    )
    enable_debug: bool = option(
        "enable-debug",
        values.boolean,
        default="false",
        valid=values.BOOLEAN,
        effect=Effect.NEXT_CYCLE,
        sentence="Writes this client's conversation with its server into the log. Secrets are masked.",
    )
    cycle_time: float = option(
        "cycle-time",
        values.time_span(minimum=1),
        default="00:01:00",
        valid=f"{values.TIME_SPAN}, at least 1s",
        effect=Effect.NEXT_CYCLE,
        ours="The default.",
        sentence="The longest pause between two POP cycles.",
    )
    maximum_msg_number: int = option(
        "maximum-msg-number",
        values.integer(0),
        default="0",
        valid="0 or more; 0 is no limit",
        effect=Effect.NEXT_CYCLE,
        ours="The default.",
        sentence="The most messages that one cycle takes. The rest follows in the next cycles.",
    )
    after_capture: Disposition = option(
        "after-capture",
        values.one_of(Disposition),
        default="keep",
        valid="keep, seen, delete, move",
        effect=Effect.NEXT_CYCLE,
        ours=_WHOLE,
        sentence="What is done with a message at the server once it is safe here. It is decided when the message is "
        "captured, so a change acts on what is captured from then on.",
    )
    processed_folder_path: str | None = option(
        "processed-folder-path",
        values.folder,
        valid="a folder that is not read itself",
        effect=Effect.NEXT_CYCLE,
        ours=_WHOLE,
        sentence="Where `after-capture=move` puts a message.",
    )
    mechanisms: tuple[str, ...] = option(
        "mail.<type>.auth.mechanisms",
        values.several_of(MECHANISMS),
        default="",
        default_words="No default value",
        valid="XOAUTH2, OAUTHBEARER, PLAIN, LOGIN; several with commas or blanks between them",
        effect=Effect.NEXT_CYCLE,
        ours="OAUTHBEARER.",
        sentence="Which mechanisms of login may be used; `<type>` is the section's type in lower case. XOAUTH2 (and "
        "OAUTHBEARER, the standard's) switches OAuth 2.0 on; without one of them no token is ever asked for.",
    )
    client_id: str | None = option(
        "client-id",
        values.word,
        valid="the client ID under which the application is registered at Microsoft or Google",
        effect=Effect.NEXT_CYCLE,
        introduced="8.5.107.06",
        modified=("8.5.201.05", "8.5.202.02", "8.5.205.03"),
        oauth=True,
        sentence="The client ID of the application that reads the mailbox. It acts only with OAuth.",
    )
    tenant_authority: str = option(
        "tenant-authority",
        values.word,
        default=MICROSOFT,
        valid=f"Microsoft: {MICROSOFT}. Google: any string that contains google, in any case. The name of an "
        "authority-<name> section, which is looked for first",
        effect=Effect.NEXT_CYCLE,
        introduced="8.5.107.06",
        modified=("8.5.201.05", "8.5.202.02", "8.5.205.03"),
        ours="The hosts of Microsoft's national clouds, and the name of an authority-<name> section.",
        oauth=True,
        sentence="The authority that gives the tokens. It acts only with OAuth.",
    )
    directory_id: str | None = option(
        "directory-id",
        values.word,
        default_words="common",
        valid="the directory (tenant) ID of a Microsoft application, or its domain",
        effect=Effect.NEXT_CYCLE,
        ours="The default.",
        oauth=True,
        sentence="The directory at Microsoft that is asked for the token. An application that is registered for one "
        "directory only needs it.",
    )
    scope: str | None = option(
        "scope",
        values.words,
        default_words="By provider, type and grant: Google https://mail.google.com/; Microsoft "
        "https://outlook.office.com/IMAP.AccessAsUser.All offline_access with refresh_token, "
        "https://outlook.office365.com/.default with client_credentials, https://outlook.office.com/.default with password",
        valid="scopes with blanks between them, as the authority names them; of one resource only",
        effect=Effect.NEXT_CYCLE,
        introduced="8.5.107.06",
        modified=("8.5.202.02", "8.5.205.03"),
        ours="The default: what reading mail needs at that provider with that grant (in the family "
        "https://outlook.office.com/.default).",
        oauth=True,
        sentence="The scope that a token is asked for. It acts only with OAuth.",
    )
    secret: str | None = option(
        "secret",
        values.word,
        valid="any string without white space",
        effect=Effect.NEXT_CYCLE,
        introduced="8.5.201.05",
        modified=("8.5.202.02",),
        ours="It serves Microsoft's applications and other authorities as well.",
        oauth=True,
        sentence="Names the section secret-<secretName> that holds the application's client_secret, certificate or service "
        "account. It acts only with OAuth; Google wants it always.",
    )
    grant_type: GrantType | None = option(
        "grant-type",
        values.one_of(GrantType),
        default_words="refresh_token; at Microsoft password (what the family does), after `postroom authorize` refresh_token "
        "until `password` changes",
        valid="refresh_token, client_credentials, password, service_account, external",
        effect=Effect.NEXT_CYCLE,
        ours=_WHOLE,
        oauth=True,
        sentence="How a token is obtained. `refresh_token`: from a person's consent. `client_credentials`: the application's "
        "own right, best for a company's mailboxes at Microsoft. `password`: the mailbox's password, legacy, impossible with "
        "multi-factor authentication. `service_account`: Google Workspace, domain-wide delegation. `external`: from "
        "`token-command` or `token-url`. It acts only with OAuth.",
    )
    token_command: tuple[str, ...] | None = option(
        "token-command",
        values.command,
        valid="a program with its arguments, quoted as in a shell; no shell runs it",
        effect=Effect.NEXT_CYCLE,
        ours=_WHOLE,
        oauth=True,
        sentence="With `grant-type=external`: prints a token, as JSON (RFC 6749 section 5.1) or bare. It finds the mailbox in "
        "the variable POSTROOM_MAILBOX and the account in POSTROOM_OAUTH_USER.",
    )
    token_url: str | None = option(
        "token-url",
        values.endpoint,
        valid="an https:// address; http:// on this machine only",
        effect=Effect.NEXT_CYCLE,
        ours=_WHOLE,
        oauth=True,
        sentence="With `grant-type=external`: answers a GET with a token, as JSON (RFC 6749 section 5.1) or bare.",
    )
    token_expiry_margin_time: float = option(
        "token-expiry-margin-time",
        values.time_span(minimum=0),
        default="00:05:00",
        valid=values.TIME_SPAN,
        effect=Effect.NEXT_CYCLE,
        ours="The default.",
        oauth=True,
        sentence="How long before its end an access token is renewed; never before three quarters of its lifetime.",
    )

    @property
    def uses_oauth(self) -> bool:
        """Whether the mailbox is opened with an access token; ``grant_type`` then says what ``password`` is."""
        return any(mechanism in OAUTH_MECHANISMS for mechanism in self.mechanisms)

    @property
    def token_user(self) -> str:
        """The account whose token opens the mailbox."""
        return self.oauth_user or self.mailbox


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSection:
    """An application's secret, under a name that clients refer to."""

    name: str  # the part after "secret-"

    password: Secret | None = option(
        "password",
        values.client_secret,
        valid=f"the client_secret of the application, as {values.SECRET_FORMS}",
        effect=Effect.AS_ITS_CLIENT,
        introduced="8.5.201.05",
        ours="The forms env:NAME and file:PATH; Google's downloaded client_secret_….json as the file.",
        secret=True,
        sentence="The client_secret that the authority gave to the application.",
    )
    certificate: str | None = option(
        "certificate",
        values.certificate,
        valid="a file with the certificate in PEM form",
        effect=Effect.AS_ITS_CLIENT,
        ours=_WHOLE,
        sentence="The certificate that is registered for a Microsoft application; it stands in the place of a client_secret.",
    )
    private_key: Secret | None = option(
        "private-key",
        values.private_key,
        valid="a file with the private key of the certificate in PEM form, without a passphrase",
        effect=Effect.AS_ITS_CLIENT,
        ours=_WHOLE,
        secret=True,
        sentence="The certificate's private key: it signs what proves the application (RFC 7523).",
    )
    service_account: values.ServiceAccountKey | None = option(
        "service-account",
        values.service_account,
        valid="the JSON file of a key of a Google service account",
        effect=Effect.AS_ITS_CLIENT,
        ours=_WHOLE,
        sentence="The service account for `grant-type=service_account`, to which the Workspace's administrator has delegated "
        "the scope for the whole domain.",
    )
    expires: datetime.date | None = option(
        "expires",
        values.date,
        valid="a day: YYYY-MM-DD",
        effect=Effect.AS_ITS_CLIENT,
        ours=_WHOLE,
        sentence="The day on which the client_secret ends, as the provider's console shows it: Postroom warns 30, 14 and 3 "
        "days ahead. A certificate's end is read from it.",
    )
    publishing_status: PublishingStatus | None = option(
        "publishing-status",
        values.one_of(PublishingStatus),
        valid="testing, production, internal",
        effect=Effect.AS_ITS_CLIENT,
        ours=_WHOLE,
        sentence="How far a Google application is published. In `testing` its refresh tokens end seven days after the consent, "
        "and Postroom warns ahead.",
    )

    @property
    def proves(self) -> bool:
        """Whether it holds something that proves the application to its authority."""
        return self.password is not None or (self.certificate is not None and self.private_key is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthoritySection:
    """An OAuth 2.0 authority by the names of its metadata (RFC 8414 section 2)."""

    name: str  # the part after "authority-"

    token_endpoint: str = option(
        "token_endpoint",
        values.endpoint,
        required=True,
        valid="an https:// address; http:// on this machine only; {tenant} stands for directory-id",
        effect=Effect.AS_ITS_CLIENT,
        ours=_WHOLE,
        sentence="Where tokens are asked for.",
    )
    issuer: str | None = option(
        "issuer",
        values.endpoint,
        valid="an https:// address; http:// on this machine only",
        effect=Effect.AS_ITS_CLIENT,
        ours=_WHOLE,
        sentence="The authority's own name for itself: errors name it by this, and a consent that comes back from another "
        "issuer is refused (RFC 9207).",
    )
    authorization_endpoint: str | None = option(
        "authorization_endpoint",
        values.endpoint,
        valid="an https:// address; http:// on this machine only",
        effect=Effect.AS_ITS_CLIENT,
        ours=_WHOLE,
        sentence="Where a person consents; {tenant} stands for directory-id. `postroom authorize` goes there.",
    )
    device_authorization_endpoint: str | None = option(
        "device_authorization_endpoint",
        values.endpoint,
        valid="an https:// address; http:// on this machine only",
        effect=Effect.AS_ITS_CLIENT,
        ours=_WHOLE,
        sentence="Where `postroom authorize --device` asks for a code (RFC 8628).",
    )
    admin_consent_endpoint: str | None = option(
        "admin_consent_endpoint",
        values.endpoint,
        valid="an https:// address; http:// on this machine only",
        effect=Effect.AS_ITS_CLIENT,
        ours=_WHOLE,
        sentence="Where an administrator consents for the whole directory, as Microsoft has it; not a name of RFC 8414.",
    )
    tls_ca_file: Path | None = option(
        "tls-ca-file",
        values.certificates,
        default_words="The system's authorities alone",
        valid="a file with certificates in PEM form",
        effect=Effect.AS_ITS_CLIENT,
        ours=_WHOLE,
        sentence="Further certificate authorities to trust at this authority.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What concerns the whole server."""

    data_directory: Path = option(
        "data-directory",
        values.path,
        computed=True,
        default_words="./data beside the file; /var/lib/postroom for a file in /etc",
        valid="a folder",
        effect=Effect.RESTART,
        ours=_WHOLE,
        sentence="Where everything is kept.",
    )
    vault_key: Path | str = option(
        "vault-key",
        values.key,
        computed=True,
        secret=True,  # a key may stand here by mistake
        default_words="file:vault.key in the data directory",
        valid=values.KEY_FORMS,
        effect=Effect.RESTART,
        ours=_WHOLE,
        sentence="Where the key is kept that seals tokens in the store: a file, a variable, a credential of systemd, or the "
        "operating system's key store (`pip install 'postroom[keyring]'`). A key is made beside an empty store only, a key "
        "file with mode 0600. `postroom vault rotate` changes it.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """Where the server answers for itself: health and metrics."""

    listen: tuple[str, int] = option(
        "listen",
        values.listen,
        default="127.0.0.1:8025",
        valid="HOST:PORT; port 0 takes a free one",
        effect=Effect.RESTART,
        ours=_WHOLE,
        sentence="Where health and metrics are served.",
    )

    @property
    def host(self) -> str:
        """The host's name or address."""
        return self.listen[0]

    @property
    def port(self) -> int:
        """The port; 0 takes a free one."""
        return self.listen[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is written to the log, and how."""

    level: str = option(
        "level",
        values.choice("debug", "info", "warning", "error"),
        default="info",
        valid="debug, info, warning, error",
        effect=Effect.IMMEDIATELY,
        ours=_WHOLE,
        sentence="The least important events that are written.",
    )
    format: str = option(
        "format",
        values.choice("text", "json"),
        default="json",
        valid="text, json",
        effect=Effect.IMMEDIATELY,
        ours=_WHOLE,
        sentence="How an event is written: for people, or one JSON object a line.",
    )


@dataclass(frozen=True)
class SectionKind:
    """A sort of section."""

    name: str  # as printed; what stands before "-<" is the beginning of its sections' names
    record: type
    sentence: str
    bare: bool = True  # a section with just this name
    named: bool = False  # sections with this name and a further part
    properties: type | None = None  # JavaMail's, which stand in for its options


POP_CLIENT = SectionKind(
    "pop-client",
    PopClient,
    "One mailbox that is read; `pop-client` or `pop-client-<name>`. What all of them share may stand in "
    "`defaults-pop-client`; a section's own value wins.",
    named=True,
    properties=MailProperties,
)
SECRET = SectionKind("secret-<secretName>", SecretSection, "The secret of one application.", bare=False, named=True)
AUTHORITY = SectionKind(
    "authority-<name>",
    AuthoritySection,
    "An OAuth 2.0 authority, chosen by its name in `tenant-authority`. `authority-google` and `authority-microsoft` "
    "stand in for the built-in ones.",
    bare=False,
    named=True,
)
SETTINGS = SectionKind("settings", ServerSettings, "What concerns the whole server.")
WEB = SectionKind("web", WebSettings, "Where the server answers for itself.")
LOG = SectionKind("log", LogSettings, "What is written to the log.")
PROXY = SectionKind("proxy", ProxySettings, "Through whom mailboxes and token authorities are reached.")

SECTIONS = (POP_CLIENT, SECRET, AUTHORITY, PROXY, SETTINGS, WEB, LOG)
DEFAULTS = "defaults-pop-client"

OPTIONS_WITHOUT_EFFECT: Mapping[str, tuple[str, ...]] = {
    POP_CLIENT.name: (
        "address",
        "maximum-msg-size",
        "big-messages",
        "first-read",
        "failed-items-folder-path",
        "copy-message-to-recipients",
        "copy-message-with-header",
        "inbound-msg-copy-limit",
    ),
    AUTHORITY.name: ("revocation_endpoint", "introspection_endpoint", "jwks_uri"),
    SETTINGS.name: ("database-url", "restart-changed-clients"),
    WEB.name: ("public-url",),
}
"""Names that the product knows and that do not act in this version, by sort of section."""

SECTIONS_WITHOUT_EFFECT = (
    "smtp-client",
    "smtp-client-<name>",
    "defaults-smtp-client",
    "email-processing",
    "smtp-listener",
    "webhook-<name>",
    "pull-<name>",
    "stream-<name>",
    "folder-<name>",
)
"""Sections that the product knows and that do not act in this version."""
