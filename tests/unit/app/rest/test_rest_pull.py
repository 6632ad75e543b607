"""``/v1/pull``: lease, acknowledge, refuse, extend, long polls, keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from asking import PLAIN, Told, Web, capture, serving
from postroom.app.operations import pull as operation
from postroom.app.operations.keys import create_key
from postroom.app.operations.roles import Role
from postroom.engine.work import Worker

A = "pop-client-a"
TEXT = PLAIN + "[pull-tickets]\nmaximum-attempts = 2\n[pull-Other]\nlease-time = 1h\n"
MAIL = (
    b'From: "Ann, from X" <ann@x.org>, b@x.org\r\nReply-To: Team <team@x.org>\r\nTo: Desk <desk@y.org>\r\nSubject: Hello\r\n'
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n"
)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Web]:
    async with serving(tmp_path, TEXT) as web:
        await work(web)
        yield web


async def work(web: Web) -> None:
    """What the service does with what was captured."""
    core = web.core
    await Worker(core.store, core.clock, core.observer, lambda: core.live.configuration.applications, core.arrivals).drain()


async def arrive(web: Web, *octets: bytes) -> list[str]:
    first = 1 + (await web.core.store.counts())[A].messages if A in await web.core.store.counts() else 1
    ids = await capture(web.core, A, list(octets or [MAIL]), first=first)
    await work(web)
    return ids


async def lease(web: Web, application: str = "tickets", key: str | None = None, **wish: Any) -> Told:
    return await web.ask("POST", f"/v1/pull/{application}/lease", key=key, json=wish)


async def tokens(web: Web, **wish: Any) -> list[str]:
    told = await lease(web, **wish)
    assert told.status == 200, told
    return [item["token"] for item in told.json["items"]]


async def end(web: Web, verb: str, tokens: Sequence[str], **more: Any) -> Told:
    return await web.ask("POST", f"/v1/pull/tickets/{verb}", json={"tokens": tokens, **more})


async def test_a_message_has_all_that_an_answer_needs(desk: Web) -> None:
    [id_] = await arrive(desk)
    [item] = (await lease(desk)).json["items"]
    assert item["from"] == {"name": "Ann, from X", "address": "ann@x.org"}
    assert item["reply_to"] == [{"name": "Team", "address": "team@x.org"}]
    assert (item["to"], item["cc"]) == ([{"name": "Desk", "address": "desk@y.org"}], [])
    assert (item["text"], item["text_cut"], item["attempts"], item["refusal"]) == ("Grüße", False, 1, None)
    assert item["leased_until"] == "2023-11-14T22:18:20.000Z"  # five minutes after the start
    message = item["message"]
    assert (message["id"], message["client"], message["folder"], message["subject"]) == (id_, A, "INBOX", "Hello")
    raw = await desk.ask("GET", item["raw"])
    assert (raw.status, raw.octets) == (200, MAIL)
    assert (await end(desk, "acknowledge", [item["token"]])).json == {"items": [{"token": item["token"], "result": "done"}]}


async def test_each_token_is_answered_for(desk: Web) -> None:
    await arrive(desk, MAIL, MAIL, MAIL)
    one, two, three = await tokens(desk)
    told = await end(desk, "acknowledge", [one, "0-0", "nonsense"])
    assert [item["result"] for item in told.json["items"]] == ["done", "stale", "stale"]
    told = await end(desk, "refuse", [one, two], reason="not now", retry_after=0)
    assert [item["result"] for item in told.json["items"]] == ["stale", "done"]
    told = await end(desk, "refuse", [three], dead=True, reason="no such ticket")
    assert [item["result"] for item in told.json["items"]] == ["dead"]
    [again] = (await lease(desk)).json["items"]
    assert (again["attempts"], again["refusal"]) == (2, "not now")
    letters = (await desk.ask("GET", "/v1/pull/tickets/dead")).json["items"]
    assert [(letter["subject"], letter["reason"]) for letter in letters] == [("Hello", "no such ticket")]
    assert [line["application"] for line in desk.log if line["event"] == "dead_letters"] == ["pull-tickets"]
    assert (await desk.ask("POST", "/v1/pull/tickets/replay")).json == {"messages": 1}
    assert len(await tokens(desk)) == 1


async def test_a_stale_token_is_a_conflict(desk: Web) -> None:
    await arrive(desk)
    [late] = await tokens(desk, lease_seconds=10)
    assert (await end(desk, "extend", [late], seconds=20)).status == 200
    desk.clock.advance(19)
    assert await tokens(desk) == []
    desk.clock.advance(1)
    [_held] = await tokens(desk)
    for verb, more in (("acknowledge", {}), ("refuse", {}), ("extend", {"seconds": 60})):
        told = await end(desk, verb, [late], **more)
        assert (told.status, told.json["type"]) == (409, "/problems/conflict")
        assert [error["pointer"] for error in told.json["errors"]] == ["#/tokens/0"]


async def test_a_long_poll_ends_when_a_message_is_processed(desk: Web) -> None:
    """The clock stands still: nothing but the arrival can end it."""
    waiting = asyncio.create_task(lease(desk, wait=60))
    await desk.clock.sleeper()
    [id_] = await arrive(desk)
    async with asyncio.timeout(10):
        told = await waiting
    assert [item["message"]["id"] for item in told.json["items"]] == [id_]
    assert not desk.clock.slept[-1] > 1


async def test_a_long_poll_notices_what_another_process_brings(desk: Web) -> None:
    waiting = asyncio.create_task(lease(desk, wait=60))
    await desk.clock.sleeper()
    core = desk.core
    await capture(core, A, [MAIL])
    await Worker(core.store, core.clock, core.observer, lambda: core.live.configuration.applications).drain()
    assert await desk.clock.skip() <= 1
    assert len((await waiting).json["items"]) == 1


async def test_a_long_poll_ends_with_its_time_or_the_service(desk: Web) -> None:
    waiting = asyncio.create_task(lease(desk, wait=2.5))
    assert [await desk.clock.skip() for _ in range(3)] == [1, 1, 0.5]
    assert (await waiting).json == {"items": []}
    waiting = asyncio.create_task(lease(desk, wait=60))
    await desk.clock.sleeper()
    desk.core.arrivals.end()
    assert (await waiting).json == {"items": []}


async def test_a_consumer_that_went_away_gets_nothing(desk: Web) -> None:
    waiting = asyncio.create_task(lease(desk, wait=60))
    await desk.clock.sleeper()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    while not any(line["event"] == "request" and line["operation"] == "lease_messages" for line in desk.log):
        desk.clock.advance(1)
        await asyncio.sleep(0)
    await arrive(desk)
    [item] = (await lease(desk)).json["items"]
    assert item["attempts"] == 1


async def test_what_was_leased_for_a_consumer_that_went_away_does_not_count(desk: Web) -> None:
    await arrive(desk)
    tickets = operation.find_application(desk.core.live, "tickets")

    async def gone() -> bool:
        return True

    assert await operation.lease(desk.core, tickets, operation.Wish("c"), gone) == []
    [item] = (await lease(desk)).json["items"]
    assert item["attempts"] == 1


async def test_octets_that_the_disk_lost_hold_up_no_other_message(desk: Web, tmp_path: Path) -> None:
    await arrive(desk)
    for segment in (tmp_path / "data" / "segments").iterdir():
        segment.unlink()
    [item] = (await lease(desk)).json["items"]
    assert (item["message"]["subject"], item["text"], item["text_cut"], item["from"]) == ("Hello", "", True, None)


async def test_applications_are_found_in_any_spelling_and_have_their_own_lease_time(desk: Web) -> None:
    await arrive(desk)
    for name in ("Other", "other", "pull-other", "PULL-OTHER"):
        told = await lease(desk, name)
        assert told.status == 200
        for item in told.json["items"]:
            assert item["leased_until"] == "2023-11-14T23:13:20.000Z"
    assert (await lease(desk, "nobody")).status == 404


async def test_a_key_reads_for_its_applications_alone(desk: Web) -> None:
    await arrive(desk)
    _, bound = await create_key(desk.core, "bound", Role.APPLICATION, (), 0, ["Other"])
    _, narrow = await create_key(desk.core, "narrow", Role.APPLICATION, (), 0)
    assert (await lease(desk, "tickets", bound.reveal())).status == 404
    assert len((await lease(desk, "other", bound.reveal())).json["items"]) == 1
    assert len((await lease(desk, "tickets", narrow.reveal())).json["items"]) == 1
    listed = (await desk.ask("GET", "/v1/pull", key=bound.reveal())).json["items"]
    assert [(each["application"], each["leased"]) for each in listed] == [("pull-other", 1)]
    (kept,) = [key for key in await desk.core.store.api_keys.all() if key.name == "bound"]
    assert kept.applications == ("pull-other",)


@pytest.mark.parametrize(
    "wish",
    [
        {"limit": 0},
        {"limit": 101},
        {"wait": 61},
        {"wait": -1},
        {"lease_seconds": 0},
        {"lease_seconds": 1e9},
        {"limit": "1"},
        {"x": 1},
    ],
    ids=["no-limit", "large-limit", "long-wait", "negative-wait", "no-lease", "long-lease", "text", "strange"],
)
async def test_bounds(desk: Web, wish: dict[str, Any]) -> None:
    assert (await lease(desk, **wish)).status == 422


async def test_what_is_removed_from_the_file_is_not_lost(desk: Web, tmp_path: Path) -> None:
    await arrive(desk)
    (tmp_path / "postroom.ini").write_text(PLAIN + "[pull-tickets]\n")
    desk.core.live.reload()
    [second] = await arrive(desk)
    assert (await lease(desk, "other")).status == 404
    listed = (await desk.ask("GET", "/v1/pull")).json["items"]
    assert [(each["application"], each["state"], each["waiting"]) for each in listed] == [
        ("pull-tickets", "configured", 2),
        ("pull-other", "absent", 1),
    ]
    (tmp_path / "postroom.ini").write_text(TEXT)
    desk.core.live.reload()
    await work(desk)
    items = (await lease(desk, "other")).json["items"]
    assert [item["message"]["id"] for item in items][1:] == [second]  # it was absent when this came
