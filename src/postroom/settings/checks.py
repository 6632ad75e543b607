"""What one section cannot see alone: a client with what it names, with its provider, and with the other clients.

Here stand the rules of pop-clients, and those of both sorts; ``checks_smtp`` and ``checks_oauth`` have the others.

Each rule is a generator over one client's draft; it says nothing of a field whose value is wrong, because that is told
already. A rule's fault keeps its own client down, never another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TypeVar

from postroom.model import Disposition
from postroom.settings.checks_oauth import OAUTH_RULES
from postroom.settings.checks_smtp import SMTP_RULES
from postroom.settings.context import GOOGLE, Context, PopRule, Rule, logs_in_by_token
from postroom.settings.faults import Fault, Severity
from postroom.settings.pop_client import PopClient
from postroom.settings.reading import Draft
from postroom.settings.smtp_client import Client, SmtpClient
from postroom.settings.values import SECRET_FORMS, is_loopback
from postroom.settings.words import FirstRead, GrantType, MailboxType, Security

GMAIL = "pop.gmail.com"  # where it is opened with a password


AnyClient = TypeVar("AnyClient", PopClient, SmtpClient)


def check(context: Context) -> Iterator[Fault]:
    """Judge all clients by all rules."""
    for draft in context.everyone:
        for rule in (*_RULES, *(OAUTH_RULES if context.means_oauth(draft) else ())):
            yield from rule(draft, context)
    for mailbox in context.drafts:
        for pop_rule in _POP_RULES:
            yield from pop_rule(mailbox, context)
    for account in context.senders:
        for smtp_rule in SMTP_RULES:
            yield from smtp_rule(account, context)


def needs(draft: Draft[Client], context: Context) -> frozenset[str]:
    """The other sections that a client cannot be without: where they are faulty, so is it."""
    needed = set(draft.blocked_by)
    if logs_in_by_token(draft.client):
        if (draft.client.secret or "").lower() in context.secrets:
            needed.add(context.secrets[(draft.client.secret or "").lower()][1].name)
        authority = context.authority(draft)
        if authority is not None and authority.lower() in context.authorities:
            needed.add(context.authorities[authority.lower()][1].name)
    return frozenset(needed)


def resolved(draft: Draft[AnyClient], context: Context) -> AnyClient:
    """The client, naming its secret exactly as that secret's section does."""
    named = context.secrets.get((draft.client.secret or "").lower())
    return dataclasses.replace(draft.client, secret=named[0]) if named else draft.client


# --- every client ---------------------------------------------------------------------------------------------------


def _password(draft: Draft[Client], _: Context) -> Iterator[Fault]:
    """A refresh token need not be written: ``postroom authorize`` puts it into the vault."""
    client = draft.client
    needed = client.grant_type is GrantType.PASSWORD if client.uses_oauth else True
    if isinstance(client, SmtpClient) and not client.authenticates:
        return
    if needed and draft.lacks("password") and "grant_type" not in draft.wrong:
        what = f"the {draft.noun}'s password"
        problem = f"{what} is required here and is not written"
        yield draft.fault("password", problem, valid=f"{what}, as {SECRET_FORMS}")


def _server(draft: Draft[Client], context: Context) -> Iterator[Fault]:
    client = draft.client
    nameless = isinstance(client, PopClient) and not client.mailbox
    if nameless or not draft.lacks("server") or "tenant_authority" in draft.wrong:
        return
    if client.uses_oauth and context.authority(draft) is None:
        return  # which is told already, and is the cause
    if isinstance(client, SmtpClient) and not client.authenticates and context.forgets_mechanism(draft):
        return  # likewise: with the mechanism the authority tells the server
    if context.server(draft) is None:
        yield draft.fault(
            "server",
            f"the option is required here and is not written, because the provider of this {draft.noun} is not known",
            valid=f"the name or address of the {draft.noun}'s host",
        )


def _in_clear(draft: Draft[Client], context: Context) -> Iterator[Fault]:
    client, server = draft.client, context.server(draft)
    if isinstance(client, PopClient) and (not client.mailbox or draft.lacks("type") or "type" in draft.wrong):
        return  # which is told already
    if client.security is not Security.NONE or server is None or "server" in draft.wrong or is_loopback(server):
        return
    if isinstance(client, PopClient) or client.authenticates:
        what = "the access token" if client.uses_oauth else "the password"
        yield draft.fault(
            "security",
            f"{what} and all mail cross the network in clear",
            valid="ssl-tls, start-tls",
            severity=Severity.WARNING,
        )


