"""A store of the first schema, in the middle of what a reset meant then, goes on with a repair of today."""

from __future__ import annotations

import os
from pathlib import Path

from former import first_schema

from fakes import START, HandClock
from postroom.model import FirstReading, Listed, Position, Repair
from postroom.store import Store
from postroom.store.keys import Key


async def test_p21_a_repair_that_was_begun_by_a_former_version(tmp_path: Path) -> None:
    key = Key(os.urandom(32))
    with first_schema(tmp_path, key) as db:
        db.execute("INSERT INTO sources VALUES (1, 'IMAP', 'mail.example.org', 'a')")
        db.execute("INSERT INTO folders (source, folder, epoch, state) VALUES (1, 'INBOX', 2, '[2, 0]'), (1, 'New', 1, NULL)")
        for number in (1, 2):
            db.execute(
                "INSERT INTO receipts (source, folder, epoch, identifier, digest, size, internal_date, disposition, captured_at)"
                "VALUES (1, 'INBOX', 1, ?, ?, 10, 'day', 'keep', 0)",
                (f"1/{number}", bytes([number])),
            )
            db.execute(
                'INSERT INTO messages (id, public_id, client, segment, "offset", length, digest, received, message_id)'
                "VALUES (?, ?, 'a', 1, 0, 10, ?, 0, ?)",
                (number, str(number), bytes([number]), f"<{number}@x>"),
            )
        db.execute("INSERT INTO reborn SELECT id, source, folder, digest, internal_date, 0 FROM receipts")
    store = Store(tmp_path, HandClock(), f"file:{tmp_path / 'vault.key'}", {})
    inbox, new = await store.acquire(1, ["INBOX", "New"])
    begun = FirstReading("all", 0, 0, 0, 0.0, 0)  # whatever it was, it was read before there was a choice
    assert await store.position(inbox) == Position(2, "[2, 0]", begun, repairing=True)
    assert await store.position(new) == Position(1, None)
    listed = [Listed("2/7", 10, "day"), Listed("2/8", 10, "day")]
    assert await store.nameless(inbox, listed) == listed
    assert await store.meet(inbox, listed, {"2/7": "<2@x>", "2/8": "<3@x>"}) == [listed[1]]
    assert await store.advance(inbox, "after", read_whole=True) == Repair("", 0, 1, 0, 0, 1, START)
    store.close()
