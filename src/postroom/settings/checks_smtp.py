"""Rules for smtp-clients: whether and as whom they log in, whom they send for, and what signs.

Each keeps to what ``checks`` says of rules.
"""

from __future__ import annotations

from collections.abc import Iterator

from postroom.settings.context import Context, SmtpRule
from postroom.settings.faults import Fault, Severity
from postroom.settings.reading import Draft
from postroom.settings.smtp_client import SmtpClient

_DKIM = ("dkim_domain", "dkim_selector", "dkim_key")


def _user(draft: Draft[SmtpClient], context: Context) -> Iterator[Fault]:
    if (draft.client.authenticates or context.means_oauth(draft)) and draft.lacks("user"):
        yield draft.fault("user", "the option is required for a login and is not written", valid="the login name")


def _authentication(draft: Draft[SmtpClient], _: Context) -> Iterator[Fault]:
    """What follows where ``enable-authentication`` is not written, or goes against what else is."""
    client = draft.client
    if "enable_authentication" in draft.wrong or "mechanisms" in draft.wrong:
        return
    if client.enable_authentication is False and client.uses_oauth:
        yield draft.fault(
            "enable_authentication",
            "nobody logs in, although OAuth is switched on",
            valid="true, or the line left out",
            severity=Severity.WARNING,
        )
    elif client.enable_authentication is None and client.uses_oauth:
        problem = "since OAuth is on, enable-authentication counts as true; it is not written"
        yield draft.fault("mechanisms", problem, severity=Severity.WARNING)
    elif client.enable_authentication is None and draft.lacks("client_id") and not draft.lacks("password"):
        yield draft.fault(
            "password",
            "without effect: nobody logs in, since enable-authentication is not written",
            remedy="Add the line: enable-authentication = true",
            severity=Severity.WARNING,
        )


def _sends_for(draft: Draft[SmtpClient], context: Context) -> Iterator[Fault]:
    """A From address has one account."""
    if "addresses" in draft.wrong:
        return
    mine = draft.client.addresses
    for other in context.senders[: context.senders.index(draft)]:
        if "addresses" in other.wrong:
            continue
        where = f"[{other.client.section}] (line {other.line})"
        if not mine and not other.client.addresses:
            problem = f"{where} is the default account already: it has no addresses either"
            yield draft.fault("addresses", problem, valid="the addresses and domains that this account sends for")
            return
        both = [address for address in mine if address in other.client.addresses]
        if both:
            problem = f"{where} sends for {', '.join(both)} already"
            yield draft.fault("addresses", problem, valid="addresses and domains that no other section has")
            return


def _dkim(draft: Draft[SmtpClient], _: Context) -> Iterator[Fault]:
    lacking = [name for name in _DKIM if draft.lacks(name)]
    if lacking and len(lacking) < len(_DKIM):
        yield draft.fault(
            lacking[0],
            "the option is required beside the others of DKIM and is not written",
            valid="dkim-domain, dkim-selector and dkim-key together, or none of them",
        )


SMTP_RULES: tuple[SmtpRule, ...] = (_user, _authentication, _sends_for, _dkim)
