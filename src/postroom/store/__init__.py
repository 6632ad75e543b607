"""What is kept: verbs of the domain over one data directory. No row, session or SQL leaves this package.

``database`` runs jobs in transactions, ``capture``, ``work`` and ``grants`` are those jobs, ``blobs`` holds the raw octets,
``vault`` seals secrets with what ``keys`` keeps, ``rotation`` changes the key, ``processes`` knows who lives. When a verb
returns, what it wrote is durable.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from postroom.clock import Clock
from postroom.errors import StoreError
from postroom.model import (
    AccessToken,
    Addressing,
    Captured,
    Condition,
    Consent,
    Facts,
    Grant,
    GrantKey,
    GrantLife,
    Lease,
    Listed,
    MessageRow,
    Outcome,
    Position,
    Reference,
    Refusal,
    Repair,
    TokenFields,
    Trouble,
    TroubleKind,
    Unsettled,
    Work,
    WorkKind,
    WorkState,
)
from postroom.secret import Secret
from postroom.store import allowances, capture, copies, grants, reading, repair, work
from postroom.store.apikeys import ApiKeys
from postroom.store.applications import Applications, Chosen
from postroom.store.audits import Audits
from postroom.store.blobs import Blobs
from postroom.store.commands import Commands
from postroom.store.database import Database, translated
from postroom.store.ids import PublicIds
from postroom.store.invitations import Invitations
from postroom.store.keys import place_of
from postroom.store.labels import Labels
from postroom.store.outbox import Outbox, interrupt
from postroom.store.pending import Pending
from postroom.store.processes import Processes
from postroom.store.pull import Pull
from postroom.store.shadows import Shadows
from postroom.store.vault import open_vault

if TYPE_CHECKING:
    from postroom.store import rotation

LEASE = 30.0  # seconds; renewed three times within


class Store:
    """One data directory. Made by ``Store.open``; used by one event loop; ``close`` at the end."""

    def __init__(self, directory: Path, clock: Clock, vault_key: str, environment: Mapping[str, str]) -> None:
        self._clock = clock
        self._directory = directory
        self._ids = PublicIds()
        with translated(), ExitStack() as undo:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._processes = Processes(directory / "processes")
            undo.callback(self._processes.close)
            self.blobs = Blobs(directory / "segments", self._committed)
            self._db = Database(directory / "postroom.db", self.blobs.sync)
            undo.callback(self._db.close)
            self._vault = self._db.now(lambda db: open_vault(db, place_of(vault_key, environment)))
            undo.pop_all()
        self.audits = Audits(self._db, clock, self._processes)
        self.shadows = Shadows(self._db, clock, self._processes)
        self.pending = Pending(self._db, self._processes)
        self.api_keys = ApiKeys(self._db, clock, self._ids)
        self.commands = Commands(self._db, clock)
        self.labels = Labels(self._db)
        self.applications = Applications(self._db, clock)
        self.pull = Pull(self._db, clock)
        self.invitations = Invitations(self._db, clock)
        self.outbox = Outbox(self._db, clock, self.blobs, self._ids, self._processes)

    @property
    def holder(self) -> str:
        """This process's name in leases and claims."""
        return self._processes.holder

    @property
    def alone(self) -> bool:
        """Whether no other process uses this data directory now."""
        return self._processes.alone()

    def close(self) -> None:
        """Finish what waits, and let everything go."""
        self._db.close()
        self.blobs.close()
        self._processes.close()

    # --- sources, leases, positions

    async def source(self, type_: str, server: str, login: str) -> int:
        """The number of a source, made at first sight."""
        return await self._db.run(lambda db: capture.source_id(db, type_, server.lower(), login))

    async def acquire(self, source: int, folders: Sequence[str]) -> list[Lease]:
        """Lease all folders or none. Raises ``LeaseHeld``."""
        expires = self._clock.now() + LEASE
        return await self._db.run(lambda db: capture.acquire(db, source, folders, self.holder, expires, self._processes.living))

    async def renew(self) -> None:
        """Prolong every lease of this process."""
        expires = self._clock.now() + LEASE
        await self._db.run(lambda db: capture.renew(db, self.holder, expires))

    async def release(self, leases: Sequence[Lease]) -> None:
        """Give leases back."""
        await self._db.run(lambda db: capture.release(db, leases))

    async def position(self, lease: Lease) -> Position:
        """How far a folder has been read. Raises ``LeaseLost``, as do all verbs that take a lease."""
        return await self._db.run(lambda db: capture.position(db, lease), writes=False)

    async def begin(self, lease: Lease, state: str | None, choice: str, total: int) -> None:
        """Keep the state before anything was listed. At the very first time also how the first read was chosen."""
        now = self._clock.now()
        await self._db.run(lambda db: capture.begin(db, lease, state, choice, total, now))

    async def progress(self, lease: Lease, left: int, rate: float, *, ended: bool) -> None:
        """How far a folder's first read is: messages still to be listed, messages a second."""
        ended_at = self._clock.now() if ended else None
        await self._db.run(lambda db: capture.progress(db, lease, left, rate, ended_at))

    async def advance(self, lease: Lease, state: str, *, read_whole: bool = False) -> Repair | None:
        """Move a folder's state. When it was read whole a repair ends: return its numbers."""
        now = self._clock.now()
        return await self._db.run(lambda db: capture.advance(db, lease, state, now, read_whole=read_whole))

    # --- repairs

    async def rebirth(self, lease: Lease, reason: str) -> int:
        """Begin a new epoch of a folder, and a repair; return its number."""
        now = self._clock.now()
        return await self._db.run(lambda db: repair.rebirth(db, lease, reason, now))

    async def nameless(self, lease: Lease, listed: Sequence[Listed]) -> list[Listed]:
        """Those of the listed that may be had already and whose Message-ID would tell."""
        return await self._db.run(lambda db: repair.nameless(db, lease, listed), writes=False)

    async def meet(self, lease: Lease, listed: Sequence[Listed], message_ids: Mapping[str, str]) -> list[Listed]:
        """Give receipts the identities that their messages have now; return those of the listed that were not met.

        ``listed`` is unknown; ``message_ids`` are by identifier, as ``mime.examine`` reads them.
        """
        return await self._db.run(lambda db: repair.meet(db, lease, listed, message_ids))

    async def spend(self, source: int, octets: int, most: float, per_second: float) -> float:
        """Count octets that were read of a source; return how many more may be.

        What may be read grows by so many a second, up to ``most``. Below zero: more was read than there was.
        """
        now = self._clock.now()
        return await self._db.run(lambda db: allowances.spend(db, source, octets, most, per_second, now))

    # --- receipts

    async def unknown(self, lease: Lease, listed: Sequence[Listed]) -> tuple[list[Listed], list[Listed]]:
        """Which of these have neither receipt nor trouble; and which have the receipt of another message."""
        return await self._db.run(lambda db: capture.unknown(db, lease, listed), writes=False)

    async def capture(self, lease: Lease, client: str, batch: Sequence[Captured], addressing: Addressing | None = None) -> Outcome:
        """Keep a batch: when this returns, octets, receipts, messages and work are durable, each once.

        ``addressing`` is kept with the messages: what becomes of them was decided when they were captured.
        May be repeated. Raises ``LeaseLost``, ``StoreFull``, ``StoreError``; then nothing of the batch was kept.
        """
        now = self._clock.now()
        ids = self._ids.take(now, len(batch))

        def job(db: apsw.Connection) -> Outcome:
            if any(self.blobs.damaged(captured.reference) for captured in batch):
                raise StoreError("octets were lost at the disk before they were durable; they are fetched again")
            capture.segment_committed(db, *self.blobs.ends())
            for captured in batch:  # a batch may reach over the end of a segment
                if captured.reference.segment != self.blobs.ends()[0]:
                    end = captured.reference.offset + captured.reference.length + 48
                    capture.segment_committed(db, captured.reference.segment, end)
            return capture.capture(db, lease, client, batch, ids, now, addressing or Addressing())

        return await self._db.run(job, sync=True)

    async def spare(self, lease: Lease, listed: Sequence[Listed], message_ids: Mapping[str, str]) -> None:
        """Remember what a first read leaves at the server: a receipt each, and no message.

        ``message_ids``, by identifier, are wanted where the server has no dates; by them a repair knows the message again.
        """
        now = self._clock.now()
        await self._db.run(lambda db: capture.spare(db, lease, listed, message_ids, now))

    async def unsettled(self, lease: Lease, limit: int) -> list[Unsettled]:
        """Receipts whose disposition the server has not committed."""
        return await self._db.run(lambda db: capture.unsettled(db, lease, limit), writes=False)

    async def settled(self, lease: Lease, identifiers: Sequence[str]) -> None:
        """The server committed these dispositions."""
        now = self._clock.now()
        await self._db.run(lambda db: capture.settled(db, lease, identifiers, now))

    async def gone(self, lease: Lease, identifiers: Sequence[str]) -> None:
        """The server holds something else, or nothing, under these identifiers: nothing is settled there."""
        now = self._clock.now()
        await self._db.run(lambda db: capture.settled(db, lease, identifiers, now, gone=True))

    # --- troubles

    async def trouble(self, lease: Lease, listed: Listed, kind: TroubleKind, detail: str, not_before: float) -> None:
        """Remember a message that is listed and not had."""
        now = self._clock.now()
        await self._db.run(lambda db: capture.trouble(db, lease, listed, kind, detail, now, not_before))

    async def troubles(self, lease: Lease) -> list[Trouble]:
        """The folder's troubles."""
        return await self._db.run(lambda db: capture.troubles(db, lease), writes=False)

    async def confirmed_absent(self, lease: Lease, identifiers: Sequence[str]) -> None:
        """These messages are gone from the server for good."""
        await self._db.run(lambda db: capture.confirmed_absent(db, lease, identifiers))

    # --- work

    async def claim(self, kind: WorkKind, limit: int, lane: str = "") -> list[Work]:
        """Take pieces of work of a lane that are due."""
        now = self._clock.now()
        return await self._db.run(lambda db: work.claim(db, kind, lane, self.holder, now, limit))

    async def references(self, messages: Sequence[int]) -> dict[int, Reference]:
        """Where the octets of messages are."""
        return await self._db.run(lambda db: work.references(db, messages), writes=False)

    async def addressing(self, messages: Sequence[int]) -> dict[int, Addressing]:
        """Those of the messages that copies are made of."""
        return await self._db.run(lambda db: copies.addressing(db, messages), writes=False)

    async def finish_process(
        self, done: Sequence[tuple[Work, Facts]], chosen: Sequence[Chosen] = (), known: Collection[str] = ()
    ) -> None:
        """Write the facts of messages, make their copies, hand them to the applications that chose them, and write their work
        done, at once; each copy and each delivery once. ``known`` are the applications that were asked.
        """
        ids = self._ids.take(self._clock.now(), copies.wanted(done))
        await self._db.run(lambda db: work.finish_process(db, done, ids, chosen, known))

    async def defer(self, piece: Work, state: WorkState, not_before: float, first_failed_at: float, fault: str) -> None:
        """Put a failed piece of work back, or aside. Raises ``StoreError`` when the piece is another's now."""
        await self._db.run(
            lambda db: work.move(db, piece, state, not_before=not_before, first_failed_at=first_failed_at, fault=fault)
        )

    async def reclaim(self, kind: WorkKind, lane: str = "", *, own: bool = False) -> int:
        """Make a lane's work of dead processes claimable again; with ``own`` also what this one claimed and left undone.

        What they were just handing over to a server is in doubt then.
        """
        now = self._clock.now()

        def living(holder: str) -> bool:
            return self._processes.living(holder) and not (own and holder == self.holder)

        def job(db: apsw.Connection) -> int:
            subjects = work.reclaim(db, kind, lane, living)
            if kind is WorkKind.SUBMIT:
                interrupt(db, subjects, now)
            return len(subjects)

        return await self._db.run(job)

    async def next_due(self, kind: WorkKind, lane: str = "") -> float | None:
        """When the next piece of a lane's ready work is due."""
        return await self._db.run(lambda db: work.next_due(db, kind, lane), writes=False)

    async def foreign_version(self) -> int:
        """A number that changes when another process has written something (sqlite.org/pragma.html#pragma_data_version)."""
        return await self._db.run(lambda db: int(str(db.execute("PRAGMA data_version").get)))

    # --- grants (the keeper that net.tokens is given)

    def keyed_hash(self, *texts: str) -> str:
        """A keyed hash of secrets, to recognise them. Raises ``VaultLocked`` when the key cannot be had."""
        return self._vault.keyed_hash(*texts)

    async def open_grant(self, key: GrantKey, configured: Secret, asked_with: str) -> Grant:
        """A chain of refresh tokens as it stands."""
        now = self._clock.now()
        return await self._db.run(lambda db: grants.open_grant(db, self._vault, key, configured, asked_with, now))

    async def claim_grant(self, grant: int, seconds: float) -> bool:
        """Take the right to refresh; False while another process has it."""
        now = self._clock.now()
        return await self._db.run(lambda db: grants.claim_grant(db, grant, self.holder, now, now + seconds, self._processes.living))

    async def release_grant(self, grant: int, *, unanswered: bool = False) -> None:
        """Give the right to refresh back without an answer; ``unanswered``: it was asked for and never came."""
        at = self._clock.now() if unanswered else None
        await self._db.run(lambda db: grants.release_grant(db, grant, self.holder, at))

    async def save_answer(self, key: GrantKey, grant: Grant, asked_with: str, fields: TokenFields) -> AccessToken:
        """Keep a token answer whole, durably, and give the right to refresh back."""
        now = self._clock.now()
        return await self._db.run(lambda db: grants.save_answer(db, self._vault, key, grant, asked_with, fields, now))

    async def save_refusal(self, grant: int, refusal: Refusal) -> None:
        """Keep the authority's no, and give the right to refresh back."""
        await self._db.run(lambda db: grants.save_refusal(db, grant, refusal))

    async def consent(self, client: str) -> Consent | None:
        """What ``authorize`` connected a client with."""
        found = await self._db.run(lambda db: grants.consents(db, client), writes=False)
        return found[0] if found else None

    async def consents(self) -> list[Consent]:
        """The consents of all clients."""
        return await self._db.run(grants.consents, writes=False)

    async def save_consent(self, consent: Consent, asked_with: str, fields: TokenFields) -> None:
        """Keep a consent with its tokens, durably; ``fields`` has a refresh token. It stands in the place of a former one."""
        await self._db.run(lambda db: grants.save_consent(db, self._vault, consent, asked_with, fields))

    async def forget_consent(self, client: str) -> bool:
        """Take a client's consent and its tokens away; False where there is none."""
        return await self._db.run(lambda db: grants.forget_consent(db, client))

    async def grant_lives(self) -> list[GrantLife]:
        """The dates of all grants, for a forecast."""
        return await self._db.run(grants.lives, writes=False)

    async def tell(self, ending: str, days: int) -> bool:
        """Remember that an ending was announced so many days ahead; False when it was already, at that distance or nearer."""
        return await self._db.run(lambda db: reading.tell(db, ending, days))

    # --- the vault's key

    async def rotate_key(self) -> rotation.Rotation:
        """Seal everything anew with another key, while others use the store. May be repeated after any stop.

        Raises ``VaultLocked`` (nothing is lost then), and ``StoreError`` while another process rotates.
        """
        from postroom.store import rotation

        return await rotation.rotate(self._db, self._vault.place, self._directory / "vault.rotating")

    async def vault_status(self) -> rotation.VaultStatus:
        """Where the keys are, and what they seal. Raises ``VaultLocked``."""
        from postroom.store import rotation

        # Not among the reads: no rotation may come between the look at the store and the look at the keys' place.
        return await self._db.run(lambda db: rotation.status(db, self._vault.place))

    # --- conditions and reading

    async def report(self, condition: Condition) -> None:
        """Keep a client's health."""
        await self._db.run(lambda db: reading.report(db, condition))

    async def conditions(self) -> dict[str, Condition]:
        """The health of every client that was ever run."""
        return await self._db.run(reading.conditions, writes=False)

    async def counts(self) -> dict[str, reading.Counts]:
        """Messages, octets, troubles and open work by client section."""
        return await self._db.run(reading.counts, writes=False)

    async def messages(self, *, client: str | None, newest_first: bool, limit: int | None) -> AsyncIterator[MessageRow]:
        """Messages in the order of their capture."""
        after: int | None = None
        left = limit
        while left is None or left > 0:
            page = min(1000, left) if left is not None else 1000
            job = functools.partial(reading.page, client=client, newest_first=newest_first, after=after, limit=page)
            rows, after = await self._db.run(job, writes=False)
            for row in rows:
                yield row
            if len(rows) < page:
                return
            left = None if left is None else left - len(rows)

    async def message_page(
        self, limit: int, *, clients: Sequence[str] = (), address: str = "", since: float = 0.0, after: str = ""
    ) -> list[MessageRow] | None:
        """A page of messages, the newest first, behind the one with the id ``after``; None where there is no such message.

        ``clients`` and ``address`` (that the mailbox served) narrow it down where they are not empty.
        """
        job = functools.partial(reading.narrowed, clients=clients, address=address, since=since, after=after, limit=limit)
        return await self._db.run(job, writes=False)

    async def message(self, public_id: str) -> tuple[MessageRow, Reference] | None:
        """One message by its id, or by the beginning of it where that is unique."""
        return await self._db.run(lambda db: reading.one(db, public_id), writes=False)

    async def readers(self) -> dict[str, str]:
        """The living process that reads each login's mailbox now."""
        return await self._db.run(lambda db: reading.readers(db, self._processes.living), writes=False)

    async def troubles_of(self) -> list[tuple[str, str, Trouble]]:
        """Every trouble with its login and folder, for status."""
        return await self._db.run(reading.all_troubles, writes=False)

    async def folders(self) -> list[reading.FolderRow]:
        """The first read and the last repair of every folder, for status and check."""
        return await self._db.run(reading.folders, writes=False)

    # --- within

    def _committed(self, segment: int) -> int:
        """How far references reach into a segment; on a connection of its own, because the store's thread may be writing."""
        connection = apsw.Connection(str(self._directory / "postroom.db"), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.set_busy_timeout(10_000)
            row = connection.execute("SELECT committed FROM segments WHERE id = ?", (segment,)).fetchone()
            return 0 if row is None else int(row[0])
        finally:
            connection.close()


@contextmanager
def opened(directory: Path, clock: Clock, vault_key: str, environment: Mapping[str, str]) -> Iterator[Store]:
    """A store that is closed at the end of the block."""
    store = Store(directory, clock, vault_key, environment)
    try:
        yield store
    finally:
        store.close()
