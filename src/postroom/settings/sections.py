"""Every section and option, on one page.

To add an option, declare it in its section's record; parsing, ``postroom options``, ``docs/options.md`` and the JSON
follow. Only what acts is declared. Names that the product knows and does not act on yet stand at the end, so that a
file which is pasted whole is answered with a warning and not with a riddle.
"""

# ruff: noqa: RUF009 - ``option()`` makes a field, as dataclasses.field() does

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from postroom.model import Disposition
from postroom.secret import Secret
from postroom.settings import values
from postroom.settings.option import Effect, option

OAUTH_MECHANISMS = ("XOAUTH2", "OAUTHBEARER")
MECHANISMS = (*OAUTH_MECHANISMS, "PLAIN", "LOGIN")

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
    """How an access token is obtained."""

    REFRESH_TOKEN = "refresh_token"  # noqa: S105 - a word of RFC 6749 section 6


@dataclass(frozen=True, slots=True, kw_only=True)
class PopClient:
    """One mailbox that is read. The section's record as one cycle sees it, from beginning to end."""

    section: str  # whole name of the section, as written
    name: str  # the part after "pop-client-", or "pop-client"

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
    password: Secret | None = option(
        "password",
        values.secret,
        valid=f"a password or a refresh_token, as {values.SECRET_FORMS}",
        effect=Effect.NEXT_CYCLE,
        modified=("8.5.205.03",),
        ours="The forms env:NAME and file:PATH.",
        secret=True,
        sentence="With basic authentication the password; blanks in Google's application passwords do not count. "
        "With OAuth (`mail.<type>.auth.mechanisms`) the mailbox's refresh token.",
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
        default_words="By provider: Google https://mail.google.com/, "
        "Microsoft https://outlook.office.com/IMAP.AccessAsUser.All offline_access",
        valid="scopes with blanks between them, as the authority names them",
        effect=Effect.NEXT_CYCLE,
        introduced="8.5.107.06",
        modified=("8.5.202.02", "8.5.205.03"),
        ours="The default: what reading mail with a refresh token needs at that provider (in the family "
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
        sentence="Names the section secret-<secretName> that holds the application's client_secret. It acts only with "
        "OAuth; Google wants it always.",
    )
    grant_type: GrantType | None = option(
        "grant-type",
        values.one_of(GrantType, "is none that this version carries out; it carries out refresh_token"),
        default_words="refresh_token; at Microsoft it must be written",
        valid="refresh_token",
        effect=Effect.NEXT_CYCLE,
        ours="The default at Google. At Microsoft the family's default is the password grant, which this version does "
        "not carry out and says so.",
        oauth=True,
        sentence="How a token is obtained. It acts only with OAuth.",
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
        """Whether the mailbox is opened with an access token: ``password`` is then its refresh token."""
        return any(mechanism in OAUTH_MECHANISMS for mechanism in self.mechanisms)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSection:
    """An application's secret, under a name that clients refer to."""

    name: str  # the part after "secret-"

    password: Secret | None = option(
        "password",
        values.secret,
        valid=f"the client_secret of the application, as {values.SECRET_FORMS}",
        effect=Effect.AS_ITS_CLIENT,
        introduced="8.5.201.05",
        ours="The forms env:NAME and file:PATH.",
        secret=True,
        sentence="The client_secret that the authority gave to the application.",
    )


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
        sentence="The authority's own name for itself; errors name it by this.",
    )
    authorization_endpoint: str | None = option(
        "authorization_endpoint",
        values.endpoint,
        valid="an https:// address; http:// on this machine only",
        effect=Effect.AS_ITS_CLIENT,
        ours=_WHOLE,
        sentence="Where a person consents; named by the remedy when a new refresh token is needed.",
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


POP_CLIENT = SectionKind(
    "pop-client",
    PopClient,
    "One mailbox that is read; `pop-client` or `pop-client-<name>`. What all of them share may stand in "
    "`defaults-pop-client`; a section's own value wins.",
    named=True,
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

SECTIONS = (POP_CLIENT, SECRET, AUTHORITY, SETTINGS, WEB, LOG)
DEFAULTS = "defaults-pop-client"

OPTIONS_WITHOUT_EFFECT: Mapping[str, tuple[str, ...]] = {
    POP_CLIENT.name: (
        "address",
        "oauth-user",
        "maximum-msg-size",
        "big-messages",
        "first-read",
        "failed-items-folder-path",
        "token-command",
        "token-url",
        "copy-message-to-recipients",
        "copy-message-with-header",
        "inbound-msg-copy-limit",
    ),
    SECRET.name: ("certificate", "private-key", "service-account"),
    AUTHORITY.name: ("device_authorization_endpoint", "revocation_endpoint", "introspection_endpoint", "jwks_uri"),
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
    "proxy",
    "webhook-<name>",
    "pull-<name>",
    "stream-<name>",
    "folder-<name>",
)
"""Sections that the product knows and that do not act in this version."""
