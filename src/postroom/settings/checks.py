"""What one section cannot see alone: a client with what it names, with its provider, and with the other clients.

Each rule is a generator over one client's draft; it says nothing of a field whose value is wrong, because that is told
already. A rule's fault keeps its own client down, never another.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from postroom.model import Disposition
from postroom.settings.faults import Fault, Severity
from postroom.settings.ini import IniSection
from postroom.settings.reading import Draft
from postroom.settings.sections import MICROSOFT as MICROSOFT_URL
from postroom.settings.sections import OAUTH_MECHANISMS, PopClient, Security
from postroom.settings.values import SECRET_FORMS, is_loopback

GOOGLE, MICROSOFT = "google", "microsoft"  # authorities with rules of their own in the options' specification


class ProviderFacts(Protocol):
    """What must be known of providers to judge a file."""

    def authority_name(self, tenant_authority: str, named: Collection[str]) -> str | None:
        """Which authority a value chooses: one of ``named``, or a built-in one; None where nobody knows it."""

    def server_of(self, client: PopClient, named: Collection[str]) -> str | None:
        """The server that a client's mailbox is at, written or known; None where nobody knows it."""

    def authority_of_mailbox(self, mailbox: str) -> str | None:
        """The built-in authority whose accounts have addresses like this one."""


Places = Mapping[str, tuple[str, IniSection]]


@dataclass(frozen=True)
class Context:
    """What a client is judged with."""

    secrets: Places  # name in lower case: name as written, section
    authorities: Places
    providers: ProviderFacts
    drafts: tuple[Draft, ...]  # all clients in the order of the file

    def authority(self, draft: Draft) -> str | None:
        """The name of the authority that gives a client its tokens; None where nobody knows it."""
        if "tenant_authority" in draft.wrong:
            return None
        return self.providers.authority_name(draft.client.tenant_authority, self._authority_names)

    def server(self, draft: Draft) -> str | None:
        """The server of a client's mailbox, written or known."""
        return self.providers.server_of(draft.client, self._authority_names)

    def identity(self, draft: Draft) -> tuple[object, ...] | None:
        """What tells one mailbox from another: type, server and login."""
        server = self.server(draft)
        if server is None or not draft.client.mailbox or draft.lacks("type") or draft.wrong & {"type", "server"}:
            return None
        return draft.client.type, server.lower(), draft.client.mailbox.lower()

    @property
    def _authority_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.authorities.values())


Rule = Callable[[Draft, Context], Iterator[Fault]]


def check(draft: Draft, context: Context) -> Iterator[Fault]:
    """Judge one client by all rules."""
    for rule in (*_RULES, *(_OAUTH_RULES if draft.client.uses_oauth else ())):
        yield from rule(draft, context)


def needs(draft: Draft, context: Context) -> frozenset[str]:
    """The other sections that a client cannot be without: where they are faulty, so is it."""
    needed = set(draft.blocked_by)
    if draft.client.uses_oauth:
        if (draft.client.secret or "").lower() in context.secrets:
            needed.add(context.secrets[(draft.client.secret or "").lower()][1].name)
        authority = context.authority(draft)
        if authority is not None and authority.lower() in context.authorities:
            needed.add(context.authorities[authority.lower()][1].name)
    return frozenset(needed)


def resolved(draft: Draft, context: Context) -> PopClient:
    """The client, naming its secret exactly as that secret's section does."""
    named = context.secrets.get((draft.client.secret or "").lower())
    return dataclasses.replace(draft.client, secret=named[0]) if named else draft.client


# --- every client ---------------------------------------------------------------------------------------------------


def _password(draft: Draft, _: Context) -> Iterator[Fault]:
    if draft.lacks("password"):
        what = "the mailbox's refresh token" if draft.client.uses_oauth else "the mailbox's password"
        problem = f"{what} is required here and is not written"
        yield draft.fault("password", problem, valid=f"{what}, as {SECRET_FORMS}")


def _server(draft: Draft, context: Context) -> Iterator[Fault]:
    if not draft.client.mailbox or not draft.lacks("server") or "tenant_authority" in draft.wrong:
        return
    if draft.client.uses_oauth and context.authority(draft) is None:
        return  # which is told already, and is the cause
    if context.server(draft) is None:
        yield draft.fault(
            "server",
            "the option is required here and is not written, because the provider of this mailbox is not known",
            valid="the name or address of the mailbox's host",
        )


def _move_target(draft: Draft, context: Context) -> Iterator[Fault]:
    target = draft.client.processed_folder_path
    if draft.client.after_capture is not Disposition.MOVE or "processed_folder_path" in draft.wrong:
        return
    if target is None:
        yield draft.fault(
            "processed_folder_path",
            "after-capture = move needs a folder to move to, and none is written",
            valid="a folder that is not read itself",
        )
        return
    mine = context.identity(draft)
    for other in context.drafts:
        same = other is draft or (mine is not None and context.identity(other) == mine and other.client.enable_client)
        if same and "folder_path" not in other.wrong and target in other.client.folder_path:
            yield draft.fault(
                "processed_folder_path",
                f"[{other.client.section}] reads this folder, so what is moved there would be read again",
                valid="a folder that is not read itself",
            )
            return


