"""Every section. Those of clients, the listener, processing and the proxy are declared in modules of their own.

To add an option, declare it in its section's record; parsing, ``postroom options``, ``docs/options.md`` and the JSON
follow. Only what acts is declared. Names that the product knows and does not act on yet stand at the end, so that a
file which is pasted whole is answered with a warning and not with a riddle.
"""

# ruff: noqa: RUF009 - ``option()`` makes a field, as dataclasses.field() does

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from postroom.secret import Secret
from postroom.settings import values
from postroom.settings.application import PullApplication
from postroom.settings.listener import ListenerAccount, ListenerSettings
from postroom.settings.network import ProxySettings
from postroom.settings.option import Effect, option
from postroom.settings.pop_client import PopClient
from postroom.settings.pop_properties import POP_PROPERTIES
from postroom.settings.processing import ProcessingSettings
from postroom.settings.properties import Properties
from postroom.settings.smtp_client import SmtpClient
from postroom.settings.smtp_properties import SMTP_PROPERTIES
from postroom.settings.web import WebSettings
from postroom.settings.words import PublishingStatus

_WHOLE = "The option."


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
    audit_interval: float = option(
        "audit-interval",
        values.time_span(minimum=0),
        default="24:00:00",
        valid=f"{values.TIME_SPAN}; 0s switches it off",
        effect=Effect.RESTART,
        ours=_WHOLE,
        sentence="How often the service compares what each mailbox's server holds with what is accounted for here, as `postroom "
        "audit` does. What is missing is fetched, and told of.",
    )
    restart_changed_clients: bool = option(
        "restart-changed-clients",
        values.boolean,
        default="true",
        valid=values.BOOLEAN,
        effect=Effect.RESTART,
        ours=_WHOLE,
        sentence="Whether an smtp-client whose options changed is restarted by itself, between two messages. With `false` it "
        "goes on as it is, and status shows it as *restart pending*, until `postroom restart` or a start of the server.",
    )


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


@dataclass(frozen=True)
class ClientKind(SectionKind):
    """A sort of section that logs in somewhere; what all of its sections share may stand in one more."""

    named: bool = True
    typed_by: str = ""  # the option that says the type
    properties: Properties = POP_PROPERTIES  # JavaMail's, which stand in for its options

    @property
    def shared(self) -> str:
        """The section of shared values."""
        return f"defaults-{self.name}"


POP_CLIENT = ClientKind(
    "pop-client",
    PopClient,
    "One mailbox that is read; `pop-client` or `pop-client-<name>`. What all of them share may stand in "
    "`defaults-pop-client`; a section's own value wins.",
    typed_by="type",
)
SMTP_CLIENT = ClientKind(
    "smtp-client",
    SmtpClient,
    "One account that mail is sent by; `smtp-client` or `smtp-client-<name>`. What all of them share may stand in "
    "`defaults-smtp-client`; a section's own value wins. A changed account is restarted between two messages, or with "
    "`settings.restart-changed-clients = false` when `postroom restart` says so.",
    typed_by="server-type",
    properties=SMTP_PROPERTIES,
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
PROCESSING = SectionKind("email-processing", ProcessingSettings, "How mail is treated, whatever the client.")
LISTENER = SectionKind(
    "smtp-listener",
    ListenerSettings,
    "Where programs hand mail in that speak SMTP only; it leaves by the account of its From address. Off by default.",
)
LISTENER_ACCOUNT = SectionKind(
    "smtp-listener-account-<name>",
    ListenerAccount,
    "A program that may hand mail in; `<name>` is its login name, in any case.",
    bare=False,
    named=True,
)
SETTINGS = SectionKind("settings", ServerSettings, "What concerns the whole server.")
WEB = SectionKind("web", WebSettings, "Where the server answers for itself: the REST API, health and metrics.")
LOG = SectionKind("log", LogSettings, "What is written to the log.")
PULL = SectionKind(
    "pull-<name>",
    PullApplication,
    "One application that reads messages by lease and acknowledges them (`POST /v1/pull/<name>/lease`, `postroom pull`).",
    bare=False,
    named=True,
)
PROXY = SectionKind("proxy", ProxySettings, "Through whom servers of mail and token authorities are reached.")

CLIENTS = (POP_CLIENT, SMTP_CLIENT)
SECTIONS = (*CLIENTS, SECRET, AUTHORITY, PULL, PROXY, PROCESSING, LISTENER, LISTENER_ACCOUNT, SETTINGS, WEB, LOG)
SHARED = tuple(kind.shared for kind in CLIENTS)

OPTIONS_WITHOUT_EFFECT: Mapping[str, tuple[str, ...]] = {
    SMTP_CLIENT.name: ("allow-delegate", "exchange-version"),
    AUTHORITY.name: ("revocation_endpoint", "introspection_endpoint", "jwks_uri"),
    PROCESSING.name: (
        "attachment-mngt",
        "enable-message-id-check",
        "ndr-senders-list",
        "autowar-detect-period",
        "enable-autowar-detect",
        "autowar-max-reply-count",
        "enable-mail-loops",
        "default-domain",
        "enable-extract-uuencoded-file",
    ),
    SETTINGS.name: ("database-url",),
}
"""Names that the product knows and that do not act in this version, by sort of section."""

SECTIONS_WITHOUT_EFFECT = (
    "webhook-<name>",
    "stream-<name>",
    "folder-<name>",
)
"""Sections that the product knows and that do not act in this version."""
