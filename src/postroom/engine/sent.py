"""What a copy in Sent tells of a message whose acceptance is not known, and where one is to be filed.

A copy proves something only of the attempt that it comes from: one that is older, or that another recipient's transaction
left there, or the same message handed in twice, says nothing. Its absence is never proof.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from postroom.drivers import Account, Kit, Mailbox, SentFolder, open_sent
from postroom.drivers.provider import Providers
from postroom.engine.attempt import Sighting
from postroom.errors import Fate, PostroomError
from postroom.outbound import Outgoing
from postroom.settings import AuthoritySection, Client, MailboxType

NO = "no"
"""The value of copy-in-sent that wants none."""

_ASTRAY = 300.0  # seconds that the clocks of server and machine may differ, or that a server's clock is behind the network
# A host named by what it does is one of its domain; any other first label may be a customer's own.
_SERVICES = frozenset(
    {"imap", "imap4", "imaps", "incoming", "mail", "mx", "out", "outgoing", "pop", "pop3", "smtp", "smtps", "submission"}
)

MailboxFor = Callable[[Account], Mailbox | None]
"""The mailbox of the very account that sends; None where none is configured."""

OpenSent = Callable[[Mailbox, Kit, str | None], AbstractAsyncContextManager[SentFolder] | None]
"""``drivers.open_sent``, or a stand-in."""


# --- whose mailbox? ---------------------------------------------------------------------------------------------------


def same_account(account: Account, mailboxes: Iterable[Mailbox], providers: Providers) -> Mailbox | None:
    """The IMAP mailbox of the account that sends: the same login, at the same provider or at hosts of one domain.

    Never another person's: a login that is no whole address counts only with the domain of its host.
    """
    wanted = _login(account, providers)
    if wanted is None:
        return None
    for mailbox in mailboxes:
        if mailbox.client.type is not MailboxType.IMAP or _login(mailbox, providers) != wanted:
            continue
        provider = providers.provider_of(account.client, account.authorities)
        same_provider = provider is not None and provider == providers.provider_of(mailbox.client, mailbox.authorities)
        if same_provider or _domain_of(account, providers) == _domain_of(mailbox, providers):
            return mailbox
    return None


def _login(at: Account | Mailbox, providers: Providers) -> str | None:
    """Who logs in, as an address."""
    name = at.client.account.casefold()
    if not name:
        return None
    return name if "@" in name else f"{name}@{_domain_of(at, providers)}"


def _domain_of(at: Account | Mailbox, providers: Providers) -> str:
    host = (providers.server_of(at.client, at.authorities) or "").lower().removesuffix(".")
    first, _, rest = host.partition(".")
    return rest if first in _SERVICES and "." in rest else host


def files_itself(client: Client, authorities: Mapping[str, AuthoritySection], providers: Providers) -> bool:
    """Whether the server is known to file a copy in Sent of what it is handed."""
    provider = providers.provider_of(client, authorities)
    if provider is None or client.type.value not in provider.files_sent:
        return False
    server = providers.server_of(client, authorities)  # a company's own relay files nothing, whoever the sender is
    return any(cloud.has(server) for cloud in provider.clouds)


def wants_copy(account: Account, mailbox: Mailbox | None, providers: Providers) -> bool:
    """Whether a copy of what the account sends is to be filed, by ``copy-in-sent``, and can be."""
    chosen = account.client.copy_in_sent
    if mailbox is None or mailbox.shadow or (chosen is not None and chosen.lower() == NO):
        return False
    return chosen is not None or not files_itself(account.client, account.authorities, providers)


def folder_of(account: Account) -> str | None:
    """The folder that ``copy-in-sent`` names; None: the one that the server names as Sent."""
    chosen = account.client.copy_in_sent
    return None if chosen is None or chosen.lower() == NO else chosen


# --- looking ----------------------------------------------------------------------------------------------------------


@dataclass
class Evidence:
    """Looks for copies of messages in doubt, in the mailbox of the account that sent them; in each one at a time."""

    mailbox_for: MailboxFor
    kit: Kit
    open: OpenSent = open_sent
    _turns: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def look(self, account: Account, outgoing: Outgoing) -> Sighting:
        """What Sent tells of a submission's doubts. Raises no ``PostroomError``: what hinders a look is told."""
        if not outgoing.message_id:
            return Sighting(None, "it has no Message-ID to look for")
        if outgoing.ambiguous or len({doubt.marked for doubt in outgoing.doubts}) > 1:
            return Sighting(None, "a copy in Sent would not tell for which recipients it was sent")
        mailbox = self.mailbox_for(account)
        if mailbox is None:
            return Sighting(None, "nowhere to look for a copy: no pop-client reads this account by IMAP")
        section = mailbox.client.section
        try:
            async with self._turns.setdefault(section, asyncio.Lock()):
                return await self._look(account, mailbox, outgoing)
        except PostroomError as error:
            if error.fate is not Fate.RETRY and getattr(error, "certain", True):
                return Sighting(None, f"no look into Sent by [{section}]: {error}")
            return Sighting(False, f"no look into Sent by [{section}] yet: {error}", passing=True)

    async def _look(self, account: Account, mailbox: Mailbox, outgoing: Outgoing) -> Sighting:
        opened = self.open(mailbox, self.kit, None)  # where the server files; our own copies come too late to tell
        if opened is None:
            return Sighting(None, "nowhere to look for a copy: POP3 has no folders")
        async with opened as sent:
            there = await sent.has(outgoing.message_id, outgoing.doubts[0].marked - _ASTRAY)
            if there:
                return Sighting(True, f"a copy is in {sent.folder}")
        known = files_itself(account.client, account.authorities, self.kit.providers)
        unknown = "" if known else ", where this server is not known to file one"
        return Sighting(False, f"no copy is in {sent.folder}{unknown}")