def _read_twice(draft: Draft, context: Context) -> Iterator[Fault]:
    mine = context.identity(draft)
    if mine is None or not draft.client.enable_client or {"folder_path", "enable_client"} & draft.wrong:
        return
    for other in context.drafts[: context.drafts.index(draft)]:
        if not other.client.enable_client or "folder_path" in other.wrong or context.identity(other) != mine:
            continue
        both = [folder for folder in draft.client.folder_path if folder in other.client.folder_path]
        if both:
            yield draft.fault(
                "folder_path",
                f"[{other.client.section}] (line {other.line}) reads {', '.join(both)} of the same mailbox already",
                valid="folders that no other section reads",
            )
            return


def _in_clear(draft: Draft, context: Context) -> Iterator[Fault]:
    identity = context.identity(draft)
    if draft.client.security is Security.NONE and identity is not None and not is_loopback(str(identity[1])):
        what = "the access token" if draft.client.uses_oauth else "the password"
        yield draft.fault(
            "security",
            f"{what} and all mail cross the network in clear",
            valid="ssl-tls, start-tls",
            severity=Severity.WARNING,
        )


def _forgotten_mechanism(draft: Draft, context: Context) -> Iterator[Fault]:
    if draft.client.mechanisms or "mechanisms" in draft.wrong or draft.lacks("tenant_authority"):
        return
    if context.authority(draft) == GOOGLE and not draft.lacks("client_id") and not draft.lacks("secret"):
        mechanisms = f"mail.{draft.client.type.value.lower()}.auth.mechanisms"
        yield draft.fault(
            "mechanisms",
            "a Google authority, a client-id and a secret are written, but no mechanism: password is used as it stands",
            valid="XOAUTH2, where password is a refresh token",
            remedy=f"Add the line: {mechanisms} = XOAUTH2",
            severity=Severity.WARNING,
        )


_RULES: tuple[Rule, ...] = (_password, _server, _move_target, _read_twice, _in_clear, _forgotten_mechanism)


# --- clients with OAuth ---------------------------------------------------------------------------------------------


def _client_id(draft: Draft, _: Context) -> Iterator[Fault]:
    if draft.lacks("client_id"):
        yield draft.fault(
            "client_id",
            "the option is required with OAuth and is not written",
            valid="the client ID under which the application is registered",
        )


def _authority(draft: Draft, context: Context) -> Iterator[Fault]:
    if context.authority(draft) is None and "tenant_authority" not in draft.wrong:
        names = [name for name, _ in context.authorities.values()]
        sections = f"an authority-<name> section ({', '.join(names)})" if names else "an authority-<name> section"
        yield draft.fault(
            "tenant_authority",
            "no authority of this name is known",
            valid=f"{MICROSOFT_URL}, a string that contains google, or the name of {sections}",
        )


def _grant_type(draft: Draft, context: Context) -> Iterator[Fault]:
    if draft.lacks("grant_type") and "tenant_authority" not in draft.wrong and context.authority(draft) == MICROSOFT:
        yield draft.fault(
            "grant_type",
            "nothing is written, and the family's default at a Microsoft authority is the password grant, which this "
            "version does not carry out",
            valid="refresh_token",
            remedy="Add the line: grant-type = refresh_token, with a refresh token as password.",
        )


def _secret(draft: Draft, context: Context) -> Iterator[Fault]:
    if draft.lacks("secret"):
        if context.authority(draft) == GOOGLE:
            yield draft.fault(
                "secret",
                "the option is required with Google's OAuth and is not written",
                valid="the name of a secret-<secretName> section with the application's client_secret",
            )
        return
    name = draft.client.secret
    if name is None or "secret" in draft.wrong:
        return
    if name.lower() not in context.secrets:
        yield _no_such_secret(draft, name, context)
        return
    _, section = context.secrets[name.lower()]
    if not ("password" in section.entries and section.entries["password"].value):
        yield draft.fault(
            "secret",
            f"[{section.name}] (line {section.line}) has no password",
            valid="the name of a secret-<secretName> section with a password",
            remedy=f"Write the application's client_secret as password in [{section.name}].",
        )


def _no_such_secret(draft: Draft, name: str, context: Context) -> Fault:
    names = [known for known, _ in context.secrets.values()]
    misspelt = bool(difflib.get_close_matches(name.lower(), context.secrets, 1, 0.5))
    return draft.fault(
        "secret",
        "there is no section secret-<secretName> of this name",
        valid=", ".join(names) if names else "the name of a secret-<secretName> section",
        remedy="" if misspelt else "The client_secret itself belongs into such a section, as its password.",
        mask=not misspelt and (len(name) >= 24 or name.startswith("GOCSPX-")),  # a client_secret in the wrong place
    )


def _other_home(draft: Draft, context: Context) -> Iterator[Fault]:
    home = context.providers.authority_of_mailbox(draft.client.mailbox)
    authority = context.authority(draft)
    if home is not None and authority in (GOOGLE, MICROSOFT) and authority != home:
        yield draft.fault(
            "tenant_authority",
            f"the mailbox has an address of {home.capitalize()}, but its tokens come from {authority.capitalize()}",
            valid=f"an authority of {home.capitalize()}",
            severity=Severity.WARNING,
        )


def _mixed_mechanisms(draft: Draft, _: Context) -> Iterator[Fault]:
    others = [mechanism for mechanism in draft.client.mechanisms if mechanism not in OAUTH_MECHANISMS]
    if others:
        yield draft.fault(
            "mechanisms",
            f"{' and '.join(others)} cannot be used beside OAuth, because password is the refresh token then",
            valid="XOAUTH2 and OAUTHBEARER, or PLAIN and LOGIN",
            severity=Severity.WARNING,
        )


_OAUTH_RULES: tuple[Rule, ...] = (_client_id, _authority, _grant_type, _secret, _other_home, _mixed_mechanisms)
