"""The sections that open a mailbox, and those by which its account sends, as text for the configuration file: from what was
found and what a person answered.

What is written is meant to be read: every line that needs a reason has one above it. A secret itself is never part of it; it
is named as ``file:NAME`` or ``env:NAME``, and ``into_file.write_secret`` puts it there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from postroom.errors import ConfigError
from postroom.net.discovery import Found, FoundServer
from postroom.settings import MailboxType, Security
from postroom.settings.pop_client import MICROSOFT

GRANTS = ("refresh_token", "client_credentials", "service_account")
"""What is written as grant-type. The password grant is not among them: it fails for most accounts, so nobody is led to it."""

_GOOGLE, _MICROSOFT = "google", "microsoft"  # authorities with rules of their own in the options' specification
_REFERENCE = re.compile(r"(?:file:|env:)\S(?:.*\S)?")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_BY_DEFAULT = {"imap": Security.SSL_TLS, "pop3": Security.SSL_TLS, "smtp": Security.START_TLS}
_PORTS = {
    ("imap", Security.SSL_TLS): 993,
    ("imap", Security.START_TLS): 143,
    ("imap", Security.NONE): 143,
    ("pop3", Security.SSL_TLS): 995,
    ("pop3", Security.START_TLS): 110,
    ("pop3", Security.NONE): 110,
    ("smtp", Security.SSL_TLS): 465,
    ("smtp", Security.START_TLS): 587,
    ("smtp", Security.NONE): 25,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAuthority:
    """An ``authority-<name>`` section that is written beside the client, by the names of RFC 8414 section 2."""

    token_endpoint: str
    authorization_endpoint: str = ""
    issuer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthAnswers:
    """What a person says about the application that reads the mailbox."""

    authority: str = ""  # google, microsoft or the name of an authority- section; empty for the provider that was found
    grant_type: str = "refresh_token"  # one of GRANTS
    client_id: str = ""
    directory_id: str = ""
    secret_name: str = ""  # of the secret- section
    secret: str = ""  # file:NAME or env:NAME: the section is written too; empty for one that is there, or none
    expires: str = ""  # YYYY-MM-DD: when that client_secret ends
    publishing_status: str = ""  # of a Google application: testing, production, internal
    oauth_user: str = ""  # the account that consents, where the mailbox is another's
    new_authority: NewAuthority | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a person says about a mailbox."""

    name: str  # the section is pop-client-<name>
    password: str = ""  # file:NAME or env:NAME: the password or the refresh token; with OAuth it may be in the vault instead
    oauth: OAuthAnswers | None = None  # None: a password
    sends: bool = False  # smtp-client-<name> is written too, for the same account
    first_read: str = ""  # all, new or YYYY-MM-DD; empty for the default, which is not written


def drafted(found: Found, answers: Answers) -> str:
    """The sections as text, ending in a line feed. ConfigError where an answer is missing or cannot be written."""
    server = _readable(found)
    _checked(found, answers)
    lines: list[str] = []
    if answers.oauth is not None:
        lines += _secret(found, answers.oauth)
        lines += _authority(answers.oauth)
    lines += _client(found, server, answers)
    if answers.sends:
        lines += _sender(found, _taking(found), answers)
    for line in lines:
        if not line.isprintable():
            raise ConfigError("a value has a line break or a control character in it", value=line, valid="text on one line")
    return "\n".join(lines) + "\n"


def suggested_name(address: str) -> str:
    """A name for a mailbox's section: what stands before the @ of its address."""
    name = re.sub(r"[^a-z0-9._-]+", "-", address.rpartition("@")[0].lower()).strip("._-")
    return name or "mailbox"


# --- what cannot be written -------------------------------------------------------------------------------------------


def _readable(found: Found) -> FoundServer:
    """The server that is written: the first that this version reads."""
    for server in found.servers:
        if server.type.upper() in MailboxType.__members__:
            return server
    types = ", ".join(MailboxType.__members__)
    others = ", ".join(server.type.upper() for server in found.servers if server.type in ("imap", "pop3"))
    words = f"only {others} was found" if others else "no server was found"
    raise ConfigError(
        f"{found.address}: {words}, and this version reads {types}", option="server", valid=f"a server of type {types}"
    )


def _taking(found: Found) -> FoundServer:
    """The server that mail is handed to."""
    server = found.server("smtp")
    if server is None:
        raise ConfigError(f"{found.address}: no server that takes mail was found", option="server", valid="a server of type SMTP")
    return server


