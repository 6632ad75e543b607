"""What stands before every route: keys, rates, ids, problems, the log."""

from __future__ import annotations

import re
from html import escape

import pytest

from asking import Told, Web, capture
from postroom import events
from postroom.app.operations.keys import digest_of, new_key
from postroom.app.rest.problems import KINDS, SCHEMA
from postroom.errors import StoreError

LIST = "/v1/messages"


def problem(told: Told, status: int) -> dict[str, object]:
    """A problem of the declared shape."""
    assert told.status == status, told
    assert told.headers["Content-Type"] == "application/problem+json"
    found: dict[str, object] = told.json
    assert set(SCHEMA["required"]) <= set(found) <= set(SCHEMA["properties"])
    assert found["status"] == status
    assert found["type"] in {f"/problems/{name}" for name in KINDS}
    assert found["instance"] == f"urn:postroom:request:{told.headers['X-Request-Id']}"
    return found


# --- keys


async def test_without_a_key_the_remedy_is_told(web: Web) -> None:
    told = await web.ask("GET", LIST, key="")
    assert "postroom keys create" in str(problem(told, 401)["detail"])
    assert told.headers["WWW-Authenticate"] == 'Bearer realm="postroom"'


NONE = {"short": "pr_", "strange": "xyz", "unknown": new_key().reveal(), "torn": new_key().reveal()[:-1] + "!", "eight-bit": "é"}


@pytest.mark.parametrize("text", NONE.values(), ids=NONE)
async def test_a_key_that_is_none(web: Web, text: str) -> None:
    told = await web.ask("GET", LIST, key="", headers={"Authorization": f"Bearer {text}"})
    assert 'error="invalid_token"' in told.headers["WWW-Authenticate"]
    assert text not in str(problem(told, 401))


async def test_another_scheme(web: Web) -> None:
    problem(await web.ask("GET", LIST, key="", headers={"Authorization": f"Basic {web.bearer}"}), 401)


async def test_a_revoked_key_ends_at_once(web: Web) -> None:
    key = await web.key("reader", name="gone")
    assert (await web.ask("GET", LIST, key=key)).status == 200
    assert await web.core.store.api_keys.revoke("gone")
    problem(await web.ask("GET", LIST, key=key), 401)
    assert not await web.core.store.api_keys.revoke("gone")
    await web.key("reader", name="gone")  # the name is free again


def test_a_key_carries_its_checksum() -> None:
    key = new_key().reveal()
    assert re.fullmatch(r"pr_[0-9A-Za-z]{49}", key)
    assert digest_of(key) is not None
    other = "A" if key[10] != "A" else "B"
    assert digest_of(key[:10] + other + key[11:]) is None
    assert len({new_key().reveal() for _ in range(1000)}) == 1000


async def test_when_a_key_was_used_is_kept_coarsely(web: Web) -> None:
    async def used() -> float | None:
        (key,) = await web.core.store.api_keys.all()
        return key.used_at

    assert await used() is None
    await web.ask("GET", LIST)
    first = await used()
    web.clock.advance(60)
    await web.ask("GET", LIST)
    assert await used() == first == web.clock.now() - 60
    web.clock.advance(600)
    await web.ask("GET", LIST)
    assert await used() == web.clock.now()


# --- rates


async def test_a_key_has_a_rate(web: Web) -> None:
    key = await web.key("reader", per_minute=60)  # six at once, then one a second
    answers = [await web.ask("GET", LIST, key=key) for _ in range(7)]
    assert [told.status for told in answers] == [200] * 6 + [429]
    assert [told.headers["RateLimit-Policy"] for told in answers] == ['"key";q=6;w=6'] * 7
    assert answers[0].headers["RateLimit"] == '"key";r=5;t=1'
    assert answers[6].headers["Retry-After"] == "1"
    problem(answers[6], 429)
    web.clock.advance(1)
    assert (await web.ask("GET", LIST, key=key)).status == 200
    assert (await web.ask("GET", LIST)).status == 200  # another key's is its own


async def test_failed_attempts_of_an_address_are_limited(web: Web) -> None:
    answers = [await web.ask("GET", LIST, key=new_key().reveal()) for _ in range(12)]
    assert [told.status for told in answers] == [401] * 10 + [429] * 2
    assert int(answers[10].headers["Retry-After"]) >= 6
    assert (await web.ask("GET", LIST)).status == 200  # a good key always passes
    web.clock.advance(6)
    problem(await web.ask("GET", LIST, key=""), 401)


