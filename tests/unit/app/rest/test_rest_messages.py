"""``/v1/messages``: pages, filters, facts, octets."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

from asking import Web, capture
from fakes import START
from postroom.app.operations.messages import as_dict
from postroom.model import Addressing, Captured, Disposition, Facts, Listed, WorkKind

A, B = "pop-client-a", "pop-client-b"


def letters(count: int, *, mark: str = "") -> list[bytes]:
    return [f"Subject: {mark}{number}\r\n\r\nHello {number}\r\n".encode() for number in range(count)]


async def ids(web: Web, path: str, key: str | None = None) -> list[str]:
    told = await web.ask("GET", path, key=key)
    assert told.status == 200, told
    return [item["id"] for item in told.json["items"]]


async def test_the_newest_first_page_after_page(web: Web) -> None:
    known = await capture(web.core, A, letters(7))
    found, path = [], "/v1/messages?limit=3"
    pages = 0
    while path:
        told = (await web.ask("GET", path)).json
        found += [item["id"] for item in told["items"]]
        pages += 1
        path = f"/v1/messages?limit=3&after={told['next']}" if told["next"] else ""
    assert found == known[::-1]
    assert pages == 3


async def test_what_arrives_meanwhile_shifts_no_page(web: Web) -> None:
    known = await capture(web.core, A, letters(4))
    first = (await web.ask("GET", "/v1/messages?limit=2")).json
    await capture(web.core, A, letters(2, mark="new"), first=5)
    assert await ids(web, f"/v1/messages?after={first['next']}") == known[1::-1]


async def test_filters(web: Web) -> None:
    old = await capture(web.core, A, letters(2), address="Support@example.test")
    web.clock.advance(3600)
    new = await capture(web.core, B, letters(2), address="orders@example.test")
    assert await ids(web, f"/v1/messages?client={A}") == old[::-1]
    assert await ids(web, "/v1/messages?address=support@EXAMPLE.test") == old[::-1]
    assert await ids(web, "/v1/messages?since=2023-11-14T22:13:21Z") == new[::-1]  # a second after START
    assert await ids(web, "/v1/messages?since=2023-11-15T00:13:20%2B01:00") == new[::-1]
    assert await ids(web, f"/v1/messages?client={B}&address=support@example.test") == []
    assert START == 1_700_000_000.0


async def test_one_message_as_the_command_line_tells_it(web: Web) -> None:
    (one,) = await capture(web.core, A, letters(1))
    found = await web.core.store.message(one)
    assert found is not None
    told = await web.ask("GET", f"/v1/messages/{one}")
    assert told.json == as_dict(found[0])
    assert told.json["handled"] is None


async def test_octets(web: Web) -> None:
    octets = b"Subject: x\r\n\r\n" + bytes(range(256)) * 5000
    (one,) = await capture(web.core, A, [octets])
    told = await web.ask("GET", f"/v1/messages/{one}/raw")
    assert (told.status, told.octets) == (200, octets)
    assert told.headers["Content-Type"] == "message/rfc822"
    digest = base64.b64encode(hashlib.sha256(octets).digest()).decode()
    assert told.headers["Repr-Digest"] == f"sha-256=:{digest}:"


async def test_a_copy_has_the_header_of_its_recipient(web: Web) -> None:
    store = web.core.store
    (lease,) = await store.acquire(await store.source("IMAP", "h", "u"), ["INBOX"])
    octets = letters(1)[0]
    batch = [Captured(Listed("1/1", len(octets), "day"), store.blobs.append(octets), Disposition.KEEP)]
    await store.capture(lease, A, batch, Addressing("a@x.test", "X-Genesys-To", 5))
    work = await store.claim(WorkKind.PROCESS, 1)
    await store.finish_process([(work[0], replace(Facts(subject="0"), copies=("b@x.test",)))])
    (row,) = [row async for row in store.messages(client=None, newest_first=True, limit=None)]
    copy = row.copies[0].id
    told = await web.ask("GET", f"/v1/messages/{copy}/raw")
    assert told.octets == b"X-Genesys-To: b@x.test\r\n" + octets
    facts = (await web.ask("GET", f"/v1/messages/{copy}")).json
    assert (facts["id"], facts["copy_of"], facts["recipient"]) == (copy, row.id, "b@x.test")


async def test_a_key_that_names_clients_sees_theirs_alone(web: Web) -> None:
    (mine,), (other,) = await capture(web.core, A, letters(1)), await capture(web.core, B, letters(1))
    web.core.live.configuration = replace(web.core.live.configuration, sections=(A, B))
    key = await web.key("application", clients=("a",))
    assert await ids(web, "/v1/messages", key) == [mine]
    assert await ids(web, "/v1/messages?client=b", key) == []
    assert (await web.ask("GET", f"/v1/messages/{mine}/raw", key=key)).status == 200
    for path in (f"/v1/messages/{other}", f"/v1/messages/{other}/raw"):
        assert (await web.ask("GET", path, key=key)).status == 404


async def test_what_is_not_there(web: Web) -> None:
    nowhere = "01890000-0000-7000-8000-000000000000"
    assert (await web.ask("GET", f"/v1/messages/{nowhere}")).status == 404
    told = await web.ask("GET", f"/v1/messages?after={nowhere}")
    assert told.json["errors"] == [{"parameter": "after", "detail": "after is not known here"}]
    told = await web.ask("GET", "/v1/messages?client=nobody")
    assert told.json["errors"] == [{"parameter": "client", "detail": "client is not the name of one client"}]
