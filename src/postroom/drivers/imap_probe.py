"""What an IMAP server tells on the way to a mailbox."""

from __future__ import annotations

from typing import ClassVar

from postroom.drivers import First, imap_first
from postroom.drivers.imap_session import ImapSession
from postroom.model import Preview
from postroom.wire.imap.quirks import NEWEST, Quirk

_NAME = 60  # characters of what a server calls itself


class ImapApproach(ImapSession):
    """A session that is led to its folders step by step (``probe.Approach``)."""

    looks: ClassVar[str] = "select"
    secured_by: ClassVar[str] = "pop-connection-security"

    @property
    def speaks(self) -> str:
        """The version of the protocol."""
        return "IMAP4rev2" if "IMAP4REV2" in self.capabilities else "IMAP4rev1"

    @property
    def told(self) -> list[str]:
        """What the server calls itself (RFC 2971), and whether octets are compressed."""
        calls_itself = " ".join(self.server_id.get(field, "") for field in ("name", "version")).strip()
        told = [f"the server is {calls_itself[:_NAME]}"] if calls_itself else []
        return [*told, "octets are compressed"] if self.stream.deflates else told

    async def look(self, folders: tuple[str, ...]) -> str:
        """How many messages each folder holds."""
        found = []
        for folder in folders:
            selected = await self.select(folder)
            found.append(f"{folder} {selected.exists}" + self._remark(folder, selected.exists))
        return ", ".join(found)

    def _remark(self, folder: str, exists: int) -> str:
        remarks = [self.folders.remarks[folder]] if folder in self.folders.remarks else []
        if Quirk.NEWEST_ONLY in self.quirks and exists == NEWEST:
            remarks.append(f"the server shows the newest {NEWEST:,} only")
        return f" ({'; '.join(remarks)})" if remarks else ""

    async def preview(self, folder: str, first: First) -> Preview:
        """What a first read would take. Raises ``ImapStatus`` where the server does not tell."""
        return await imap_first.preview(self, folder, first)
