"""The sandbox's authority, seen by an application over HTTP."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from postroom.sandbox import MAIL_SCOPE, Authority, Sandbox
from postroom.sandbox.oauth import OUT_OF_BAND

if TYPE_CHECKING:
    from conftest import Application, MovedClock

SALES = "sales@example.test"


async def consented(application: Application, **more: str) -> str:
    """The code that a consent gives."""
    fields = application.authorization(**more) | {"account": SALES, "decision": "allow"}
    status, location, _ = await application.answer(fields)
    assert status == 302
    return parse_qs(urlsplit(location).query)["code"][0]


async def test_metadata_names_the_endpoints(application: Application, sandbox: Sandbox) -> None:
    url = f"{sandbox.authority_url}/.well-known/oauth-authorization-server"
    async with application.http.get(url) as response:
        document = await response.json()
    assert document["issuer"] == sandbox.authority_url
    assert document["token_endpoint"] == f"{sandbox.authority_url}/token"
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert MAIL_SCOPE in document["scopes_supported"]


async def test_code_flow_through_the_consent_page(application: Application, sandbox: Sandbox) -> None:
    url = f"{sandbox.authority_url}/authorize"
    query = application.authorization(login_hint="support@example.test")
    async with application.http.get(url, params=query) as response:
        page = await response.text()
    assert response.status == 200
    assert "sandbox" in page
    assert 'value="support@example.test" checked' in page
    # What a browser would send: the hidden fields of the page, the account chosen, and the button pressed.
    hidden = re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', page)
    fields = {unescape(name): unescape(value) for name, value in hidden}
    assert fields == query
    status, location, _ = await application.answer(fields | {"account": SALES, "decision": "allow"})
    assert status == 302
    assert location.startswith(application.REDIRECT + "?")
    answer = parse_qs(urlsplit(location).query)
    assert answer["state"] == ["a state & more"]

    status, tokens = await application.redeem(answer["code"][0])
    assert status == 200
    assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("Bearer", 3600, MAIL_SCOPE)
    assert sandbox.authority.judge(SALES, tokens["access_token"]).account == SALES
    status, more = await application.refresh(tokens["refresh_token"])
    assert status == 200
    assert sandbox.authority.judge(SALES, more["access_token"]).account == SALES


async def test_denial_goes_back_to_the_application(application: Application) -> None:
    fields = application.authorization() | {"account": SALES, "decision": "deny"}
    status, location, _ = await application.answer(fields)
    assert status == 302
    assert parse_qs(urlsplit(location).query) == {
        "error": ["access_denied"],
        "error_description": ["The resource owner or authorization server denied the request"],
        "state": ["a state & more"],
    }


async def test_out_of_band_shows_the_code(application: Application) -> None:
    fields = application.authorization(redirect_uri=OUT_OF_BAND) | {"account": SALES, "decision": "allow"}
    status, location, page = await application.answer(fields)
    assert (status, location) == (200, "")
    code = page.rpartition("<code>")[2].partition("</code>")[0]
    status, _ = await application.redeem(code, redirect_uri=OUT_OF_BAND)
    assert status == 200
    status, _, page = await application.answer(fields | {"decision": "deny"})
    assert "access_denied" in page


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"client_id": "another"}, "invalid_client"),
        ({"redirect_uri": "https://example.com/callback"}, "invalid_request"),
        ({"redirect_uri": 'http://example.com/"é'}, "invalid_request"),
        ({"redirect_uri": "http://[::1"}, "invalid_request"),
    ],
)
async def test_an_untrusted_request_is_never_redirected(
    application: Application, sandbox: Sandbox, change: dict[str, str], error: str
) -> None:
    url = f"{sandbox.authority_url}/authorize"
    async with application.http.get(url, params=application.authorization(**change), allow_redirects=False) as response:
        assert response.status == 400
        assert error in await response.text()
    status, location, _ = await application.answer(application.authorization(**change) | {"account": SALES, "decision": "allow"})
    assert (status, location) == (400, "")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
    ],
)
async def test_other_faults_go_back_to_the_application(application: Application, change: dict[str, str], error: str) -> None:
    fields = application.authorization(**change) | {"account": SALES, "decision": "allow"}
    status, location, _ = await application.answer(fields)
    assert status == 302
    assert location.startswith(application.REDIRECT)
    assert parse_qs(urlsplit(location).query)["error"] == [error]


async def test_challenge_without_a_method_means_plain_and_is_refused(application: Application) -> None:
    fields = application.authorization() | {"account": SALES, "decision": "allow"}
    del fields["code_challenge_method"]
    _, location, _ = await application.answer(fields)
    assert parse_qs(urlsplit(location).query)["error"] == ["invalid_request"]


async def test_wrong_verifier_gets_nothing(application: Application) -> None:
    code = await consented(application)
    status, answer = await application.redeem(code, code_verifier="x" * 43)
    assert (status, answer["error"]) == (400, "invalid_grant")
    status, answer = await application.redeem(code, redirect_uri="http://127.0.0.1:8/other")
    assert (status, answer["error"]) == (400, "invalid_grant")


async def test_code_used_twice_ends_what_it_gave(application: Application, sandbox: Sandbox) -> None:
    code = await consented(application)
    _, tokens = await application.redeem(code)
    status, answer = await application.redeem(code)
    assert (status, answer["error"]) == (400, "invalid_grant")
    assert sandbox.authority.judge(SALES, tokens["access_token"]).error == "invalid_token"


async def test_code_expires(application: Application, clock: MovedClock) -> None:
    code = await consented(application)
    clock.offset += 601
    status, answer = await application.redeem(code)
    assert (status, answer["error"]) == (400, "invalid_grant")


async def test_rotation_and_reuse(application: Application, sandbox: Sandbox) -> None:
    first = sandbox.authority.issue_refresh_token(SALES)
    _, second = await application.refresh(first)
    assert second["refresh_token"] != first
    status, answer = await application.refresh(first)
    assert (status, answer["error"]) == (400, "invalid_grant")
    # The whole family has ended with the spent token's return.
    status, answer = await application.refresh(second["refresh_token"])
    assert (status, answer["error"]) == (400, "invalid_grant")
    assert sandbox.authority.judge(SALES, second["access_token"]).error == "invalid_token"


async def test_without_rotation_the_refresh_token_stays(application: Application, sandbox: Sandbox) -> None:
    sandbox.authority.rotates = False
    token = sandbox.authority.issue_refresh_token(SALES)
    for _ in range(2):
        status, answer = await application.refresh(token)
        assert status == 200
        assert "refresh_token" not in answer


async def test_refresh_may_narrow_the_scope_but_not_widen_it(application: Application, sandbox: Sandbox) -> None:
    token = sandbox.authority.issue_refresh_token(SALES, f"{MAIL_SCOPE} email")
    status, answer = await application.refresh(token, scope="email")
    assert (status, answer["scope"]) == (200, "email")
    assert sandbox.authority.judge(SALES, answer["access_token"]).error == "insufficient_scope"
    status, answer = await application.refresh(answer["refresh_token"])  # the grant itself is as wide as before
    assert answer["scope"] == f"{MAIL_SCOPE} email"
    status, answer = await application.refresh(answer["refresh_token"], scope="openid")
    assert (status, answer["error"]) == (400, "invalid_scope")


async def test_wrong_client_secret(application: Application, sandbox: Sandbox) -> None:
    fields = {"grant_type": "refresh_token", "refresh_token": sandbox.authority.issue_refresh_token(SALES)}
    url = f"{sandbox.authority_url}/token"
    for form in ({}, {"client_id": sandbox.client_id, "client_secret": "wrong"}, {"client_id": sandbox.client_id}):
        async with application.http.post(url, data=fields | form) as response:
            assert response.status == 401
            assert (await response.json())["error"] == "invalid_client"
    good = {"client_id": sandbox.client_id, "client_secret": sandbox.client_secret}
    async with application.http.post(url, data=fields | good) as response:
        assert response.status == 200


async def test_unknown_grant_type(application: Application) -> None:
    status, answer = await application.post("token", grant_type="password")
    assert (status, answer["error"]) == (400, "unsupported_grant_type")
    status, answer = await application.post("token", grant_type='"é\\')
    assert (status, answer["error"]) == (400, "unsupported_grant_type")
    status, answer = await application.post("introspect")
    assert (status, answer["error"]) == (400, "invalid_request")


async def test_introspection_and_revocation(application: Application, sandbox: Sandbox, clock: MovedClock) -> None:
    issued = sandbox.authority.issue(SALES)

    async def look(token: str) -> dict[str, Any]:
        status, claims = await application.post("introspect", token=token)
        assert status == 200
        return claims

    claims = await look(issued.access_token)
    assert claims["active"]
    assert (claims["email"], claims["scope"], claims["iss"]) == (SALES, MAIL_SCOPE, sandbox.authority_url)
    assert claims["exp"] - claims["iat"] == 3600
    assert (await look(issued.refresh_token))["active"]
    assert await look("nonsense") == {"active": False}

    status, _ = await application.post("revoke", token=issued.access_token)
    assert status == 200
    assert await look(issued.access_token) == {"active": False}
    assert (await look(issued.refresh_token))["active"]
    await application.post("revoke", token=issued.refresh_token)
    assert await look(issued.refresh_token) == {"active": False}

    short = sandbox.authority.issue(SALES, lifetime=10)
    clock.offset += 10
    assert await look(short.access_token) == {"active": False}


async def test_withdrawn_consent_ends_refreshing(application: Application, sandbox: Sandbox) -> None:
    token = sandbox.authority.issue_refresh_token(SALES)
    assert sandbox.authority.withdraw_consent(SALES) == 1
    assert sandbox.authority.withdraw_consent(SALES) == 0
    status, answer = await application.refresh(token)
    assert (status, answer["error"]) == (400, "invalid_grant")


async def test_lifetime_is_told_and_kept(application: Application, sandbox: Sandbox, clock: MovedClock) -> None:
    sandbox.authority.lifetime = 60
    _, answer = await application.refresh(sandbox.authority.issue_refresh_token(SALES))
    assert answer["expires_in"] == 60
    assert not sandbox.authority.judge(SALES, answer["access_token"]).error
    clock.offset += 60
    assert sandbox.authority.judge(SALES, answer["access_token"]).error == "invalid_token"


def test_accounts_must_be_known() -> None:
    with pytest.raises(ValueError, match="no account"):
        Authority([SALES]).issue("nobody@example.test")
    with pytest.raises(ValueError, match="nobody to ask"):
        Authority([])
