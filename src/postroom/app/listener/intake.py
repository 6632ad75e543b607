"""From a message that a program handed in to a submission in the queue, and to the reply that says so.

The account is that of the envelope's sender. Where none sends for it (a printer's ``root@localhost``), or it is the null
reverse-path, the author in the header decides; then the envelope's sender becomes that author, whom the server will accept and
whom reports reach, and the null reverse-path stays what it is.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import format_datetime

from postroom import events
from postroom.app.core import Core
from postroom.app.listener.conversation import Offered
from postroom.app.operations.submissions import Hand, submit_raw
from postroom.clock import Clock
from postroom.errors import DraftRefused, StoreError, StoreFull
from postroom.events import Observer
from postroom.mime.addresses import parse_address
from postroom.mime.examine import HEAD
from postroom.mime.raw import RawEnvelope, author_of
from postroom.wire.submission import Reply

Submit = Callable[[bytes, RawEnvelope, str, str], Awaitable[str]]
"""Octets, envelope, owner and section of the account; durable when it returns with the submission's id."""

_AUTHOR = re.compile(rb"^from[ \t]*:", re.IGNORECASE | re.MULTILINE)


class Intake:
    """What a message goes through between its last octet and our answer."""

    def __init__(self, route: Callable[[str], str | None], submit: Submit, observer: Observer, clock: Clock) -> None:
        self._route = route
        self._submit = submit
        self._observer = observer
        self._clock = clock

    async def take(self, offered: Offered) -> Reply:
        """Hand it in. 250 is returned once it is durable, and only then."""
        try:
            return await self._taken(offered)
        except DraftRefused as error:
            if error.faults[0].pointer == "/from":  # the account is known, and its section has a fault: mail waits for that
                return Reply(451, "4.3.5", f"{error.faults[0].problem}; hand it in again")
            return Reply(550, "5.6.0", error.detail)
        except StoreFull as error:
            return self._failed(error, Reply(452, "4.3.1", "The disk is full here; hand it in again"))
        except StoreError as error:
            return self._failed(error, Reply(451, "4.3.0", "It cannot be kept now; hand it in again"))
        except Exception as error:  # noqa: BLE001 - of this message alone; the client keeps it
            trace = traceback.format_exc(limit=-5)
            self._observer.event(events.UNFORESEEN, where="smtp-listener", error=f"{type(error).__name__}: {error}", trace=trace)
            return Reply(451, "4.3.0", "Something failed here; hand it in again")

    async def _taken(self, offered: Offered) -> Reply:
        end = offered.octets.find(b"\r\n\r\n")
        header = offered.octets[: end + 2] if end >= 0 else offered.octets[:HEAD]
        sender = parse_address(offered.sender.address) if offered.sender.address else ""
        author = author_of(header)
        section = self._route(sender) if sender else None
        mail_from = sender
        if section is None:
            section = self._route(author) if author else None
            mail_from = author if sender else ""
        if section is None:
            who = author or sender or "this message, which names no author"
            return Reply(553, "5.7.1", f"No account sends for {who}: write it into addresses of a section smtp-client")
        envelope = RawEnvelope(mail_from, offered.recipients, offered.sender.envid, offered.sender.ret)
        octets = self._trace(offered) + self._from(header, sender) + offered.octets
        public_id = await self._submit(octets, envelope, offered.owner, section)
        self._observer.event(
            events.HANDED_IN,
            client=section,
            owner=offered.owner,
            id=public_id,
            recipients=len(offered.recipients),
            octets=len(octets),
        )
        return Reply(250, "2.0.0", f"Queued as {public_id}")

    def _trace(self, offered: Offered) -> bytes:
        """The trace field (RFC 5321 section 4.4). It names neither the program's account nor where it runs: both are the
        company's own matter, and the message goes to strangers."""
        date = format_datetime(datetime.fromtimestamp(int(self._clock.now()), UTC))
        return f"Received: from localhost by localhost (Postroom) with {offered.protocol};\r\n\t{date}\r\n".encode()

    def _from(self, header: bytes, sender: str) -> bytes:
        """The author where the message names none (RFC 6409 section 8)."""
        return b"" if not sender or not sender.isascii() or _AUTHOR.search(header) else f"From: {sender}\r\n".encode()

    def _failed(self, error: StoreError, reply: Reply) -> Reply:
        self._observer.event(events.STORE_TROUBLE, client="smtp-listener", error=str(error), remedy=error.remedy, seconds=0)
        return reply


def submitting(core: Core) -> Submit:
    """Puts messages into the core's queue, as every entrance does."""

    async def submit(octets: bytes, envelope: RawEnvelope, owner: str, section: str) -> str:
        row, _ = await submit_raw(core, octets, envelope, Hand(owner, client=section))
        return row.id

    return submit
