"""Meet messages again whose identities changed. Functions within one transaction.

A rebirth puts a folder's receipts aside, in the table ``reborn``. Each that is met again gets the identity that its message
has now, and keeps all else: what was decided about it, and which message it stands for. What is met when is told by

1. size, date and Message-ID, of which the server has the first two and the third costs a line: plainly the same;
2. the octets, where these do not tell one from the other, or there is no Message-ID: fetched, and compared by their digest.

Each receipt is met once: two identical mails are two. Nothing is held in memory but what one listing named.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import apsw

from postroom.model import Captured, Lease, Listed, Repair
from postroom.store.fence import Fenced

_REBORN = """
INSERT INTO reborn (receipt, source, folder, digest, size, internal_date, removed)
SELECT id, source, folder, digest, size, internal_date, settled_at IS NOT NULL AND disposition IN ('delete', 'move')
FROM receipts WHERE source = ?1 AND folder = ?2 AND epoch = ?3 AND gone_at IS NULL ON CONFLICT DO NOTHING"""
_REBIRTH = "UPDATE folders SET epoch = epoch + 1, state = NULL WHERE source = ? AND folder = ? RETURNING epoch"
_DROP_TROUBLES = "DELETE FROM troubles WHERE source = ? AND folder = ?"
_BEGIN = "INSERT OR REPLACE INTO repairs (source, folder, reason, begun_at) VALUES (?, ?, ?, ?)"
_COUNT = """
UPDATE repairs SET matched = matched + ?3, compared = compared + ?4, fresh = fresh + ?5
WHERE source = ?1 AND folder = ?2 AND ended_at IS NULL"""
_END = """
UPDATE repairs SET ended_at = ?3, vanished =
  (SELECT count(*) FROM reborn b WHERE b.source = ?1 AND b.folder = ?2 AND NOT b.removed)
