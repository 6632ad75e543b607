"""What a POP3 server tells on the way to a mailbox. Nothing is retrieved, so that its QUIT changes nothing (RFC 1939 section 6)."""

from __future__ import annotations

from typing import ClassVar

from postroom.drivers import First, shown_octets
from postroom.drivers.pop3_listing import preview, read_head, stat
from postroom.drivers.pop3_session import Pop3Session
from postroom.errors import PostroomError
from postroom.model import Preview


class Pop3Approach(Pop3Session):
    """A session that is led to its maildrop step by step (``probe.Approach``)."""

    looks: ClassVar[str] = "maildrop"
    secured_by: ClassVar[str] = "pop-connection-security"

    @property
    def speaks(self) -> str:
        """The protocol, and whether the server tells what it can (RFC 2449)."""
        if self.known:
            return "POP3"
        return "POP3 without CAPA" if self.manners.capabilities else "POP3; CAPA is not asked (mail.pop3.disablecapa)"

    @property
    def told(self) -> list[str]:
        """How often the server lets us in, where it says so."""
        return [f"one login in {self.login_delay:.0f} s is allowed"] if self.login_delay else []

    async def look(self, folders: tuple[str, ...]) -> str:
        """How many messages there are, by what they are told apart, and whether to retrieve one is to hide it."""
        count, octets = await stat(self)
        told = [f"{count:,} messages, {shown_octets(octets)}" if count > 0 else "no messages" if not count else "no answer to STAT"]
        has = {"UIDL": await self._unique_ids(count), "TOP": await self._top(count), "PIPELINING": self.offers("PIPELINING")}
        for word, wanted in (("with", True), ("without", False)):
            if names := [name for name, there in has.items() if there is wanted]:
                told.append(f"{word} {', '.join(names)}")
        if not has["UIDL"]:
            told.append("messages are told apart by their " + ("headers" if has["TOP"] else "whole text, read in each cycle"))
        if self.manners.hides_retrieved:
            told.append(
                "what is retrieved is hidden from every POP3 client from then on, and only then more is shown"
                " (recent: before the login shows the last 30 days to each)"
            )
        return "; ".join(told)

    async def _unique_ids(self, count: int) -> bool:
        return (await self.ask(b"UIDL 1")).ok if count > 0 else self.offers("UIDL")

    async def _top(self, count: int) -> bool:
        if not self.manners.top or self.known or count <= 0:
            return self.manners.top and self.offers("TOP")
        answer = await self.ask(b"TOP 1 0")
        if answer.ok:
            await read_head(self)
        return answer.ok

    async def preview(self, folder: str, first: First) -> Preview:
        """What a first read would take."""
        return await preview(self, first)

    async def close(self) -> None:
        """QUIT."""
        try:
            await self.quit()
        except PostroomError:
            self.stream.abort()
