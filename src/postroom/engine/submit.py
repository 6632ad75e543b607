"""Send what waits for one account: claim, hand to the server, record what became of each recipient.

What concerns the account (its login, its token, TLS, a quota, the network) parks the account: nothing is sent for a while,
and the mail waits unharmed. What concerns a message or a recipient changes that alone. Settings are taken when the account
starts or restarts, between two messages; only whether it logs in is asked before each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from postroom import events
from postroom.clock import Clock
from postroom.drivers import Account
from postroom.drivers.limits import DEFAULT, Limits
from postroom.engine import attempt
from postroom.engine.connection import Connection, Open
from postroom.engine.guard import unforeseen
from postroom.engine.pause import pause
from postroom.engine.standing import Standing
from postroom.engine.supply import Look, Supply
from postroom.errors import LeaseLost, NetworkError, PostroomError, ProtocolError, Reply, StoreError, Throttled, words_of
from postroom.events import Observer
from postroom.model import Health
from postroom.outbound import Content, DeliveryStatus, Outgoing
from postroom.store import Store

_CLAIM = 20  # submissions claimed at once for each conversation
_IDLE = 30.0  # seconds after which to look without being told
_GRACE = 15.0  # seconds that a message under way has when everything ends
_BREAKS = 3  # conversations in a row that messages broke, after which it is the account that is at fault
_REGAINS = 600.0  # seconds after which one conversation more is tried where the server had refused it


@dataclass(frozen=True)
class Sending:
    """What all senders of a process work with."""

    store: Store
    clock: Clock
    observer: Observer
    open: Open
    look: Look
    limits: Callable[[Account], Limits] = lambda _: DEFAULT
    wants_copy: Callable[[Account], bool] = lambda _: False  # in Sent, of what it sends


class Sender:
    """Sends for one smtp-client section. ``current`` answers its account as it is to run now; None: it sends nothing."""

    def __init__(self, section: str, current: Callable[[], Account | None], around: Sending) -> None:
        self.section = section
        self._current = current
        self._around = around
        self._store, self._clock, self._observer = around.store, around.clock, around.observer
        self.standing = Standing(section, around.store, around.clock, around.observer)
        self._account: Account | None = None
        self._news = asyncio.Event()
        self._over = asyncio.Event()  # whether the round is over: its conversations take no other message
        self._supply = Supply(section, around.store, around.clock, around.observer, around.look, self._news)
        self._queue = self._supply.queue
        self._restart = self._ending = self._draining = self.paused = False
        self._idle: list[tuple[Connection, asyncio.Future[None]]] = []
        self._busy = 0
        self._breaks = 0
        self._most = 1  # conversations at once, as options, provider and the server's own refusals allow
        self._refused_at = 0.0
        self._slot = 0.0  # when the next message may go, where a rate is kept
        self._interval = 0.0
        self._low = 0  # with so many at hand, more are claimed: claiming takes as long as it takes to send them
        self._proof_due = False  # the way to the server is to be proved, mail or not

    # --- what others tell

    def tell(self) -> None:
        """There may be mail."""
        self._news.set()

    def poke(self) -> None:
        """Settings, consents or the clock's owner changed something: see what acts at once, and try again."""
        if self._account is not None:
            self._account = self._current()
            self._restart = self._restart or self._account is None
        self.standing.unpark()
        self._news.set()

    def restart(self) -> None:
        """Begin anew with the present settings, between two messages."""
        self._restart = True
        self.standing.unpark()
        self._news.set()

    def pause(self, *, on: bool) -> None:
        """Send nothing until told otherwise; what is under way is finished."""
        self.paused = on
        self._news.set()

    def end(self) -> None:
        """Let ``run`` return once what is under way is finished."""
        self._ending = True
        self._news.set()

    # --- for ever

    async def run(self) -> None:
        """Send until told to end."""
        await self._supply.reclaim()
        while not self._ending:
            self._news.clear()
            self._account = self._current()
            if self._account is None:
                await pause(self._clock, _IDLE, self._news)
                continue
            self._restart = False
            await self._round(self._account)

    async def drain(self) -> None:
        """Send all that is due, then return; also when the account is parked."""
        self._draining = True
        self._account = self._current()
        if self._account is None:
            return
        await self._supply.reclaim()
        await self._round(self._account)

    async def _round(self, account: Account) -> None:
        """Send with one state of the settings."""
        self._over.clear()
        limits = self._around.limits(account)
        self._supply.copies = self._around.wants_copy(account)
        self._most = min(account.client.pool_size, limits.connections or account.client.pool_size)
        rate = account.client.messages_per_minute or limits.messages_a_minute
        self._interval = 60.0 / rate if rate else 0.0
        self._low = _CLAIM * account.client.pool_size // 2
        self._proof_due = not self._draining
        connections = [Connection(self._around.open, self._clock) for _ in range(account.client.pool_size)]
        tasks = [
            asyncio.create_task(self._talk(connection), name=f"{self.section} {at}") for at, connection in enumerate(connections)
        ]
        try:
            await self._feed(account)
        finally:
            self._restart = True  # whoever finishes a message now takes no other
            self._over.set()
            self._wake(all_=True)
            await self._finish(tasks)
            await self._supply.end()
            if not self._ending and not self._draining:
                self._observer.event(events.SENDER_RESTARTED, client=self.section)

    async def _finish(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Wait for what is under way: as long as it takes where the account goes on afterwards, else not for ever."""
        finished = asyncio.gather(*tasks, return_exceptions=True)
        while not (self._ending or finished.done()):
            self._news.clear()
            news = asyncio.create_task(self._news.wait())
            await asyncio.wait((finished, news), return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
        _, late = await asyncio.wait(tasks, timeout=_GRACE)
        for task in late:
            task.cancel()
        await finished

    # --- claiming

    async def _feed(self, account: Account) -> None:
        """Keep the conversations supplied, until the round is over."""
        while not (self._restart or self._ending):
            self._news.clear()
            try:
                seconds = await self._claim(account)
            except StoreError as error:
                seconds = await self.standing.failed(error)
            if seconds is None:
                return
            await self._close_idle(account.client.max_idle_time)
            await pause(self._clock, min(seconds, self._next_idle(account.client.max_idle_time)), self._news)

    async def _claim(self, account: Account) -> float | None:
        """Claim what is due; return after how many seconds to look again. None: all is done, and nobody waits for more."""
        if self.paused or self.standing.parked_for:
            await self._supply.release()
            if self.paused and self.standing.condition.health is not Health.PAUSED:
                await self.standing.report(Health.PAUSED, fault="paused by a person", remedy="postroom resume goes on.")
            return None if self._draining else self.standing.parked_for or _IDLE
        if self.standing.condition.health is Health.PAUSED and not self.standing.trying:
            await self.standing.report(Health.STARTING)
        if not self._draining and self.standing.proof_due:
            self._proof_due = True
        limit = 2 * self._low
        while len(self._queue) <= self._low:
            more = await self._supply.claim(account, limit)
            self._wake()
            if not more:
                break
        if self._queue:
            return _IDLE
        if self._proof_due:
            self._wake(all_=True)
        resting = not (self._busy or self._supply.looking)
        due = await self._supply.next_due(written=self._draining and resting)
        soon = due is not None and due <= self._clock.now()
        if self._draining and resting and not soon:
            return None
        return 0.0 if soon else _IDLE if due is None else min(_IDLE, due - self._clock.now())

    # --- conversations

    async def _talk(self, connection: Connection) -> None:
        """Send one message after the other over one conversation, until the round is over."""
        try:
            while await self._turn(connection):
                self._busy += 1
                try:
                    if self._queue:
                        outgoing, content = self._queue.popleft()
                        if len(self._queue) == self._low:
                            self._news.set()  # more may be claimed meanwhile
                        await self._send(connection, outgoing, content)
                    else:
                        await self._prove(connection)
                finally:
                    self._busy -= 1
                    if not self._queue:
                        self._news.set()
        finally:
            with suppress(PostroomError):
                await connection.close()

    async def _turn(self, connection: Connection) -> bool:
        """Wait until this conversation may send what is first in the queue; False when the round is over."""
        while not (self._restart or self._ending):
            allowed = 1 if self.standing.trying else self._most
            may = self._busy < allowed and not self.paused and not self.standing.parked_for
            if may and (self._queue or self._proof_due):
                if not self._interval or not self._queue:
                    return True
                now = self._clock.monotonic()
                if self._slot <= now:
                    self._slot = now + self._interval  # no credit for a time without mail, nor for lateness
                    return True
                await self._until_slot(self._slot - now)
                continue
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append((connection, waiting))
            await waiting
        return False

    async def _until_slot(self, seconds: float) -> None:
        self._busy += 1  # it has the turn, so that no other waits for the same slot
        try:
            await pause(self._clock, seconds, self._over)
        finally:
            self._busy -= 1

    def _wake(self, *, all_: bool = False) -> None:
        """Set idle conversations to work: the one that was used last comes first, so that few are opened for little mail."""
        count = len(self._idle) if all_ else min(len(self._queue), len(self._idle))
        for _ in range(count):
            _, waiting = self._idle.pop()
            if not waiting.done():
                waiting.set_result(None)

    async def _close_idle(self, seconds: float) -> None:
        now = self._clock.monotonic()
        for connection, _ in list(self._idle):
            since = connection.idle_since()
            retires = self._account is not None and not connection.serves(self._account)
            if since is not None and (retires or now - since >= seconds):
                with suppress(PostroomError):
                    await connection.close()

    def _next_idle(self, seconds: float) -> float:
        """When the next conversation will have been idle for so long."""
        since = [since for connection, _ in self._idle if (since := connection.idle_since()) is not None]
        return max(0.1, min(since) + seconds - self._clock.monotonic()) if since else _IDLE

    # --- sending

    async def _prove(self, connection: Connection) -> None:
        """Log in without mail, so that a fault is seen before there is some, and its end as well."""
        self._proof_due = False
        if self._account is None:
            return
        try:
            await (await connection.ready(self._account)).check()
        except PostroomError as error:
            grown_old = connection.proved and isinstance(error, NetworkError | ProtocolError | Reply)
            await connection.close()
            if grown_old:
                self._proof_due = True  # over a new one
            else:
                await self._park(error)
        else:
            connection.used()
            await self._proved()

    async def _send(self, connection: Connection, outgoing: Outgoing, content: Content) -> None:
        """Send one submission, and write down what became of it."""
        account = self._account
        begun, marking = False, self._supply.marking(outgoing)
        try:
            if account is None:
                raise LeaseLost("the account was taken away")
            submitter = await connection.ready(account)
            begun = True
            statuses = await submitter.submit(outgoing.envelope, content, marking.commit)
        except LeaseLost:  # cancelled, or another's: nothing left this machine
            await connection.close()
        except StoreError as error:
            await connection.close()
            await self._supply.give_back(outgoing)
            await self._park(error)
        except PostroomError as error:
            if marking.marked:  # which a submitter answers with a doubt of its own
                await connection.close()
                self._supply.passed(outgoing, attempt.unknown(outgoing, str(error), self._clock.now()))
            else:
                await self._stopped(connection, outgoing, content, error, begun=begun)
        except Exception as error:  # noqa: BLE001 - whatever a message does to us, the others go on
            await connection.close()
            self._unforeseen(outgoing, error)
        else:
            connection.used()
            connection.proved = True
            await self._answered(connection, outgoing, statuses)

    async def _answered(self, connection: Connection, outgoing: Outgoing, statuses: Sequence[DeliveryStatus]) -> None:
        self._supply.passed(outgoing, attempt.after(outgoing, statuses, self._clock.now(), self._span))
        await connection.tidy()
        if any(status.code for status in statuses):  # the server said something, whatever it was
            self._breaks = 0
            await self._proved()

    async def _stopped(
        self, connection: Connection, outgoing: Outgoing, content: Content, error: PostroomError, *, begun: bool
    ) -> None:
        """A conversation did not come about, or was broken before anything could be accepted."""
        used = connection.proved
        await connection.close()
        broken = begun and isinstance(error, NetworkError | ProtocolError | Reply)
        if broken and used:  # it had grown old: once more over a new one
            self._queue.appendleft((outgoing, content))
            return
        # One conversation too many, where the server asks for no time: the others go on.
        if isinstance(error, Throttled) and self._busy > 1 and (error.limit is not None or error.retry_after is None):
            self._most = max(1, min(self._busy - 1, error.limit or self._busy))
            self._refused_at = self._clock.monotonic()
            self._observer.event(
                events.LIMIT_LEARNED, server=self.section, of="connections", connections=self._most, error=str(error)
            )
            self._queue.appendleft((outgoing, content))
            return
        if broken:
            self._breaks += 1
            self._supply.passed(outgoing, attempt.deferred(outgoing, str(error), self._clock.now(), self._span))
            if self._breaks < _BREAKS:
                return
        else:
            self._queue.appendleft((outgoing, content))
        await self._park(error)

    async def _park(self, error: PostroomError) -> None:
        await self.standing.failed(error)
        self._news.set()  # whoever feeds gives back what is at hand, and knows when to try again

    async def _proved(self) -> None:
        trying = self.standing.trying
        await self.standing.proved()
        self._proof_due = False
        self._regain()
        if trying:
            self._wake()  # the others waited for this

    def _regain(self) -> None:
        """Where the server refused a conversation for their number, try one more after a while."""
        account, now = self._account, self._clock.monotonic()
        if self._refused_at and account is not None and now - self._refused_at >= _REGAINS:
            self._refused_at = now
            limits = self._around.limits(account)
            self._most = min(self._most + 1, account.client.pool_size, limits.connections or account.client.pool_size)

    @property
    def _span(self) -> float:
        return self._account.client.retry_span if self._account is not None else float("inf")

    def _unforeseen(self, outgoing: Outgoing, error: Exception) -> None:
        unforeseen(self._observer, self.section, error)
        self._supply.passed(outgoing, attempt.unknown(outgoing, words_of(error)[:500], self._clock.now()))