WHERE source = ?1 AND folder = ?2 AND ended_at IS NULL
RETURNING reason, begun_at, matched, compared, fresh, vanished, ended_at"""
_OPEN = "SELECT 1 FROM repairs WHERE source = ? AND folder = ? AND ended_at IS NULL"

# A message that was spared has no octets here: its date tells, where the server has one.
_NAMELESS = """
SELECT key FROM json_each(?3)
WHERE EXISTS (SELECT 1 FROM reborn WHERE source = ?1 AND folder = ?2 AND size = value ->> 0 AND internal_date = value ->> 1
              AND (digest <> x'' OR internal_date = ''))"""
_FORMER = """
SELECT key, b.receipt, b.digest, coalesce(nullif(r.message_id, ''), m.message_id, '')
FROM json_each(?3)
CROSS JOIN reborn b ON b.source = ?1 AND b.folder = ?2 AND b.size = value ->> 0 AND b.internal_date = value ->> 1
CROSS JOIN receipts r ON r.id = b.receipt
LEFT JOIN messages m ON m.id = coalesce(r.message, r.id)
ORDER BY key, b.removed, b.receipt"""
_SAME_DIGEST = """
SELECT receipt FROM reborn WHERE source = ?1 AND folder = ?2 AND digest = ?3 AND (removed = 0 OR internal_date = ?4)
ORDER BY internal_date <> ?4, receipt LIMIT 1"""
_SPARED = """
SELECT receipt FROM reborn WHERE source = ? AND folder = ? AND size = ? AND internal_date = ? AND digest = x'' ORDER BY receipt"""
_KNOWN = "SELECT 1 FROM receipts WHERE source = ? AND folder = ? AND epoch = ? AND identifier = ?"
_MET = """
UPDATE receipts SET epoch = ?2, identifier = ?3, size = ?4, internal_date = ?5, email_id = ?6, settled_at = NULL
WHERE id = ?1"""


class Former(NamedTuple):
    """A message that was had, or spared, under a former identity."""

    receipt: int
    digest: bytes  # empty for one that was spared
    message_id: str  # empty where it has none, or is not read yet


def rebirth(db: apsw.Connection, lease: Lease, reason: str, now: float) -> int:
    """Begin a new epoch: identities are not comparable any more. What is known waits to be met again."""
    fenced = Fenced(db, lease)
    db.execute(_REBORN, fenced.key)
    db.execute(_DROP_TROUBLES, (lease.source, lease.folder))
    db.execute(_BEGIN, (lease.source, lease.folder, reason, now))
    return int(db.execute(_REBIRTH, (lease.source, lease.folder)).get)


def nameless(db: apsw.Connection, lease: Lease, listed: Sequence[Listed]) -> list[Listed]:
    """Those of the listed that may be had already and whose Message-ID would tell."""
    fenced = Fenced(db, lease)
    rows: Any = db.execute(_NAMELESS, (fenced.source, fenced.folder, _places(listed)))
    return [listed[key] for (key,) in rows]


def meet(db: apsw.Connection, lease: Lease, listed: Sequence[Listed], message_ids: Mapping[str, str]) -> list[Listed]:
    """Give receipts their new identities where they are plainly those of listed messages; return the other messages.

    ``message_ids`` are by identifier. What is listed is not known in the present epoch.
    """
    fenced = Fenced(db, lease)
    by_place: dict[tuple[int, str], list[Listed]] = defaultdict(list)
    for message in listed:
        by_place[message.size, message.internal_date].append(message)
    places = list(by_place)
    wanted = [{message_ids.get(message.identifier, "") for message in by_place[place]} for place in places]
    former: dict[int, list[Former]] = defaultdict(list)
    rows: Any = db.execute(_FORMER, (fenced.source, fenced.folder, json.dumps(places)))
    for key, receipt, digest, message_id in rows:
        if not message_id or message_id in wanted[key]:
            former[key].append(Former(receipt, digest, message_id))
    met: set[str] = set()
    for key, candidates in former.items():
        for receipt, message in pairs(candidates, by_place[places[key]], message_ids):
            _move(fenced, receipt, message)
            met.add(message.identifier)
    _count(fenced, matched=len(met))
    return [message for message in listed if message.identifier not in met]


def pairs(former: Sequence[Former], listed: Sequence[Listed], message_ids: Mapping[str, str]) -> list[tuple[int, Listed]]:
    """Which receipt is whose, of one size and date; what is left out is in doubt, or new. Pure.

    One Message-ID may be on several messages. Where their octets are the same it makes no difference which is which; where
    they are not, or more are listed than are known, only the octets can tell.
    """
    found: list[tuple[int, Listed]] = []
    kept = [each for each in former if each.digest]
    spared = [each for each in former if not each.digest]
    by_id: dict[str, list[Listed]] = defaultdict(list)
    for message in listed:
        by_id[message_ids.get(message.identifier, "")].append(message)
    for message_id, messages in by_id.items():
        same = [each for each in kept if message_id and each.message_id == message_id]
        if same:
            if len(messages) <= len(same) and len({each.digest for each in same}) == 1:
                found += zip((each.receipt for each in same), messages, strict=False)
            continue
        alike = [each for each in spared if each.message_id == message_id != ""]
        if not alike and not any(not each.message_id or not message_id for each in kept):
            alike = [each for each in spared if messages[0].internal_date and not each.message_id]
        for each, message in zip(alike, messages, strict=False):
            spared.remove(each)
            found.append((each.receipt, message))
    return found


def meet_by_octets(fenced: Fenced, batch: Sequence[Captured]) -> int:
    """The same for messages that were fetched; return how many. One that we removed is met only with its own date.

    A later one with the same octets is new mail.
    """
    db = fenced.db
    if not under_way(fenced):
        return 0
    met = 0
    for captured in batch:
        listed = captured.listed
        if db.execute(_KNOWN, (*fenced.key, listed.identifier)).fetchone() is not None:
            continue
        place = (fenced.source, fenced.folder, captured.reference.digest, listed.internal_date)
        row: Any = db.execute(_SAME_DIGEST, place).fetchone()
        if row is None and listed.internal_date:  # of two at the same second and size the other one was spared
            row = db.execute(_SPARED, (fenced.source, fenced.folder, listed.size, listed.internal_date)).fetchone()
        if row is not None:
            _move(fenced, row[0], listed)
            met += 1
    _count(fenced, matched=met, compared=met)
    return met


def under_way(fenced: Fenced) -> bool:
    """True while messages of a former epoch wait to be met again."""
    return fenced.db.execute(_OPEN, (fenced.source, fenced.folder)).fetchone() is not None


def brought(fenced: Fenced, messages: int) -> None:
    """So many were never had before."""
    _count(fenced, fresh=messages)


def end(fenced: Fenced, now: float) -> Repair | None:
    """The folder was read whole: what was not met again has vanished. None where no repair was under way."""
    row: Any = fenced.db.execute(_END, (fenced.source, fenced.folder, now)).fetchone()
    if row is None:
        return None
    fenced.db.execute("DELETE FROM reborn WHERE source = ? AND folder = ?", (fenced.source, fenced.folder))
    return Repair(*row)


def _places(listed: Iterable[Listed]) -> str:
    return json.dumps([(message.size, message.internal_date) for message in listed])


def _move(fenced: Fenced, receipt: int, listed: Listed) -> None:
    identity = (fenced.epoch, listed.identifier, listed.size, listed.internal_date, listed.email_id)
    fenced.db.execute(_MET, (receipt, *identity))
    fenced.db.execute("DELETE FROM reborn WHERE receipt = ?", (receipt,))


def _count(fenced: Fenced, *, matched: int = 0, compared: int = 0, fresh: int = 0) -> None:
    if matched or compared or fresh:
        fenced.db.execute(_COUNT, (fenced.source, fenced.folder, matched, compared, fresh))