def _checked(found: Found, answers: Answers) -> None:
    """All answers are there and can be written."""
    names = [answers.name, *([answers.oauth.secret_name] if answers.oauth and answers.oauth.secret_name else [])]
    for name in names:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"'{name}' is no name for a section", value=name, valid="letters, digits, hyphens, dots")
    references = [answers.password, answers.oauth.secret if answers.oauth else ""]
    if any(reference and not _REFERENCE.fullmatch(reference) for reference in references):
        raise ConfigError("a secret is not written into the file", option="password", value="***", valid="file:NAME or env:NAME")
    if answers.oauth is not None:
        _check_grant(found, answers.oauth, _authority_of(found, answers.oauth))
        _check_needed(answers.oauth, _authority_of(found, answers.oauth))
    elif found.provider == _MICROSOFT:
        raise ConfigError(f"{found.title} takes no password for mail, only OAuth", option="password", valid="OAuth")
    elif not answers.password:
        raise ConfigError("the mailbox's password is missing", option="password", valid="file:NAME or env:NAME")


def _check_grant(found: Found, oauth: OAuthAnswers, authority: str) -> None:
    grant = oauth.grant_type
    foreign = {_GOOGLE: "client_credentials", _MICROSOFT: "service_account"}.get(authority, "service_account")
    valid = [known for known in GRANTS if known != foreign]
    if found.personal and authority == _MICROSOFT:
        valid.remove("client_credentials")  # there is no directory, and no administrator to give the right
    if grant not in valid:
        words = f"grant-type = {grant} is not written for this mailbox"
        raise ConfigError(words, option="grant-type", value=grant, valid=", ".join(valid))


def _check_needed(oauth: OAuthAnswers, authority: str) -> None:
    needed = {"tenant-authority": authority}
    if oauth.grant_type != "service_account":
        needed["client-id"] = oauth.client_id
    if oauth.grant_type != "refresh_token" or authority == _GOOGLE:
        needed["secret"] = oauth.secret_name
    if oauth.grant_type == "client_credentials" and authority == _MICROSOFT:
        needed["directory-id"] = oauth.directory_id
    if oauth.secret:
        needed["secret"] = oauth.secret_name
    for option, value in needed.items():
        if not value:
            raise ConfigError(f"{option} is missing", option=option)
        if any(character.isspace() for character in value):
            raise ConfigError(f"{option} has white space in it", option=option, value=value, valid="text without white space")


def _authority_of(found: Found, oauth: OAuthAnswers) -> str:
    if oauth.authority:
        return oauth.authority
    return found.provider if found.provider in (_GOOGLE, _MICROSOFT) else ""


# --- sections ---------------------------------------------------------------------------------------------------------


def _secret(found: Found, oauth: OAuthAnswers) -> Iterator[str]:
    if not oauth.secret:
        return
    yield f"[secret-{oauth.secret_name}]"
    if oauth.grant_type == "service_account":
        yield "# the JSON key of the Google service account, as the console handed it out"
        yield f"service-account = {oauth.secret}"
    else:
        if _authority_of(found, oauth) == _MICROSOFT:
            yield "# the value of the application's client secret (not its ID); env:NAME works too"
        else:
            yield "# the client_secret of the application, in a file beside this one; env:NAME works too"
        yield f"password = {oauth.secret}"
        if oauth.expires:
            yield "# when it ends: Postroom warns 30, 14 and 3 days ahead"
            yield f"expires = {oauth.expires}"
        if oauth.publishing_status:
            yield "# in testing a refresh token ends after seven days; Postroom warns ahead"
            yield f"publishing-status = {oauth.publishing_status}"
    yield ""


def _authority(oauth: OAuthAnswers) -> Iterator[str]:
    new = oauth.new_authority
    if new is None:
        return
    yield f"[authority-{oauth.authority}]"
    yield "# where tokens are asked for"
    yield f"token_endpoint = {new.token_endpoint}"
    if new.authorization_endpoint:
        yield "# where a person consents"
        yield f"authorization_endpoint = {new.authorization_endpoint}"
    if new.issuer:
        yield "# the authority's own name for itself"
        yield f"issuer = {new.issuer}"
    yield ""


