"""What an SMTP server tells on the way to sending. No mail is sent."""

from __future__ import annotations

from typing import ClassVar

from postroom.drivers import First, shown_octets
from postroom.drivers.smtp_session import SmtpSession
from postroom.model import Preview

_MATTER = ("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING", "BINARYMIME", "SIZE", "ENHANCEDSTATUSCODES")


class SmtpApproach(SmtpSession):
    """A session that is led to where it could send step by step (``probe.Approach``)."""

    looks: ClassVar[str] = "limits"
    secured_by: ClassVar[str] = "smtp-connection-security"

    @property
    def speaks(self) -> str:
        """The extensions that matter, those that are missing named too."""
        has = [name for name in _MATTER if name in self.capabilities]
        lacks = [name for name in _MATTER if name not in self.capabilities]
        told = ["SMTP", f"with {', '.join(has)}" if has else "without extensions"]
        return "; ".join([" ".join(told), *([f"without {', '.join(lacks)}"] if has and lacks else [])])

    @property
    def told(self) -> list[str]:
        """Nothing: what a server has to tell it tells with EHLO."""
        return []

    async def look(self, folders: tuple[str, ...]) -> str:
        """What the server, and its provider, allow."""
        provider, server = self.place.limits, self.capabilities.limits
        at_once = min((most for most in (provider.recipients, server.get("RCPTMAX")) if most is not None), default=None)
        size = self.capabilities.size
        told = [f"messages of {shown_octets(size)} at most"] if size is not None else []
        numbers = [
            (at_once, "recipients of one message, more go in several"),
            (server.get("MAILMAX"), "messages over one connection"),
            (provider.connections, "connections at once"),
            (provider.messages_a_minute, "messages a minute"),
        ]
        told += [f"{most:,} {words}" for most, words in numbers if most is not None]
        return "; ".join(told) or "the server names none"

    async def preview(self, folder: str, first: First) -> Preview:
        """Nothing: what sends reads nothing."""
        return Preview(0, 0)

    async def close(self) -> None:
        """QUIT."""
        await self.quit()
