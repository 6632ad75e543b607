"""The authority with the providers' own ways: its answers and its tokens are what their documentation says."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

import pytest
from test_authorities import (
    APPLICATION,
    APPLICATION_SCOPE,
    AS_TEST,
    DEVICE,
    GOOGLE_SCOPE,
    MICROSOFT_SCOPE,
    Answer,
    decoded,
    given,
    post,
    token_of,
    told_at,
)
from test_servers import accepted

from servers.authority import TEST
from servers.browser import Browser
from servers.certificates import Certificates
from servers.deviant import REFUSALS, TENANT, Deviant, digest
from servers.dovecot import Dovecot


@pytest.fixture(scope="module")
def mail(real_servers: None, deviant: Deviant, certificates: Certificates) -> Iterator[Dovecot]:
    """A Dovecot that asks this authority."""
    with Dovecot(deviant.tokens, certificates=certificates) as running:
        yield running


def refresh(deviant: Deviant, token: str, *, scope: str = "") -> tuple[int, Answer]:
    url = deviant.microsoft_token_url() if scope else deviant.token_url
    form = {"grant_type": "refresh_token", "refresh_token": token, **AS_TEST}
    return post(url, **form, **({"scope": scope} if scope else {}))


class TestAnswers:
    @pytest.mark.parametrize("name", REFUSALS)
    def test_each_refusal(self, deviant: Deviant, name: str) -> None:
        token = deviant.refresh_token("somebody@example.test", scope=GOOGLE_SCOPE)
        deviant.refuse(name)
        status, body = refresh(deviant, token)
        refusal = REFUSALS[name]
        assert (status, body["error"]) == (refusal.status, refusal.error)
        assert refusal.words in body["error_description"]
        assert body.get("error_codes") == ([refusal.number] if refusal.number else None)
        assert given(refresh(deviant, token))
        assert [(asked.status, asked.scripted) for asked in deviant.requests()] == [(status, True), (200, False)]

    @pytest.mark.parametrize(("status", "retry_after"), [(429, 7), (429, None), (503, None)])
    def test_throttling(self, deviant: Deviant, status: int, retry_after: int | None) -> None:
        deviant.throttle(2, retry_after=retry_after, status=status)
        form = urllib.parse.urlencode({"grant_type": "refresh_token"}).encode()
        for _ in range(2):
            with pytest.raises(urllib.error.HTTPError) as throttled:
                urllib.request.urlopen(deviant.token_url, form)
            assert throttled.value.code == status
            assert throttled.value.headers["Retry-After"] == (None if retry_after is None else str(retry_after))
        assert refresh(deviant, "never-was")[1]["error"] == "invalid_grant"

    def test_only_one_grant_is_answered_so(self, deviant: Deviant) -> None:
        deviant.answer(200, {"access_token": "ordered", "token_type": "Bearer"}, grant_type="client_credentials")
        assert given(refresh(deviant, deviant.refresh_token("somebody@example.test")))["access_token"] != "ordered"
        url = deviant.microsoft_token_url()
        assert token_of(post(url, grant_type="client_credentials", scope=APPLICATION_SCOPE, **AS_TEST)) == "ordered"

    def test_the_record_keeps_no_secret(self, deviant: Deviant) -> None:
        token = deviant.refresh_token("somebody@example.test")
        answer = given(refresh(deviant, token))
        [asked] = deviant.requests("/token")
        assert asked.form["refresh_token"] == digest(token)
        assert asked.form["client_secret"] == digest(TEST.secret)
        assert asked.given["access_token"] == digest(answer["access_token"])
        assert not any(secret in json.dumps(asked.form) for secret in (token, TEST.secret))


class TestMicrosoft:
    def test_a_new_refresh_token_each_time_and_all_stay_good(self, deviant: Deviant, mail: Dovecot, mailbox_user: str) -> None:
        first = deviant.refresh_token(mailbox_user, scope=MICROSOFT_SCOPE, microsoft=True)
        second = given(refresh(deviant, first, scope=MICROSOFT_SCOPE))["refresh_token"]
        again = given(refresh(deviant, first, scope=MICROSOFT_SCOPE))
        assert len({first, second, again["refresh_token"]}) == 3
        assert accepted(mail, mailbox_user, again["access_token"])
        assert accepted(mail, mailbox_user, token_of(refresh(deviant, second, scope=MICROSOFT_SCOPE)))

    def test_scopes(self, deviant: Deviant) -> None:
        url = deviant.microsoft_token_url()
        mixed = "https://outlook.office.com/SMTP.Send https://graph.microsoft.com/Mail.Send"
        for scope, grant_type, number in (
            ("", "refresh_token", 900144),
            (mixed, "refresh_token", 28000),
            ("https://outlook.office.com/SMTP.Send", "client_credentials", 1002012),
        ):
            refused = post(url, grant_type=grant_type, scope=scope, refresh_token="any", **AS_TEST)
            assert refused[1]["error_codes"] == [number]

    def test_tokens_that_spread_late(self, deviant: Deviant, mail: Dovecot, mailbox_user: str) -> None:
        deviant.spread_late(2)
        url = deviant.microsoft_token_url("contoso.example")
        tokens = [token_of(post(url, grant_type="client_credentials", scope=APPLICATION_SCOPE, **AS_TEST)) for _ in range(3)]
        assert [accepted(mail, mailbox_user, token) for token in tokens] == [False, False, True]

    def test_device_codes(self, deviant: Deviant, mail: Dovecot, mailbox_user: str) -> None:
        for account in (mailbox_user, None):
            begun = given(post(deviant.microsoft_device_url(), client_id=TEST.id, scope=MICROSOFT_SCOPE))
            assert begun["user_code"] in begun["message"]
            poll = {"grant_type": DEVICE, "device_code": begun["device_code"], "client_id": TEST.id}
            assert post(deviant.microsoft_token_url(), **poll)[1]["error"] == "authorization_pending"
            if account is None:
                deviant.deny_device(begun["user_code"])
                assert post(deviant.microsoft_token_url(), **poll)[1]["error"] == "authorization_declined"
            else:
                deviant.approve_device(begun["user_code"], account)
                answer = given(post(deviant.microsoft_token_url(), **poll))
                assert accepted(mail, account, answer["access_token"])
                assert answer["refresh_token"]

    def test_the_consent_of_an_administrator(self, real_servers: None, deviant: Deviant, browser: Browser) -> None:
        query = {"client_id": TEST.id, "redirect_uri": APPLICATION, "state": "kept", "scope": APPLICATION_SCOPE}
        address = f"{deviant.admin_consent_url('contoso.example')}?{urllib.parse.urlencode(query)}"
        told = told_at(browser.consent(address))
        assert (told["admin_consent"], told["tenant"], told["state"]) == ("True", TENANT, "kept")
        assert told_at(browser.consent(address, decision="deny"))["error"] == "permission_denied"
        deviant.refuse_admin("consent_required", "AADSTS90094: Admin consent is required.")
        assert told_at(browser.consent(address))["error"] == "consent_required"


class TestGoogle:
    def page(self, deviant: Deviant, **more: str) -> str:
        query = {"client_id": TEST.id, "redirect_uri": APPLICATION, "response_type": "code", "scope": f"openid {GOOGLE_SCOPE}"}
        return f"{deviant.authorize_url}?{urllib.parse.urlencode({**query, 'access_type': 'offline', **more})}"

    def exchange(self, deviant: Deviant, final: str) -> Answer:
        form = {"grant_type": "authorization_code", "code": told_at(final)["code"], "redirect_uri": APPLICATION, **AS_TEST}
        return given(post(deviant.token_url, **form))

    def test_a_repeated_consent_gives_no_refresh_token(
        self, deviant: Deviant, mail: Dovecot, browser: Browser, mailbox_user: str
    ) -> None:
        first = self.exchange(deviant, browser.consent(self.page(deviant), account=mailbox_user))
        assert decoded(first["id_token"])["email"] == mailbox_user
        assert accepted(mail, mailbox_user, token_of(refresh(deviant, first["refresh_token"])))
        assert "refresh_token" not in given(refresh(deviant, first["refresh_token"]))
        again = self.exchange(deviant, browser.consent(self.page(deviant), account=mailbox_user))
        assert "refresh_token" not in again
        asked = self.exchange(deviant, browser.consent(self.page(deviant, prompt="consent"), account=mailbox_user))
        assert "refresh_token" in asked

    def test_a_refusal_that_only_the_person_sees(self, real_servers: None, deviant: Deviant, browser: Browser) -> None:
        deviant.refuse_page(400, "admin_policy_enforced", "Your administrator has to allow this application.")
        assert browser.consent(self.page(deviant)).startswith(deviant.url)
        assert "Error 400: admin_policy_enforced" in browser.text()