def _client(found: Found, server: FoundServer, answers: Answers) -> Iterator[str]:
    if found.how:
        yield f"# {found.how}"
    yield f"[pop-client-{answers.name}]"
    yield f"type = {server.type.upper()}"
    yield from _place(found, server, answers.oauth)
    login = server.login(found.address)
    if login != found.address:
        yield "# the user's name as the server wants it"
    yield f"mailbox = {login}"
    if answers.oauth is None:
        yield "# the mailbox's password, in a file beside this one; env:NAME works too"
        if found.provider is not None:
            yield f"# {found.title} wants an application password, not the one that opens the account"
        yield f"password = {answers.password}"
    else:
        if answers.oauth.oauth_user:
            yield "# the account that consents; its token opens this mailbox"
            yield f"oauth-user = {answers.oauth.oauth_user}"
        yield from _oauth(found, server, answers, answers.oauth)
    if answers.first_read:
        yield "# what of the messages that are there is read: all, new for none of them, or a day (UTC) to begin with"
        yield f"first-read = {answers.first_read}"


def _sender(found: Found, server: FoundServer, answers: Answers) -> Iterator[str]:
    """What was said above about the mailbox holds here too, and is not said again."""
    oauth = answers.oauth
    by_consent = oauth is not None and oauth.grant_type == "refresh_token"
    yield ""
    yield f"# Sends for the same account{'; one consent serves both' if by_consent else ''}."
    if server.how not in ("", found.how):
        yield f"# {server.how}"
    yield f"[smtp-client-{answers.name}]"
    yield from _place(found, server, oauth)
    # Who logs in is the one whose token it is; a mailbox of another's has none.
    yield f"user = {(oauth.oauth_user if oauth is not None else '') or server.login(found.address)}"
    yield "enable-authentication = true"
    if oauth is None:
        yield f"password = {answers.password}"
    else:
        yield from (line for line in _oauth(found, server, answers, oauth) if not line.startswith("#"))
    yield "# whatever is from this address leaves by this account"
    yield f"addresses = {found.address}"


def _place(found: Found, server: FoundServer, oauth: OAuthAnswers | None) -> Iterator[str]:
    """Server, port and protection; nothing where the authority tells them."""
    if oauth is not None and found.provider is not None and _authority_of(found, oauth) == found.provider:
        return
    yield f"server = {server.host}"
    if server.port != _PORTS[server.type, server.security]:
        yield f"port = {server.port}"
    if server.security is Security.NONE:
        yield "# in clear: the password and all mail can be read on the way; ask for TLS"
    if server.security is not _BY_DEFAULT[server.type]:
        option = "smtp-connection-security" if server.type == "smtp" else "pop-connection-security"
        yield f"{option} = {server.security.value}"


def _oauth(found: Found, server: FoundServer, answers: Answers, oauth: OAuthAnswers) -> Iterator[str]:
    authority = _authority_of(found, oauth)
    yield "# OAuth 2.0: an access token logs in, no password"
    mechanisms = "XOAUTH2" if authority in (_GOOGLE, _MICROSOFT) else "OAUTHBEARER, XOAUTH2"
    yield f"mail.{server.type}.auth.mechanisms = {mechanisms}"
    yield from _chosen_authority(authority)
    if oauth.client_id:
        yield f"# {_APPLICATION.get(authority, 'the application as it is registered at the authority')}"
        yield f"client-id = {oauth.client_id}"
    if oauth.directory_id:
        yield "# the directory (tenant) ID, on the same page"
        yield f"directory-id = {oauth.directory_id}"
    if oauth.secret_name:
        yield f"# names [secret-{oauth.secret_name}]"
        yield f"secret = {oauth.secret_name}"
    if oauth.grant_type != "refresh_token" or authority != _GOOGLE:
        yield f"# {_GRANT[oauth.grant_type]}"
        yield f"grant-type = {oauth.grant_type}"
    if oauth.grant_type == "refresh_token":
        yield from _refresh_token(answers)


def _chosen_authority(authority: str) -> Iterator[str]:
    if authority == _MICROSOFT:
        yield f"tenant-authority = {MICROSOFT}"
    elif authority == _GOOGLE:
        yield '# any text that contains "google"'
        yield "tenant-authority = google"
    else:
        yield f"# names [authority-{authority}]"
        yield f"tenant-authority = {authority}"


def _refresh_token(answers: Answers) -> Iterator[str]:
    if answers.password:
        yield "# the refresh token"
        yield f"password = {answers.password}"
    else:
        yield f"# the refresh token is in the vault: postroom authorize {answers.name} gets it and renews it"


_APPLICATION = {
    _GOOGLE: "of the OAuth client (type Desktop) in the Google Cloud console",
    _MICROSOFT: "the application (client) ID, from its overview in the Entra admin center",
}
_GRANT = {
    "refresh_token": "a person consents once; the refresh token that comes of it is renewed from then on",
    "client_credentials": "the application's own right, given by an administrator: nobody signs in, and no consent runs out",
    "service_account": "the service account's own right, delegated for the whole domain by the Workspace administrator",
}
