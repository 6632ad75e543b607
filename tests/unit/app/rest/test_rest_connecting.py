"""What is judged before a consent begins, and when the browser comes back: no network is needed for a no."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from asking import PLAIN, Told, Web, serving

FILE = (
    PLAIN
    + """\
[authority-rig]
token_endpoint = https://auth.example.test/token
authorization_endpoint = https://auth.example.test/authorize?x=1

[pop-client-a]
type = IMAP
server = mail.example.test
mailbox = a@example.test
mail.imap.auth.mechanisms = XOAUTH2
tenant-authority = rig
client-id = app

[pop-client-plain]
type = IMAP
server = mail.example.test
mailbox = b@example.test
password = sesame
"""
)
DAY = 86400.0


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    async with serving(tmp_path, FILE) as running:
        yield running


async def invite(web: Web) -> str:
    """The path of a new address."""
    told = await web.ask("POST", "/v1/clients/a/connect")
    assert told.status == 201, told
    assert told.json["address"].startswith(f"{web.address}/connect/")
    return str(urlsplit(told.json["address"]).path)


async def opened(web: Web, path: str, cookie: str = "") -> Told:
    return await web.ask("GET", path, key="", headers={"Cookie": cookie} if cookie else {})


def page(told: Told, words: str) -> None:
    """A page that says so, and that can do nothing."""
    assert told.status == 400, told
    assert words in told.octets.decode()
    assert "default-src 'none'" in told.headers["Content-Security-Policy"]
    assert told.headers["Cache-Control"] == "no-store"


async def test_it_leads_to_the_authority_alone(web: Web) -> None:
    path = await invite(web)
    told = await opened(web, f"{path}?redirect_uri=https://evil.example/&next=//evil.example")
    assert told.status == 303
    place = urlsplit(told.headers["Location"])
    query = parse_qs(place.query)
    assert (place.scheme, place.netloc, place.path) == ("https", "auth.example.test", "/authorize")
    assert query["redirect_uri"] == [f"{web.address}/oauth/callback"]
    assert (query["code_challenge_method"], query["response_type"], query["login_hint"]) == (["S256"], ["code"], ["a@example.test"])
    cookie = told.headers["Set-Cookie"]
    assert {"HttpOnly", "Path=/oauth", "SameSite=lax"} <= set(cookie.split("; "))
    assert query["state"][0] not in cookie


async def test_the_state_is_the_requests_own(web: Web) -> None:
    path = await invite(web)
    states = {parse_qs(urlsplit((await opened(web, path)).headers["Location"]).query)["state"][0] for _ in range(3)}
    assert len(states) == 3


async def test_an_address_that_nobody_gave_out(web: Web) -> None:
    page(await opened(web, "/connect/" + "x" * 43), "Nobody gave out this address")


async def test_it_ends_after_a_day(web: Web) -> None:
    path = await invite(web)
    web.clock.advance(DAY - 1)
    assert (await opened(web, path)).status == 303
    web.clock.advance(1)
    page(await opened(web, path), "The address is older than a day")


async def test_it_is_taken_back(web: Web) -> None:
    path = await invite(web)
    assert (await web.ask("DELETE", "/v1/clients/a/connect")).status == 204
    page(await opened(web, path), "The address was taken back")


async def begun(web: Web) -> tuple[str, str]:
    """The state of a consent under way, and its browser's cookie."""
    told = await opened(web, await invite(web))
    return parse_qs(urlsplit(told.headers["Location"]).query)["state"][0], told.headers["Set-Cookie"].partition(";")[0]


async def test_an_answer_that_nobody_waits_for(web: Web) -> None:
    _, cookie = await begun(web)
    page(await opened(web, "/oauth/callback?code=x&state=forged", cookie), "This answer is not expected")
    page(await opened(web, "/oauth/callback", cookie), "This answer is not expected")


@pytest.mark.parametrize("cookie", ["", "postroom-connect=" + "x" * 32], ids=["none", "another"])
async def test_an_answer_in_another_browser(web: Web, cookie: str) -> None:
    state, _ = await begun(web)
    page(await opened(web, f"/oauth/callback?code=x&state={state}", cookie), "Another browser began this")


async def test_an_answer_counts_once(web: Web) -> None:
    state, cookie = await begun(web)
    path = f"/oauth/callback?error=access_denied&error_description=%3Cb%3Eno&state={state}"
    told = await opened(web, path, cookie)
    page(told, "ccess_denied: &lt;b&gt;no")
    assert "<b>" not in told.octets.decode()
    page(await opened(web, path, cookie), "This answer is not expected")


async def test_an_answer_that_comes_too_late(web: Web) -> None:
    state, cookie = await begun(web)
    web.clock.advance(601)
    page(await opened(web, f"/oauth/callback?code=x&state={state}", cookie), "came too late")


async def test_a_client_that_needs_no_consent(web: Web) -> None:
    told = await web.ask("POST", "/v1/clients/plain/connect")
    assert (told.status, "uses a password, not OAuth" in told.json["detail"]) == (422, True)


async def test_neither_token_nor_state_is_told_of(web: Web) -> None:
    path = await invite(web)
    told = await opened(web, path)
    state = parse_qs(urlsplit(told.headers["Location"]).query)["state"][0]
    await opened(web, f"/oauth/callback?code=sesame&state={state}")
    for secret in (path.rpartition("/")[2], state, "sesame"):
        assert secret not in web.lines.getvalue()