def _forgotten_mechanism(draft: Draft[Client], context: Context) -> Iterator[Fault]:
    """What the seed's own list of steps leaves out. An account that does not log in for it cannot be meant so."""
    if not context.forgets_mechanism(draft):
        return
    client = draft.client
    secret = "" if draft.lacks("secret") else ", a client-id and a secret are written"
    written = f"a Google authority{secret or ' and a client-id are written'}, but no mechanism"
    remedy = f"Add the line: mail.{client.type.value.lower()}.auth.mechanisms = XOAUTH2"
    if isinstance(client, PopClient) or client.authenticates:
        problem, severity = f"{written}: password is used as it stands", Severity.WARNING
    else:
        problem, severity = f"{written}: nobody would log in", Severity.FAULT
        remedy += "; enable-authentication may be left out then, or be true"
        if client.enable_authentication is False:
            severity = Severity.WARNING
    yield draft.fault("mechanisms", problem, valid="XOAUTH2, where password is a refresh token", remedy=remedy, severity=severity)


_RULES: tuple[Rule, ...] = (_password, _server, _in_clear, _forgotten_mechanism)


# --- pop-clients ----------------------------------------------------------------------------------------------------


def _move_target(draft: Draft[PopClient], context: Context) -> Iterator[Fault]:
    target = draft.client.processed_folder_path
    if draft.client.after_capture is not Disposition.MOVE or {"processed_folder_path", "after_capture"} & draft.wrong:
        return
    if target is not None:
        yield from _not_read(draft, context, "processed_folder_path", target)
    elif draft.client.type is not MailboxType.POP3:
        yield draft.fault(
            "processed_folder_path",
            "after-capture = move needs a folder to move to, and none is written",
            valid="a folder that is not read itself",
        )


def _failed_items(draft: Draft[PopClient], context: Context) -> Iterator[Fault]:
    target = draft.client.failed_items_folder_path
    if target is not None:
        yield from _not_read(draft, context, "failed_items_folder_path", target)


def _not_read(draft: Draft[PopClient], context: Context, name: str, target: str) -> Iterator[Fault]:
    """A folder that messages are moved to must not be one that is read."""
    mine = context.identity(draft)
    for other in context.drafts:
        same = other is draft or (mine is not None and context.identity(other) == mine and other.client.enable_client)
        if same and "folder_path" not in other.wrong and target in other.client.folder_path:
            yield draft.fault(
                name,
                f"[{other.client.section}] reads this folder, so what is moved there would be read again",
                valid="a folder that is not read itself",
            )
            return


def _read_twice(draft: Draft[PopClient], context: Context) -> Iterator[Fault]:
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


def _pop3(draft: Draft[PopClient], context: Context) -> Iterator[Fault]:
    """A maildrop (RFC 1939) has no folders and no flags."""
    client = draft.client
    if client.type is not MailboxType.POP3 or "type" in draft.wrong:
        return
    if client.folder_path != ("INBOX",) and "folder_path" not in draft.wrong:
        yield draft.fault(
            "folder_path",
            "POP3 reads the mailbox's one maildrop and no folders",
            valid="INBOX, or the line left out",
            remedy="Use type = IMAP where other folders are to be read.",
        )
    if client.after_capture in (Disposition.SEEN, Disposition.MOVE) and "after_capture" not in draft.wrong:
        yield draft.fault("after_capture", "POP3 can neither mark nor move a message", valid="keep, delete")
    gmail = context.authority(draft) == GOOGLE if client.uses_oauth else context.server(draft) == GMAIL
    if gmail and client.first_read is not FirstRead.ALL and not client.wants_recent and "first_read" not in draft.wrong:
        yield draft.fault(
            "first_read",
            "Gmail shows 250 messages that were not retrieved: what is left alone would hide all new mail",
            valid="all",
            remedy=f"Write mailbox = recent:{client.mailbox}, which shows the last 30 days whatever was retrieved.",
        )
    for name in ("processed_folder_path", "failed_items_folder_path"):
        if not draft.lacks(name):
            yield draft.fault(name, "without effect: POP3 has no folders", severity=Severity.WARNING)


_POP_RULES: tuple[PopRule, ...] = (_move_target, _failed_items, _read_twice, _pop3)
