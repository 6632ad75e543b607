"""``/v1/submissions``: what is handed in is kept once, and every fault of what is not is told at once."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from asking import PLAIN, Told, Web, capture, serving
from postroom.app.rest import application, operation
from postroom.app.rest.operation import Bodies
from postroom.model import WorkState
from postroom.outbound import Mark, Passed

FILE = (
    PLAIN
    + """\
[smtp-client-shop]
server = localhost
smtp-connection-security = none
addresses = example.org
[smtp-client-other]
server = localhost
smtp-connection-security = none
addresses = other@example.com
[pop-client-shop]
type = IMAP
server = localhost
mailbox = shop@example.org
password = sesame
[email-processing]
bcc-address = archive@example.org
"""
)
DRAFT = {"from": "shop@example.org", "to": ["ann@example.com"], "subject": "Your order", "text": "It is on its way."}


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    async with serving(tmp_path, FILE) as served:
        yield served


async def submit(web: Web, document: object, **more: Any) -> Told:
    return await web.ask("POST", "/v1/submissions", json=document, **more)


async def test_a_draft_is_accepted_and_can_be_looked_at(web: Web) -> None:
    told = await submit(web, DRAFT)
    assert told.status == 202
    made = told.json
    assert told.headers["Location"] == f"/v1/submissions/{made['id']}"
    assert (made["state"], made["client"], made["subject"]) == ("queued", "smtp-client-shop", "Your order")
    assert {known["address"]: known["state"] for known in made["recipients"]} == {
        "ann@example.com": "pending",
        "archive@example.org": "pending",
    }
    found = (await web.ask("GET", told.headers["Location"])).json
    assert found == {**made, "history": []}
    raw = await web.ask("GET", f"{told.headers['Location']}/raw")
    assert raw.headers["Content-Type"].startswith("message/rfc822")
    assert b"To: ann@example.com\r\n" in raw.octets
    assert b"archive@" not in raw.octets


async def test_the_same_key_is_the_same_submission(web: Web) -> None:
    headers = {"Idempotency-Key": "order-17"}
    answers = await asyncio.gather(*(submit(web, DRAFT, headers=headers) for _ in range(10)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    other = await submit(web, {**DRAFT, "subject": "Another"}, headers=headers)
    assert (other.status, other.json["type"]) == (422, "/problems/invalid")
    assert len((await web.ask("GET", "/v1/submissions")).json["items"]) == 1
    another = await web.key("application")
    assert (await submit(web, {**DRAFT, "subject": "Another"}, headers=headers, key=another)).status == 202


async def test_all_faults_are_told_at_once_with_their_place(web: Web) -> None:
    told = await submit(web, {"from": "nobody", "to": ["a@b@c", 7], "subject": "x\r\nBcc: y@z", "txt": "", "text": 5})
    assert told.status == 422
    assert told.headers["Content-Type"].startswith("application/problem+json")
    places = {each["pointer"] for each in told.json["errors"]}
    assert places >= {"#/from", "#/to/0", "#/to/1", "#/subject", "#/txt", "#/text"}
    assert (await web.ask("GET", "/v1/submissions")).json["items"] == []


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        pytest.param({"from": "x@nowhere.test"}, "#/from", id="no account sends for it"),
        pytest.param({"client": "smtp-client-none"}, "#/client", id="no such client"),
        pytest.param({"send_at": "tomorrow"}, "#/send_at", id="no moment"),
        pytest.param({"send_at": "2026-11-30T09:00:00"}, "#/send_at", id="a moment without its zone"),
        pytest.param({"in_reply_to_message": "0" * 8}, "#/in_reply_to_message", id="no such message"),
        pytest.param({"raw": "?"}, "#/raw", id="no base64"),
    ],
)
async def test_what_stands_beside_the_draft_is_checked_as_well(web: Web, change: dict[str, Any], pointer: str) -> None:
    told = await submit(web, {**DRAFT, **change})
    assert told.status == 422
    assert pointer in [each["pointer"] for each in told.json["errors"]]


async def test_a_raw_message_is_sent_as_it_is(web: Web) -> None:
    octets = (
        b"From: shop@example.org\r\nTo: ann@example.com\r\nBcc: hidden@example.com\r\nMessage-ID: <1@x>\r\nDate: x\r\n\r\n.\r\n"
    )
    told = await submit(web, {"raw": base64.b64encode(octets).decode()})
    assert told.status == 202
    people = {known["address"] for known in told.json["recipients"]}
    assert people == {"ann@example.com", "hidden@example.com", "archive@example.org"}
    raw = (await web.ask("GET", f"/v1/submissions/{told.json['id']}/raw")).octets
    assert raw == octets.replace(b"Bcc: hidden@example.com\r\n", b"")
    told = await submit(web, {"raw": base64.b64encode(octets).decode(), "to": ["only@example.com"], "from": "other@example.com"})
    assert {known["address"] for known in told.json["recipients"]} == {"only@example.com", "archive@example.org"}
    assert told.json["client"] == "smtp-client-other"


async def test_an_answer_threads_and_comes_from_the_address_that_was_written_to(web: Web) -> None:
    header = b"From: Ann <ann@example.com>\r\nTo: shop@example.org\r\nSubject: Where?\r\nMessage-ID: <q@example.com>\r\n"
    original = header + b"\r\nWhere is it?\r\n"
    [message] = await capture(web.core, "pop-client-shop", [original], address="shop@example.org")
    told = await submit(web, {"in_reply_to_message": message, "text": "On its way.", "quote": True})
    assert told.status == 202, told.json
    raw = (await web.ask("GET", f"/v1/submissions/{told.json['id']}/raw")).octets
    for line in (b"In-Reply-To: <q@example.com>", b"Subject: Re: Where?", b"From: shop@example.org", b"To: Ann <ann@example.com>"):
        assert line in raw
    assert b"> Where is it?" in raw
    assert told.json["in_reply_to_message"] == message


async def test_what_is_to_be_sent_later_waits(web: Web) -> None:
    told = await submit(web, {**DRAFT, "send_at": "2030-01-01T00:00:00+01:00"})
    assert (told.json["send_at"], told.json["next_attempt_at"]) == ("2029-12-31T23:00:00.000Z",) * 2
    assert await web.core.store.outbox.take("smtp-client-shop", 10) == []


async def test_it_is_taken_back_replayed_and_resolved(web: Web) -> None:
    made = (await submit(web, DRAFT)).json["id"]
    told = await web.ask("POST", f"/v1/submissions/{made}/cancel")
    assert (told.status, told.json["state"]) == (200, "cancelled")
    assert (await web.ask("POST", f"/v1/submissions/{made}/cancel")).status == 409
    assert (await web.ask("POST", f"/v1/submissions/{made}/replay", json={})).status == 409
    made = (await submit(web, DRAFT)).json["id"]
    [outgoing] = await web.core.store.outbox.take("smtp-client-shop", 10)
    await web.core.store.outbox.record([Mark(outgoing.work, outgoing.numbers)], [])
    await web.core.store.reclaim(outgoing.work.kind, "smtp-client-shop", own=True)
    [outgoing] = await web.core.store.outbox.take("smtp-client-shop", 10)
    await web.core.store.outbox.record([], [Passed(outgoing.work, (), WorkState.WAITING)])
    assert (await web.ask("GET", "/v1/submissions?state=in%20doubt")).json["items"][0]["id"] == made
    told = await web.ask("POST", f"/v1/submissions/{made}/resolve", json={"outcome": "sent", "recipient": "ann@example.com"})
    assert {known["address"]: known["state"] for known in told.json["recipients"]}["ann@example.com"] == "sent"
    told = await web.ask("POST", f"/v1/submissions/{made}/resolve", json={"outcome": "failed"})
    assert told.status == 200
    history = (await web.ask("GET", f"/v1/submissions/{made}")).json["history"]
    assert [each["event"] for each in history].count("resolved") == 2


async def test_pages_and_filters(web: Web) -> None:
    ids = [(await submit(web, {**DRAFT, "to": [f"r{number}@example.com"]})).json["id"] for number in range(5)]
    first = (await web.ask("GET", "/v1/submissions?limit=2")).json
    assert [each["id"] for each in first["items"]] == ids[:2:-1]
    second = (await web.ask("GET", f"/v1/submissions?limit=5&after={first['next']}")).json
    assert ([each["id"] for each in second["items"]], second["next"]) == (ids[2::-1], None)
    one = (await web.ask("GET", "/v1/submissions?recipient=R3@example.com")).json["items"]
    assert [each["id"] for each in one] == [ids[3]]


async def test_an_application_sees_its_own_alone(web: Web) -> None:
    mine, other = await web.key("application"), await web.key("application", name="other")
    made = (await submit(web, DRAFT, key=mine)).json["id"]
    assert (await web.ask("GET", f"/v1/submissions/{made}", key=mine)).status == 200
    assert (await web.ask("GET", f"/v1/submissions/{made}", key=other)).status == 404
    assert (await web.ask("POST", f"/v1/submissions/{made}/cancel", key=other)).status == 404
    assert (await web.ask("GET", "/v1/submissions", key=other)).json["items"] == []
    assert len((await web.ask("GET", "/v1/submissions")).json["items"]) == 1
    reader = await web.key("reader")
    assert (await submit(web, DRAFT, key=reader)).status == 403


async def test_whose_a_submission_is_cannot_be_told_from_one_that_never_was(web: Web) -> None:
    mine, other = await web.key("application"), await web.key("application", name="other")
    made = (await submit(web, DRAFT, key=mine)).json["id"]
    never = made[:-4] + ("0000" if made[-4:] != "0000" else "1111")
    for path in ("", "/raw"):
        strange, nothing = [await web.ask("GET", f"/v1/submissions/{each}{path}", key=other) for each in (made, never)]
        assert strange.json["detail"].replace(made, never) == nothing.json["detail"]


@pytest.mark.parametrize("member", ["in_reply_to_message", "forward_message"])
async def test_a_key_that_names_clients_quotes_no_mail_of_others(web: Web, member: str) -> None:
    [message] = await capture(web.core, "pop-client-strange", [b"From: ann@example.com\r\n\r\nThe salaries.\r\n"])
    limited, chief = await web.key("application", clients=("pop-client-shop",)), await web.key("application", name="all")
    document = {**DRAFT, member: message, "quote": True}
    del document["subject"]
    told = await submit(web, document, key=limited)
    assert told.status == 422
    assert [(each["pointer"], each["detail"]) for each in told.json["errors"]] == [(f"#/{member}", "no message has this id")]
    assert (await submit(web, document, key=chief)).status == 202
    for beginning in (message[:8], message[:-1], message[:1]):  # the time in it can be guessed
        assert (await submit(web, {**document, member: beginning}, key=chief)).status == 422


async def test_half_a_character_in_a_name_is_a_fault_like_any_other(web: Web) -> None:
    octets = b'{"raw": "YQ==", "\\ud800": 1}'
    told = await web.ask("POST", "/v1/submissions", data=octets, headers={"Content-Type": "application/json"})
    assert told.status == 422, told
    assert {"pointer": "#/?", "detail": "goes with a draft, not with raw"}.items() <= told.json["errors"][0].items()


async def test_bodies_have_so_much_memory_all_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many come at once: an application that sends much must not take the memory of those that read."""
    made: list[Bodies] = []
    monkeypatch.setattr(operation, "_ROOM", 0)
    monkeypatch.setattr(application, "Bodies", lambda: made.append(Bodies()) or made[0])
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b'{"from": "shop@example.org", "to": ["ann@example.com"], "text": "' + b"x" * 800
        await go_on.wait()
        yield b'"}'

    async with serving(tmp_path, FILE.replace("[web]", "[web]\nmaximum-request-size = 1k")) as web:  # of which two fit
        kind = {"Content-Type": "application/json"}
        slowly = [asyncio.create_task(web.ask("POST", "/v1/submissions", data=slow(), headers=kind)) for _ in range(2)]
        async with asyncio.timeout(10):
            while made[0].octets < 1600:  # noqa: ASYNC110 - of octets that cross a real socket
                await asyncio.sleep(0)
        refused = await submit(web, {**DRAFT, "text": "x" * 800})
        assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
        assert "Too much is sent here at once" in refused.json["detail"]
        go_on.set()
        assert [(await told).status for told in slowly] == [202, 202]
        assert (await submit(web, {**DRAFT, "text": "x" * 800})).status == 202
        assert made[0].octets == 0


