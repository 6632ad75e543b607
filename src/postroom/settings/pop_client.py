"""A pop-client: the options of its mailbox, and those that open it."""

# ruff: noqa: RUF009 - ``option()`` makes a field, as dataclasses.field() does

from __future__ import annotations

from dataclasses import dataclass

from postroom.settings import values
from postroom.settings.mailbox import MailboxOptions
from postroom.settings.network import ProxySettings
from postroom.settings.option import Effect, option
from postroom.settings.values import MECHANISMS, OAUTH_MECHANISMS
from postroom.settings.words import GrantType

MICROSOFT = "https://login.microsoftonline.com"
_WHOLE = "The option."


@dataclass(frozen=True, slots=True, kw_only=True)
class PopClient(MailboxOptions):
    """One mailbox that is read. The section's record as one cycle sees it, from beginning to end."""

    # what has no option of its own, and a property of mail.<type>.* says (``properties``)
    proxy: ProxySettings | None = None  # of this mailbox alone
    compress: bool = False  # IMAP: COMPRESS=DEFLATE where the server offers it (RFC 4978)
    disable_top: bool = False  # POP3: TOP is never sent
    disable_capa: bool = False  # POP3: CAPA is never sent
    two_line_xoauth2: bool | None = None  # the token follows in a line of its own; None: as the provider wants it

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
        "https://outlook.office.com/IMAP.AccessAsUser.All (with POP3 POP.AccessAsUser.All) offline_access with refresh_token, "
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
        return self.oauth_user or self.account
