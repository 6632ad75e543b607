"""File copies of what was sent, where the server does not do so itself: claim, look, file, record.

A copy that cannot be filed never touches the mail. It is looked for before it is filed, each time: a process may have ended
between the server's answer and our record, and a server of which nobody knows it may have filed one itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from postroom import events
from postroom.drivers import Account, Kit, SentFolder, open_sent
from postroom.engine.pause import pause
from postroom.engine.retry import submission_again
from postroom.engine.sent import MailboxFor, OpenSent, folder_of, wants_copy
from postroom.errors import ConfigError, Fate, ImapStatus, PostroomError, StoreError, words_of
from postroom.events import Observer
from postroom.model import WorkKind, WorkState
from postroom.outbound import Filing
from postroom.store import Store

_CLAIM = 50  # copies claimed at once for one account, and filed over one conversation
_AT_ONCE = 8  # accounts
_IDLE = 10.0  # seconds after which to look without being told
_GIVE_UP = 86_400.0  # seconds after which it is not
_ASTRAY = 3600.0  # seconds that the clocks of server and machine may differ


@dataclass
class Filer:
    """Files the copies of all accounts. ``account`` answers a section's account as it runs now."""

    store: Store
    kit: Kit
    observer: Observer
    account: Callable[[str], Account | None]
    mailbox_for: MailboxFor
    open: OpenSent = open_sent
    _told: asyncio.Event = field(default_factory=asyncio.Event)
    _ending: bool = False

    def wants(self, account: Account) -> bool:
        """Whether copies of what the account sends are to be filed; tells of a folder that is named and cannot be reached."""
        mailbox, folder = self.mailbox_for(account), folder_of(account)
        if mailbox is None and folder is not None:
            remark = "no copies are filed (copy-in-sent): no pop-client reads this account by IMAP"
            self.observer.event(events.REMARK, client=account.client.section, folder=folder, remark=remark)
        return wants_copy(account, mailbox, self.kit.providers)

    def tell(self) -> None:
        """There may be something to file."""
        self._told.set()

    def end(self) -> None:
        """Let ``run`` return once all that is due is done."""
        self._ending = True
        self._told.set()

    async def run(self) -> None:
        """File until told to end."""
        while True:
            ending = self._ending
            self._told.clear()
            seconds = _IDLE
            try:
                await self.drain()
                due = [at for lane in await self._lanes() if (at := await self.store.next_due(WorkKind.FILE, lane)) is not None]
                seconds = min([_IDLE, *(max(at - self.kit.clock.now(), 1.0) for at in due)])
            except StoreError as error:
                self.observer.event(events.STORE_TROUBLE, client="", error=str(error), remedy=error.remedy, seconds=seconds)
            if ending:
                return
            await pause(self.kit.clock, seconds, self._told)

    async def drain(self) -> None:
        """File all that is due, of several accounts at once. Raises ``StoreError``."""
        gate = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(self._lane(lane, gate) for lane in await self._lanes()))

    async def _lanes(self) -> list[str]:
        """Sections with open work that are configured; what others left waits until they are again."""
        return [lane for lane in await self.store.outbox.filings.lanes() if self.account(lane) is not None]

    async def _lane(self, lane: str, gate: asyncio.Semaphore) -> None:
        async with gate:
            # Nothing of this lane is under way here: what is claimed was left, by an ended process or when the store failed.
            await self.store.reclaim(WorkKind.FILE, lane, own=True)
            while filings := await self.store.outbox.filings.take(lane, _CLAIM):
                if not await self._file(lane, filings):
                    return

    async def _file(self, lane: str, filings: list[Filing]) -> bool:
        """File what was claimed; False when the mailbox cannot be had."""
        account = self.account(lane)
        left = list(filings)
        met = False
        try:
            opened = self._opened(account) if account is not None else None
            if opened is None:  # no copies are wanted any more
                for filing in left:
                    await self.store.outbox.filings.end(filing, WorkState.DONE)
                return True
            async with opened as sent:
                met = True
                while left:
                    await self._one(lane, sent, left[0])
                    del left[0]
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a mailbox does to us, the other accounts go on
            blamed, others = (left[:1], left[1:]) if met else (left, [])  # one message may be what breaks the conversation
            for filing in blamed:
                await self._failed(lane, filing, error)
            await self.store.outbox.release([filing.work for filing in others])
        return met

    def _opened(self, account: Account) -> AbstractAsyncContextManager[SentFolder] | None:
        mailbox = self.mailbox_for(account)
        if mailbox is None:
            raise ConfigError(f"[{account.client.section}] no pop-client reads this account by IMAP", option="copy-in-sent")
        if not wants_copy(account, mailbox, self.kit.providers):
            return None
        return self.open(mailbox, self.kit, folder_of(account))

    async def _one(self, lane: str, sent: SentFolder, filing: Filing) -> None:
        """File one, unless it is there. What the server refuses concerns this one alone."""
        if not filing.message_id and filing.work.attempts > 1:
            await self._give_up(lane, filing, "it has no Message-ID by which a copy of an earlier attempt could be found")
            return
        try:
            [content] = await asyncio.to_thread(self.store.outbox.contents, [filing.reference])
            if not filing.message_id or not await sent.has(filing.message_id, filing.sent_at - _ASTRAY):
                await sent.file(content, filing.sent_at)
        except ImapStatus as refused:
            await self._failed(lane, filing, refused)
        except StoreError as error:  # its octets cannot be read, perhaps in the middle of their being sent
            raise PostroomError(str(error)) from error
        else:
            await self.store.outbox.filings.end(filing, WorkState.DONE)
            self.observer.event(events.FILED, client=lane, folder=sent.folder, id=filing.public_id)

    async def _failed(self, lane: str, filing: Filing, error: Exception) -> None:
        now = self.kit.clock.now()
        first = filing.work.first_failed_at if filing.work.first_failed_at is not None else now
        words = words_of(error)
        if _never(error) or now - first >= _GIVE_UP:
            await self._give_up(lane, filing, words)
            return
        again = now + self.kit.clock.jitter(submission_again(filing.work.attempts))
        await self.store.outbox.filings.end(filing, WorkState.READY, not_before=again, first_failed_at=first, fault=words[:1000])
        self.observer.event(events.WORK_FAILED, kind=WorkKind.FILE.value, subject=filing.work.subject, error=words)

    async def _give_up(self, lane: str, filing: Filing, words: str) -> None:
        await self.store.outbox.filings.end(filing, WorkState.DEAD, fault=words[:1000])
        self.observer.event(events.NOT_FILED, client=lane, id=filing.public_id, error=words)


def _never(error: Exception) -> bool:
    """Whether no later attempt can be better. TOOBIG: RFC 7889 section 4."""
    gives_up = isinstance(error, PostroomError) and error.fate is Fate.GIVE_UP
    return gives_up or (isinstance(error, ImapStatus) and error.code == "TOOBIG")