async def test_the_sender_is_told_of_new_mail(web: Web) -> None:
    told: list[str] = []
    web.core.hears.append(told.append)
    await submit(web, DRAFT)
    assert told == ["smtp-client-shop"]


async def test_a_key_that_names_clients_sends_by_them_alone_and_sees_nothing_of_others(web: Web) -> None:
    made = (await submit(web, DRAFT)).json["id"]
    bound = await web.key("application", name="bound", clients=("smtp-client-other",))
    refused = await submit(web, DRAFT, key=bound)
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "#/from")
    assert "does not name it" in refused.json["errors"][0]["detail"]
    refused = await submit(web, {**DRAFT, "client": "smtp-client-shop"}, key=bound)
    assert refused.status == 422
    taken = await submit(web, {**DRAFT, "from": "other@example.com"}, key=bound)
    assert (taken.status, taken.json["client"]) == (202, "smtp-client-other")
    reader = await web.key("reader", name="reader-of-one", clients=("smtp-client-other",))
    assert [each["id"] for each in (await web.ask("GET", "/v1/submissions", key=reader)).json["items"]] == [taken.json["id"]]
    assert (await web.ask("GET", f"/v1/submissions/{made}/raw", key=reader)).status == 404
    blind = await web.key("application", name="of-a-mailbox", clients=("pop-client-shop",))
    assert (await submit(web, DRAFT, key=blind)).status == 422


