"""Where the folders of ``folder-path`` are at a server.

The rule: a name is tried as it is written. Where the server does not know it, ``/`` is read as the server's own delimiter,
and then the name is looked for below the prefix of the personal namespace (RFC 2342), which is ``INBOX.`` at Courier. What was
found so is told with a remark. A name such as ``\\Sent`` means the folder of that use (RFC 6154), whatever it is called;
where the server does not say, the usual names are looked for.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from postroom.drivers.imap_conversation import Conversation
from postroom.errors import ImapStatus
from postroom.wire.imap import commands, types, utf7

USES = {
    "\\all": ("all mail", "alle nachrichten", "all"),
    "\\archive": ("archive", "archives", "archiv"),
    "\\drafts": ("drafts", "draft", "entwürfe"),
    "\\flagged": ("flagged", "starred", "markiert"),
    "\\junk": ("junk", "spam", "junk e-mail", "junk mail", "bulk mail", "bulk", "spamverdacht"),
    "\\sent": ("sent", "sent items", "sent messages", "sent mail", "gesendet", "gesendete objekte", "gesendete elemente"),
    "\\trash": ("trash", "deleted items", "deleted messages", "deleted", "papierkorb", "gelöschte objekte", "gelöschte elemente"),
}
"""RFC 6154 section 2: the uses, with the names that folders of such a use have where their server does not tell."""

_ELSEWHERE = frozenset({"", "NONEXISTENT", "TRYCREATE", "CANNOT"})  # codes that do not speak against another name
_NO_FOLDER = frozenset({"\\noselect", "\\nonexistent"})


class Folders:
    """The server's names of folders, as far as they were needed. One per conversation."""

    def __init__(self, talk: Conversation) -> None:
        self._talk = talk
        self._names: dict[str, bytes] = {}
        self._spaces: Sequence[tuple[bytes, bytes | None]] | None = None
        self.remarks: dict[str, str] = {}  # by folder, of those that are elsewhere than written

    async def name(self, folder: str) -> bytes:
        """The server's name of a folder, as far as is known without trying. Raises ``ImapStatus`` for a use that no folder has."""
        if folder not in self._names and folder.lower() in USES:
            self.found(folder, await self._used(folder))
        return self._names.get(folder) or self._written(folder)

    async def elsewhere(self, folder: str, refused: ImapStatus) -> list[bytes]:
        """Names to try where the server refused the written one; none where the refusal is about something else."""
        if refused.status != "NO" or refused.code not in _ELSEWHERE or folder.upper() == "INBOX" or folder.lower() in USES:
            return []
        written = self._written(folder)
        names = []
        if b"/" not in written and not self._talk.knows("NAMESPACE"):
            return []
        for prefix, delimiter in await self._namespaces():
            here = written.replace(b"/", delimiter) if delimiter else written
            names += [here, here if here.startswith(prefix) else prefix + here]
        return [name for name in dict.fromkeys(names) if name != written]

    def found(self, folder: str, name: bytes) -> None:
        """The server knows the folder by this name."""
        self._names[folder] = name
        if name != self._written(folder):
            self.remarks[folder] = f"{folder} is the server's folder {utf7.decode(name)}"

    async def made(self, folder: str, refused: ImapStatus) -> bytes:
        """The name of a folder to put messages in, made where there is none. Raises ``refused`` where that was not the trouble."""
        written = await self.name(folder)
        others = await self.elsewhere(folder, refused)
        if refused.code != "TRYCREATE" and (not others or await self._exists(written)):
            raise refused
        for name in others:
            if await self._exists(name):
                self.found(folder, name)
                return name
        for name in (written, *others):
            try:
                await self._talk.command(b"CREATE " + commands.mailbox(name))
            except ImapStatus as error:
                if name == (written, *others)[-1]:
                    raise refused from error
            else:
                self.found(folder, name)
                return name
        raise refused

    async def exists(self, folder: str) -> bool:
        """Whether the server lists the folder by the name that is known so far. Raises ``ImapStatus``."""
        return await self._exists(await self.name(folder))

    def _written(self, folder: str) -> bytes:
        if folder.upper() == "INBOX":
            return b"INBOX"
        # Net-Unicode: RFC 9051 section 5.1, RFC 5198 section 2
        return unicodedata.normalize("NFC", folder).encode() if self._talk.utf8 else utf7.encode(folder)

    async def _exists(self, name: bytes) -> bool:
        listed = await self._list(commands.listing(name))
        return any(entry.mailbox == name for entry in listed)

    async def _used(self, folder: str) -> bytes:
        use = folder.lower()
        extended = "LIST-EXTENDED" in self._talk.capabilities or "IMAP4REV2" in self._talk.capabilities
        tellable = self._talk.knows("SPECIAL-USE")
        listed = await self._list(commands.listing("*", special_use=True)) if tellable and extended else []
        if not any(use in entry.attributes for entry in listed):
            listed = await self._list(commands.listing("*"))
        for entry in listed:
            if use in entry.attributes:
                return entry.mailbox
        names = {self._last(entry): entry.mailbox for entry in reversed(listed)}
        for name in USES[use]:
            if name in names:
                return names[name]
        raise ImapStatus(
            f"no folder is {folder}",
            status="NO",
            code="NONEXISTENT",
            text="",
            remedy="The server names no folder of this use, and none has a usual name: write the folder's own name.",
        )

    def _last(self, entry: types.ListEntry) -> str:
        name = utf7.decode(entry.mailbox)
        delimiter = (entry.delimiter or b"/").decode("utf-8", "replace")
        return unicodedata.normalize("NFC", name.rpartition(delimiter)[2]).casefold()

    async def _list(self, line: bytes) -> list[types.ListEntry]:
        found = await self._talk.command(line)
        return [entry for entry in found if isinstance(entry, types.ListEntry) and not entry.attributes & _NO_FOLDER]

    async def _namespaces(self) -> Sequence[tuple[bytes, bytes | None]]:
        """Prefix and delimiter of the personal namespaces; without NAMESPACE of the root (RFC 9051 section 6.3.9)."""
        if self._spaces is None:
            self._spaces = ()
            if self._talk.knows("NAMESPACE"):
                for answer in await self._talk.command(b"NAMESPACE"):
                    if isinstance(answer, types.Namespace):
                        self._spaces = answer.personal[:3]
            else:
                for root in await self._talk.command(commands.listing("")):
                    if isinstance(root, types.ListEntry):
                        self._spaces = ((b"", root.delimiter),)
        return self._spaces
