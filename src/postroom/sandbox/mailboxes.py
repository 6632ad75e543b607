"""pymap's mailboxes in memory, corrected where a test would trip over them.

* News is told at once, not with the news after it.
* Octets stay as they are, whatever a message looks like, and every message can be delivered.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pymap.backend.dict.mailbox import MailboxData, MailboxSet, Message
from pymap.mime import MessageBody, MessageContent, MessageHeader
from pymap.parsing.specials import ObjectId


class Mailbox(MailboxData):  # type: ignore[misc]
    """One folder."""

    async def update_selected(self, selected: Any, *, wait_on: Any = None) -> Any:
        """As pymap's, but never wait for news while there is news.

        pymap waits for the *next* change: what came between a client's last command and its IDLE, or while an idling
        client was being written to, would be told with the change after it.
        """
        if selected.mod_sequence != self._mod_sequences.highest:
            wait_on = None
        return await super().update_selected(selected, wait_on=wait_on)

    async def append(self, append_msg: Any, *, recent: bool = False) -> Any:
        """Put a message in, tell all who have the folder open, and return it with its UID. Any octets will do."""
        content = _parse(bytes(append_msg.literal))
        email_id = self._content_cache.add(content)
        thread_id = ObjectId.random_thread_id()
        with suppress(Exception):  # a Message-ID that the standard library cannot read: a thread of its own then
            thread_id = self._thread_cache.add(content)
        async with self.messages_lock.write_lock():
            self._max_uid += 1
            message = Message(
                self._max_uid,
                append_msg.when,
                append_msg.flag_set,
                email_id=email_id,
                thread_id=thread_id,
                recent=recent,
                content=content,
            )
            self._messages[message.uid] = message
            self._mod_sequences.update([message.uid])
            self._updated.set()
        return message


class Mailboxes(MailboxSet):  # type: ignore[misc]
    """An account's folders, each a ``Mailbox``."""

    def __init__(self) -> None:
        super().__init__()
        self._inbox = Mailbox(self._content_cache, self._thread_cache)

    async def add_mailbox(self, name: str) -> Any:
        """Create the folder; ValueError when there is one of that name."""
        async with self._set_lock.write_lock():
            if name in self._set:
                raise ValueError(name)
            self._set[name] = box = Mailbox(self._content_cache, self._thread_cache)
        return box.mailbox_id


def _parse(octets: bytes) -> Any:
    """The message with its structure, or without one where the standard library's header parser fails on it."""
    try:
        content = MessageContent.parse(octets)
    except Exception:  # noqa: BLE001 - it raises AttributeError, ValueError and more on malformed headers
        content = MessageContent(octets, MessageHeader.empty(), MessageBody.empty())
    content._raw = memoryview(octets)  # pymap loses the last octet of a message that ends within its header
    return content