async def test_what_stands_beside_the_draft_and_the_draft_are_told_of_together(web: Web) -> None:
    told = await submit(web, {**DRAFT, "send_at": "tomorrow", "client": "none", "to": ["a@b@c"], "txt": ""})
    assert {each["pointer"] for each in told.json["errors"]} == {"#/send_at", "#/client", "#/to/0", "#/txt"}


@pytest.mark.parametrize("state", ["in-doubt", "in doubt"])
async def test_a_doubt_is_asked_for_with_a_blank_or_without(web: Web, state: str) -> None:
    assert (await web.ask("GET", "/v1/submissions", params={"state": state})).json["items"] == []


async def test_problems_name_what_is_valid_and_no_command(web: Web) -> None:
    told = await web.ask("GET", "/v1/submissions", params={"state": "gone", "limit": "0"})
    valid = {each["parameter"]: each["valid"] for each in told.json["errors"]}
    assert "'queued'" in valid["state"]
    assert valid["limit"] == "1 or more"
    where = (await submit(web, DRAFT)).headers["Location"]
    assert (await web.ask("POST", f"{where}/cancel")).status == 200
    told = await web.ask("POST", f"{where}/replay", json={})
    assert told.status == 409
    assert "postroom" not in told.json["detail"]
    assert "GET it" in told.json["detail"]
