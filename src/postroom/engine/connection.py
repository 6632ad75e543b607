"""One connection of an account's pool (``cnx-pool-size``), kept open between messages for as long as the options say."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from postroom.clock import Clock
from postroom.drivers import Account, Submitter
from postroom.errors import NetworkError, ProtocolError

Open = Callable[[Account], AbstractAsyncContextManager[Submitter]]
"""How a conversation of an account begins: logged in within the block."""


class Connection:
    """At most one conversation. ``ready`` gives it, opened, checked, or in the place of one that does not serve any more."""

    def __init__(self, open_: Open, clock: Clock) -> None:
        self._open = open_
        self._clock = clock
        self._stack: AsyncExitStack | None = None
        self._submitter: Submitter | None = None
        self._account: Account | None = None
        self._used_at = 0.0  # by the clock that never steps
        self.proved = False  # something went over this conversation since it was opened

    def serves(self, account: Account) -> bool:
        """Whether the conversation was begun as one of this account would be now."""
        return self._account is not None and _alike(self._account, account)

    def idle_since(self) -> float | None:
        """When the conversation was last used; None where there is none."""
        return self._used_at if self._submitter is not None else None

    async def ready(self, account: Account) -> Submitter:
        """A conversation of the account. Raises what opening one does."""
        submitter = self._submitter
        if submitter is not None:
            serves = submitter.stands() and self.serves(account)
            idle = self._clock.monotonic() - self._used_at
            if serves and idle > account.client.check_idle_time:
                serves = await _checked(submitter)
            if serves:
                return submitter
            await self.close()
        async with AsyncExitStack() as stack:
            opened = await stack.enter_async_context(self._open(account))
            self._stack = stack.pop_all()
        self._submitter, self._account, self.proved = opened, account, False
        self.used()
        return opened

    def used(self) -> None:
        """A message went over it just now."""
        self._used_at = self._clock.monotonic()

    async def tidy(self) -> None:
        """Let a conversation go that does not stand any more."""
        if self._submitter is not None and not self._submitter.stands():
            await self.close()

    async def close(self) -> None:
        """End the conversation."""
        stack, self._stack, self._submitter = self._stack, None, None
        if stack is not None:
            await stack.aclose()


def _alike(of: Account, now: Account) -> bool:
    """Whether a conversation begun by the one serves the other: what acts at once is the login, and a new consent."""
    return of.client.authenticates == now.client.authenticates and of.consented_at == now.consented_at


async def _checked(submitter: Submitter) -> bool:
    """Whether the conversation stands. Raises what its last answer said of the account."""
    try:
        await submitter.check()
    except (NetworkError, ProtocolError):
        return False
    return True