# --- problems


async def test_an_address_that_leads_nowhere(web: Web) -> None:
    problem(await web.ask("GET", "/v1/nothing"), 404)
    problem(await web.ask("GET", "/nothing", key=""), 404)
    problem(await web.ask("GET", "/docs", key=""), 404)


async def test_a_method_that_is_not_there(web: Web) -> None:
    told = await web.ask("DELETE", LIST)
    problem(told, 405)
    assert told.headers["Allow"] == "GET"


async def test_all_faults_at_once_in_our_words(web: Web) -> None:
    told = await web.ask("GET", f"{LIST}?limit=0&after=sesame&since=yesterday")
    errors = {error["parameter"]: error["detail"] for error in problem(told, 422)["errors"]}  # type: ignore[attr-defined]
    assert errors.keys() == {"limit", "after", "since"}
    assert errors["limit"] == "limit is less than 1"
    assert "sesame" not in told.octets.decode()


async def test_a_parameter_that_is_not_known(web: Web) -> None:
    told = await web.ask("GET", f"{LIST}?clent=a")
    assert problem(told, 422)["errors"] == [
        {"parameter": "clent", "detail": "clent is not known here", "valid": "address, after, client, limit, since"}
    ]


async def test_a_failing_store(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise StoreError("the disk was pulled out")

    monkeypatch.setattr(web.core.store, "message_page", broken)
    told = await web.ask("GET", LIST)
    assert "the disk was pulled out" in str(problem(told, 503)["detail"])
    assert told.headers["Retry-After"] == "10"
    monkeypatch.setattr(web.core.store.api_keys, "find", broken)
    problem(await web.ask("GET", LIST), 503)


async def test_what_nobody_foresaw_is_told_in_the_log_alone(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("sesame")

    monkeypatch.setattr(web.core.store, "message_page", broken)
    told = await web.ask("GET", LIST, headers={"X-Request-Id": "mine-1"})
    assert problem(told, 500)["instance"] == "urn:postroom:request:mine-1"
    assert "sesame" not in told.octets.decode()
    (event,) = [event for event in web.log if event["event"] == events.UNFORESEEN.name]
    assert event["where"] == "api list_messages mine-1"
    assert "ZeroDivisionError" in event["error"]
    assert "test_rest_guard.py" in event["trace"]


async def test_the_page_of_every_problem(web: Web) -> None:
    for name, kind in KINDS.items():
        told = await web.ask("GET", f"/problems/{name}", key="")
        assert told.status == 200
        assert escape(kind.title) in told.octets.decode()
    problem(await web.ask("GET", "/problems/none", key=""), 404)


# --- the log, and what is open


async def test_one_event_for_each_request(web: Web) -> None:
    (one,) = await capture(web.core, "pop-client-a", [b"x"])
    told = await web.ask("GET", f"/v1/messages/{one}?x={web.bearer}")
    assert told.status == 422
    (event,) = [event for event in web.log if event["event"] == "request"]
    assert {name: event[name] for name in ("operation", "method", "status", "key", "address")} == {
        "operation": "get_message",
        "method": "GET",
        "status": 422,
        "key": "chief",
        "address": "127.0.0.1",
    }
    assert event["id"] == told.headers["X-Request-Id"]
    assert web.bearer not in web.lines.getvalue()
    assert one not in web.lines.getvalue()


@pytest.mark.parametrize("given", ["a b", "x" * 65, "ä", "a;b"], ids=["blank", "long", "eight-bit", "semicolon"])
async def test_an_id_that_could_not_be_repeated_is_replaced(web: Web, given: str) -> None:
    told = await web.ask("GET", LIST, headers={"X-Request-Id": given})
    assert re.fullmatch("[0-9a-f]{16}", told.headers["X-Request-Id"])


async def test_health_metrics_and_the_document_are_open(web: Web) -> None:
    await web.ask("GET", LIST)
    assert (await web.ask("GET", "/health", key="")).json == {"status": "ok"}
    assert (await web.ask("GET", "/ready", key="")).json == {"status": "ok", "clients": 0, "sick": []}
    metrics = (await web.ask("GET", "/metrics", key="")).octets.decode()
    assert 'postroom_api_requests_total{operation="list_messages",status="200"} 1.0' in metrics
    assert (await web.ask("GET", "/openapi.json", key="")).json["openapi"] == "3.1.0"
    assert not [event for event in web.log if event["event"] == "request" and event["operation"] == "health"]
