"""A store of the version that only read goes on with all it had, and sends from then on."""

from __future__ import annotations

from pathlib import Path

import pytest

from asking import serving
from fakes import HandClock
from outgoing import handed
from postroom.model import Captured, Condition, Disposition, Facts, Health, Listed, WorkKind
from postroom.store import Store, database

BEFORE = 7  # schemas until then
MAIL = [b"Subject: %d\r\nFrom: ann@example.com\r\nMessage-ID: <%d@x>\r\n\r\nbody %d\r\n" % (n, n, n) for n in range(1, 6)]


def store_of(folder: Path) -> Store:
    return Store(folder, HandClock(), f"file:{folder / 'vault.key'}", {})


async def former(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store as that version left it: five messages, one of them understood, two just being."""
    scripts = database._scripts()[:BEFORE]
    with monkeypatch.context() as patch:
        patch.setattr(database, "_scripts", lambda: scripts)
        store = store_of(folder)
        (lease,) = await store.acquire(await store.source("IMAP", "mail.example.org", "a"), ["INBOX"])
        batch = [
            Captured(Listed(f"1/{number}", len(octets), "day"), store.blobs.append(octets), Disposition.KEEP)
            for number, octets in enumerate(MAIL, 1)
        ]
        await store.capture(lease, "pop-client-a", batch)
        await store.advance(lease, "up to 5", read_whole=True)
        await store.report(Condition("pop-client-a", Health.WORKING, proved_at=1.0))
        await store.release([lease])
        db = store._db
        await db.run(lambda db: db.execute("UPDATE messages SET subject = '1' WHERE id = 1"))
        await db.run(lambda db: db.execute("UPDATE work SET state = 'done' WHERE subject = 1"))
        await db.run(lambda db: db.execute("UPDATE work SET state = 'leased', holder = 'gone' WHERE subject IN (2, 3)"))
        assert await db.run(lambda db: db.execute("PRAGMA user_version").get, writes=False) == BEFORE
        store.close()


async def test_what_was_captured_waits_and_was_done_stays_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await former(tmp_path, monkeypatch)
    store = store_of(tmp_path)
    rows = [row async for row in store.messages(client=None, newest_first=False, limit=None)]
    found = [await store.message(row.id) for row in rows]
    assert [store.blobs.read(each[1]) for each in found if each is not None] == MAIL
    assert rows[0].facts.subject == "1"
    (lease,) = await store.acquire(await store.source("IMAP", "mail.example.org", "a"), ["INBOX"])
    position = await store.position(lease)
    assert (position.state, position.epoch) == ("up to 5", 1)
    assert await store.unknown(lease, [Listed("1/5", len(MAIL[4]), "day")]) == ([], [])
    assert [each.health for each in (await store.conditions()).values()] == [Health.WORKING]
    await store.reclaim(WorkKind.PROCESS)
    claimed = await store.claim(WorkKind.PROCESS, 10)
    assert [piece.subject for piece in claimed] == [2, 3, 4, 5]
    await store.finish_process([(piece, Facts(subject=str(piece.subject))) for piece in claimed])
    assert not await store.claim(WorkKind.PROCESS, 10)
    assert await store.outbox.hand_in(handed(b"new"))
    assert [one.public_id for one in await store.outbox.take("smtp-client-a", 5)]
    store.close()


async def test_what_was_captured_before_is_read_by_pull_and_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    data.mkdir()
    await former(data, monkeypatch)
    text = f"""\
[settings]
data-directory = {data}
[web]
listen = 127.0.0.1:0
[smtp-client]
server = localhost
smtp-connection-security = none
"""
    async with serving(tmp_path, text) as web:
        items = (await web.ask("GET", "/v1/messages")).json["items"]
        assert len(items) == 5
        answer = {"in_reply_to_message": items[0]["id"], "from": "a@example.org", "text": "Thanks.", "quote": True}
        told = await web.ask("POST", "/v1/submissions", json=answer)
        assert told.status == 202, told.json
        raw = (await web.ask("GET", f"{told.headers['Location']}/raw")).octets
        assert b"> body 5" in raw
