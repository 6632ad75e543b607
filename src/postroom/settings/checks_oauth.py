"""Rules for clients with OAuth: the grant, and what it needs of application, directory, secret and scope."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from urllib.parse import urlsplit

from postroom.settings.context import GOOGLE, MICROSOFT, Context, Rule
from postroom.settings.faults import Fault, Severity
from postroom.settings.pop_client import MICROSOFT as MICROSOFT_URL
from postroom.settings.reading import Draft
from postroom.settings.smtp_client import Client
from postroom.settings.values import OAUTH_MECHANISMS
from postroom.settings.words import GrantType

_WITHOUT_CLIENT = (GrantType.SERVICE_ACCOUNT, GrantType.EXTERNAL)  # whoever answers knows the application


def _client_id(draft: Draft[Client], _: Context) -> Iterator[Fault]:
    if draft.lacks("client_id") and draft.client.grant_type not in _WITHOUT_CLIENT:
        yield draft.fault(
            "client_id",
            "the option is required with OAuth and is not written",
            valid="the client ID under which the application is registered",
        )


def _authority(draft: Draft[Client], context: Context) -> Iterator[Fault]:
    if context.authority(draft) is None and "tenant_authority" not in draft.wrong:
        names = [name for name, _ in context.authorities.values()]
        sections = f"an authority-<name> section ({', '.join(names)})" if names else "an authority-<name> section"
        yield draft.fault(
            "tenant_authority",
            "no authority of this name is known",
            valid=f"{MICROSOFT_URL}, a string that contains google, or the name of {sections}",
        )


def _grant_type(draft: Draft[Client], context: Context) -> Iterator[Fault]:
    authority = context.authority(draft)
    grant = draft.client.grant_type
    if "grant_type" in draft.wrong or authority is None:
        return
    if grant is None and authority == MICROSOFT:
        yield draft.fault(
            "grant_type",
            f"nothing is written, so the family's default holds at a Microsoft authority: the {draft.noun}'s password is sent to "
            "it (password grant). It fails with multi-factor authentication and for most accounts; a consent given by postroom "
            "authorize is used before it",
            valid="client_credentials for a company's mailboxes, refresh_token for one account",
            remedy="Write grant-type = client_credentials, or grant-type = refresh_token and run: postroom authorize "
            f"{draft.client.section}",
            severity=Severity.WARNING,
        )
    elif grant is GrantType.PASSWORD:
        yield draft.fault(
            "grant_type",
            "the password grant is legacy: it fails with multi-factor authentication and for most accounts",
            valid="client_credentials for a company's mailboxes, refresh_token for one account",
            severity=Severity.WARNING,
        )
    if authority == GOOGLE and grant in (GrantType.CLIENT_CREDENTIALS, GrantType.PASSWORD):
        yield draft.fault(
            "grant_type", "Google gives no token for mail by this grant", valid="refresh_token, service_account, external"
        )
    if authority == MICROSOFT and grant is GrantType.SERVICE_ACCOUNT:
        yield draft.fault(
            "grant_type",
            "service accounts are Google's; at Microsoft an application's own right is client_credentials",
            valid="client_credentials, refresh_token, password, external",
        )


def _directory(draft: Draft[Client], context: Context) -> Iterator[Fault]:
    if draft.client.grant_type is not GrantType.CLIENT_CREDENTIALS or context.authority(draft) != MICROSOFT:
        return
    named = urlsplit(draft.client.tenant_authority).path.strip("/")
    directory = draft.client.directory_id or named
    if "directory_id" not in draft.wrong and directory.lower() in ("", "common", "organizations", "consumers"):
        yield draft.fault(
            "directory_id",
            "an application's own token is one directory's, and none is named",
            valid="the directory (tenant) ID, or the directory's domain",
        )


def _external(draft: Draft[Client], _: Context) -> Iterator[Fault]:
    written = [name for name in ("token_command", "token_url") if not draft.lacks(name)]
    if draft.client.grant_type is GrantType.EXTERNAL:
        if len(written) != 1:
            problem = "grant-type = external needs one of token-command and token-url, and "
            problem += "both are written" if written else "neither is written"
            yield draft.fault("grant_type", problem, valid="token-command = PROGRAM, or token-url = ADDRESS")
        return
    for name in written:
        if not {"grant_type", name} & draft.wrong:
            problem = "without effect, since grant-type is not external"
            yield draft.fault(name, problem, remedy="Add the line: grant-type = external", severity=Severity.WARNING)


def _one_resource(draft: Draft[Client], context: Context) -> Iterator[Fault]:
    """Microsoft gives a token for one resource; words without a resource (openid, offline_access) go with any."""
    if draft.client.scope is None or context.authority(draft) != MICROSOFT:
        return
    resources = {word.rpartition("/")[0].lower() for word in draft.client.scope.split() if "://" in word}
    if len(resources) > 1:
        yield draft.fault(
            "scope",
            f"a token is for one resource, and these are {len(resources)}: {', '.join(sorted(resources))}",
            valid="scopes of one resource; leave the option out for the default",
        )


def _secret(draft: Draft[Client], context: Context) -> Iterator[Fault]:
    grant = draft.client.grant_type
    name = draft.client.secret  # an smtp-client's has a default
    if draft.lacks("secret") and (name or "").lower() not in context.secrets:
        yield from _secret_not_named(draft, context, grant)
        return
    if name is None or "secret" in draft.wrong:
        return
    if name.lower() not in context.secrets:
        yield _no_such_secret(draft, name, context)
        return
    _, section = context.secrets[name.lower()]
    written = {option for option, entry in section.entries.items() if entry.value}
    wanted = "service-account" if grant is GrantType.SERVICE_ACCOUNT else "password"
    if wanted in written or (wanted == "password" and {"certificate", "private-key"} <= written):
        return
    half = wanted == "password" and written & {"certificate", "private-key"}
    problem = "has a certificate or a private-key, and needs both" if half else f"has no {wanted}"
    yield draft.fault(
        "secret",
        f"[{section.name}] (line {section.line}) {problem}",
        valid=f"the name of a secret-<secretName> section with a {wanted}",
        remedy=f"Write {'certificate and private-key' if half else _BELONGS[wanted]} in [{section.name}].",
    )


_BELONGS = {
    "password": "the application's client_secret as password",
    "service-account": "the service account's JSON file as service-account",
}


def _secret_not_named(draft: Draft[Client], context: Context, grant: GrantType | None) -> Iterator[Fault]:
    if grant is GrantType.SERVICE_ACCOUNT:
        problem, holds = "the option is required with grant-type = service_account and is not written", "a service-account"
    elif grant is GrantType.CLIENT_CREDENTIALS and draft.lacks("password"):
        problem = "the application must prove itself, and neither secret nor password is written"
        holds = "the application's client_secret or certificate"
    elif context.authority(draft) == GOOGLE and grant in (None, GrantType.REFRESH_TOKEN):
        problem, holds = "the option is required with Google's OAuth and is not written", "the application's client_secret"
    else:
        return
    default = draft.client.secret
    if default is not None:
        problem += f", and there is no section secret-{default}, which it means then"
    there = f"a section secret-{default} with {holds}; or " if default is not None else ""
    yield draft.fault("secret", problem, valid=f"{there}the name of a secret-<secretName> section with {holds}")


def _no_such_secret(draft: Draft[Client], name: str, context: Context) -> Fault:
    names = [known for known, _ in context.secrets.values()]
    misspelt = bool(difflib.get_close_matches(name.lower(), context.secrets, 1, 0.5))
    return draft.fault(
        "secret",
        "there is no section secret-<secretName> of this name",
        valid=", ".join(names) if names else "the name of a secret-<secretName> section",
        remedy="" if misspelt else "The client_secret itself belongs into such a section, as its password.",
        mask=not misspelt and (len(name) >= 24 or name.startswith("GOCSPX-")),  # a client_secret in the wrong place
    )


def _other_home(draft: Draft[Client], context: Context) -> Iterator[Fault]:
    home = context.providers.authority_of_mailbox(draft.client.account)
    authority = context.authority(draft)
    if home is not None and authority in (GOOGLE, MICROSOFT) and authority != home:
        yield draft.fault(
            "tenant_authority",
            f"the {draft.noun} has an address of {home.capitalize()}, but its tokens come from {authority.capitalize()}",
            valid=f"an authority of {home.capitalize()}",
            severity=Severity.WARNING,
        )


def _mixed_mechanisms(draft: Draft[Client], _: Context) -> Iterator[Fault]:
    others = [mechanism for mechanism in draft.client.mechanisms if mechanism not in OAUTH_MECHANISMS]
    if others:
        yield draft.fault(
            "mechanisms",
            f"{' and '.join(others)} cannot be used beside OAuth, because password is the refresh token then",
            valid="XOAUTH2 and OAUTHBEARER, or PLAIN and LOGIN",
            severity=Severity.WARNING,
        )


OAUTH_RULES: tuple[Rule, ...] = (
    _client_id,
    _authority,
    _grant_type,
    _directory,
    _external,
    _one_resource,
    _secret,
    _other_home,
    _mixed_mechanisms,
)
