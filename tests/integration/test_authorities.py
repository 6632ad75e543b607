"""The authorities that the tests of OAuth 2.0 rest on: each grant leads into a mailbox, and what is wrong is refused."""

from __future__ import annotations

import asyncio
import base64
import datetime
import hashlib
import json
import secrets
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from test_servers import REDIRECT, Sasl, StopAtTheApplication, accepted, assert_refused

from servers.authority import PUBLIC, TEST, Authority
from servers.browser import Browser
from servers.dovecot import Dovecot
from servers.waiting import free_ports

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
APPLICATION_SCOPE = "https://outlook.office365.com/.default"
GOOGLE_SCOPE = "https://mail.google.com/"
MICROSOFT_SCOPE = "https://outlook.office.com/IMAP.AccessAsUser.All offline_access"

Answer = dict[str, Any]


def post(url: str, **form: str) -> tuple[int, Answer]:
    """Status and JSON of an answer, be it a refusal."""
    try:
        with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode()) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def given(answer: tuple[int, Answer]) -> Answer:
    assert answer[0] == 200, json.dumps(answer[1])
    return answer[1]


def token_of(answer: tuple[int, Answer]) -> str:
    return str(given(answer)["access_token"])


def number(answer: tuple[int, Answer]) -> int:
    """The AADSTS number of a refusal, which stands in the words too."""
    [code] = answer[1]["error_codes"]
    assert answer[1]["error_description"].startswith(f"AADSTS{code}: ")
    return int(code)


AS_TEST = {"client_id": TEST.id, "client_secret": TEST.secret}


# --- assertions -------------------------------------------------------------------------------------------------------


def encoded(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


class Keys:
    """A key of an application or a service account, with its certificate."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "application")])
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.key.public_key())
        builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        self.certificate = builder.sign(self.key, hashes.SHA256())

    @property
    def certificate_pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def public_pem(self) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    @property
    def thumbprint(self) -> str:
        return encoded(self.certificate.fingerprint(hashes.SHA256()))

    def sign(self, header: Answer, claims: Answer) -> str:
        content = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
        how = pss if header["alg"] == "PS256" else padding.PKCS1v15()
        return f"{content}.{encoded(self.key.sign(content.encode(), how, hashes.SHA256()))}"


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys()


@pytest.fixture(scope="module")
def strange_keys() -> Keys:
    return Keys()


class Certified:
    """An application with a certificate, and its requests."""

    def __init__(self, authority: Authority, keys: Keys) -> None:
        self.id = f"certified-{secrets.token_hex(4)}"
        self.url = authority.microsoft_token_url("contoso.example")
        self.keys = keys
        self.thumbprint = authority.register_certificate(self.id, keys.certificate_pem)

    def ask(self, *, header: Answer | None = None, by: Keys | None = None, **claims: object) -> tuple[int, Answer]:
        now = int(time.time())
        whole = {"aud": self.url, "iss": self.id, "sub": self.id, "jti": secrets.token_hex(8), "nbf": now, "exp": now + 300}
        top = {"alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint, **(header or {})}
        assertion = (by or self.keys).sign(top, {**whole, **claims})
        return post(
            self.url,
            grant_type="client_credentials",
            client_id=self.id,
            scope=APPLICATION_SCOPE,
            client_assertion_type=ASSERTION_TYPE,
            client_assertion=assertion,
        )


# --- applications of their own ----------------------------------------------------------------------------------------


class TestApplications:
    @pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
    def test_a_secret_opens_any_mailbox_of_the_domain(
        self, authority: Authority, dovecot: Dovecot, mailbox_user: str, mechanism: str
    ) -> None:
        token = token_of(post(authority.token_url, grant_type="client_credentials", scope=APPLICATION_SCOPE, **AS_TEST))
        assert accepted(dovecot, mailbox_user, token)
        assert accepted(dovecot, f"another.{mailbox_user}", token)
        assert_refused(dovecot, Sasl(mechanism, "somebody@elsewhere.test", token))
        assert authority.revoke_access(token) == 1
        assert_refused(dovecot, Sasl(mechanism, mailbox_user, token))

    def test_microsofts_refusals(self, authority: Authority) -> None:
        url = authority.microsoft_token_url()
        wrong = {"grant_type": "client_credentials", "client_id": TEST.id, "client_secret": "wrong"}
        refused = post(url, scope=APPLICATION_SCOPE, **wrong)
        assert (refused[0], refused[1]["error"], number(refused)) == (401, "invalid_client", 7000215)
        refused = post(url, grant_type="client_credentials", scope="https://outlook.office.com/SMTP.Send", **AS_TEST)
        assert (refused[0], refused[1]["error"], number(refused)) == (400, "invalid_scope", 1002012)

    @pytest.mark.parametrize("algorithm", ["PS256", "RS256"])
    def test_a_certificate_opens_any_mailbox(
        self, authority: Authority, dovecot: Dovecot, mailbox_user: str, keys: Keys, algorithm: str
    ) -> None:
        application = Certified(authority, keys)
        assert application.thumbprint == keys.thumbprint
        assert accepted(dovecot, mailbox_user, token_of(application.ask(header={"alg": algorithm})))
        asked = authority.requests()[-1]
        assert (asked.authentication, asked.client_id, asked.status) == ("assertion", application.id, 200)

    def test_wrong_assertions(self, authority: Authority, keys: Keys, strange_keys: Keys) -> None:
        application = Certified(authority, keys)
        for refused in (
            application.ask(header={"x5t#S256": None}),
            application.ask(header={"x5t#S256": strange_keys.thumbprint}),
            application.ask(by=strange_keys),
            application.ask(aud="https://elsewhere.test/token"),
        ):
            assert (refused[0], refused[1]["error"], number(refused)) == (401, "invalid_client", 700027)
        assert number(application.ask(exp=int(time.time()) - 60)) == 700024
        assert given(application.ask(jti="once"))
        assert application.ask(jti="once")[0] == 401


# --- passwords --------------------------------------------------------------------------------------------------------


class TestPasswords:
    def test_a_password_opens_its_mailbox(self, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
        authority.set_password(mailbox_user, "right")
        answer = given(self.ask(authority, mailbox_user, "right"))
        assert accepted(dovecot, mailbox_user, answer["access_token"])
        again = post(authority.token_url, grant_type="refresh_token", refresh_token=answer["refresh_token"], **AS_TEST)
        assert accepted(dovecot, mailbox_user, token_of(again))

    def test_refusals(self, authority: Authority, mailbox_user: str) -> None:
        authority.set_password(mailbox_user, "right")
        authority.set_password(f"mfa.{mailbox_user}", "right", mfa=True)
        for account, password, code in (
            (mailbox_user, "wrong", 50126),
            (f"mfa.{mailbox_user}", "right", 50076),
            (f"nobody.{mailbox_user}", "right", 50034),
        ):
            refused = self.ask(authority, account, password)
            assert (refused[0], refused[1]["error"], number(refused)) == (400, "invalid_grant", code)
            assert authority.requests(account)[-1].grant_type == "password"

    def ask(self, authority: Authority, account: str, password: str) -> tuple[int, Answer]:
        url = authority.microsoft_token_url("organizations")
        return post(url, grant_type="password", username=account, password=password, scope=MICROSOFT_SCOPE, **AS_TEST)


# --- Google's service accounts ----------------------------------------------------------------------------------------


class TestServiceAccounts:
    ADDRESS = "robot@project.iam.gserviceaccount.example"

    def ask(self, authority: Authority, keys: Keys, **claims: object) -> tuple[int, Answer]:
        now = int(time.time())
        whole = {"iss": self.ADDRESS, "scope": GOOGLE_SCOPE, "aud": authority.token_url, "iat": now, "exp": now + 3600}
        assertion = keys.sign({"alg": "RS256", "typ": "JWT"}, {**whole, **claims})
        return post(authority.token_url, grant_type=BEARER, assertion=assertion)

    def test_delegation_opens_mailboxes(self, authority: Authority, dovecot: Dovecot, mailbox_user: str, keys: Keys) -> None:
        authority.register_service_account(self.ADDRESS, keys.public_pem)
        authority.delegate(self.ADDRESS, GOOGLE_SCOPE)
        token = token_of(self.ask(authority, keys, sub=mailbox_user))
        assert accepted(dovecot, mailbox_user, token)
        assert not accepted(dovecot, f"another.{mailbox_user}", token)

    def test_refusals(self, authority: Authority, mailbox_user: str, keys: Keys, strange_keys: Keys) -> None:
        assert self.refusal(self.ask(authority, keys, sub=mailbox_user)) == (400, "invalid_grant", "Invalid grant: account")
        authority.register_service_account(self.ADDRESS, keys.public_pem)
        without = (401, "unauthorized_client", "Client is unauthorized")
        assert self.refusal(self.ask(authority, keys, sub=mailbox_user)) == without
        authority.delegate(self.ADDRESS, GOOGLE_SCOPE, subject=f"another.{mailbox_user}")
        assert self.refusal(self.ask(authority, keys, sub=mailbox_user)) == without
        authority.delegate(self.ADDRESS, GOOGLE_SCOPE)
        other_scope = "https://www.googleapis.com/auth/gmail.imap_admin"
        assert self.refusal(self.ask(authority, keys, sub=mailbox_user, scope=other_scope)) == without
        signature = (400, "invalid_grant", "Invalid JWT Signature.")
        assert self.refusal(self.ask(authority, strange_keys, sub=mailbox_user)) == signature
        for wrong in ({"aud": "https://elsewhere.test"}, {"exp": 1}, {"exp": int(time.time()) + 7200}):
            assert self.refusal(self.ask(authority, keys, sub=mailbox_user, **wrong))[1:] == ("invalid_grant", "Invalid JWT:")
        assert given(self.ask(authority, keys, sub=mailbox_user))

    def refusal(self, answer: tuple[int, Answer]) -> tuple[int, str, str]:
        words = answer[1]["error_description"].split()
        length = {"grant:": 3, "JWT:": 2}.get(words[1], 3)
        return answer[0], answer[1]["error"], " ".join(words[:length])


# --- device codes -----------------------------------------------------------------------------------------------------


class TestDeviceCodes:
    def begin(self, authority: Authority) -> Answer:
        return given(post(authority.device_url, client_id=PUBLIC.id, scope=MICROSOFT_SCOPE))

    def poll(self, authority: Authority, begun: Answer) -> tuple[int, Answer]:
        return post(authority.token_url, grant_type=DEVICE, device_code=begun["device_code"], client_id=PUBLIC.id)

    def test_approved(self, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
        begun = self.begin(authority)
        assert self.poll(authority, begun)[1]["error"] == "authorization_pending"
        authority.approve_device(begun["user_code"], mailbox_user)
        answer = given(self.poll(authority, begun))
        assert accepted(dovecot, mailbox_user, answer["access_token"])
        assert set(answer["scope"].split()) == set(MICROSOFT_SCOPE.split())
        again = post(authority.token_url, grant_type="refresh_token", refresh_token=answer["refresh_token"], client_id=PUBLIC.id)
        assert accepted(dovecot, mailbox_user, token_of(again))
        assert authority.refreshes(mailbox_user) == 1

    def test_denied_and_expired(self, authority: Authority) -> None:
        begun = self.begin(authority)
        authority.deny_device(begun["user_code"])
        assert self.poll(authority, begun)[1]["error"] == "access_denied"
        begun = self.begin(authority)
        assert authority.expire_device_codes() >= 1
        assert self.poll(authority, begun)[1]["error"] == "expired_token"

    def test_microsofts_form(self, authority: Authority) -> None:
        authority.set_device(interval=1, ttl=60)
        begun = given(post(authority.microsoft_device_url("organizations"), client_id=PUBLIC.id, scope=MICROSOFT_SCOPE))
        assert (begun["interval"], begun["expires_in"]) == (1, 60)
        assert begun["user_code"] in begun["message"]
        assert begun["verification_uri"] in begun["message"]


# --- authorization codes ----------------------------------------------------------------------------------------------


def redirected(authority: Authority, login_hint: str, **more: str) -> dict[str, str]:
    """What the application is told at its redirect address, after a decision without a page."""
    query = {
        "client_id": TEST.id,
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": f"openid email offline_access {GOOGLE_SCOPE}",
        "state": "of the application",
        "login_hint": login_hint,
        **more,
    }
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(), StopAtTheApplication())
    with pytest.raises(urllib.error.HTTPError) as stopped:
        browser.open(f"{authority.authorize_url}?{urllib.parse.urlencode(query)}")
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(stopped.value.headers["Location"]).query))


def exchange(authority: Authority, code: str, **more: str) -> tuple[int, Answer]:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, **AS_TEST, **more}
    return post(authority.token_url, **form)


def challenge(verifier: str) -> str:
    return encoded(hashlib.sha256(verifier.encode()).digest())


class TestAuthorizationCodes:
    def test_with_a_code_verifier(self, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
        verifier = secrets.token_urlsafe(48)
        asked = {"code_challenge": challenge(verifier), "code_challenge_method": "S256"}
        told = redirected(authority, mailbox_user, **asked)
        assert (told["state"], told["iss"]) == ("of the application", authority.url)
        answer = given(exchange(authority, told["code"], code_verifier=verifier))
        assert accepted(dovecot, mailbox_user, answer["access_token"])
        [record] = authority.requests(mailbox_user)
        assert (record.code_verifier, record.redirect_uri, record.authentication) == (True, REDIRECT, "post")
        told = redirected(authority, mailbox_user, **asked)
        assert exchange(authority, told["code"])[1]["error"] == "invalid_grant"
        assert not authority.requests()[-1].code_verifier

    def test_the_id_token_names_the_account(self, authority: Authority, mailbox_user: str) -> None:
        answer = given(exchange(authority, redirected(authority, mailbox_user)["code"]))
        claims = decoded(answer["id_token"])
        assert (claims["email"], claims["preferred_username"], claims["aud"]) == (mailbox_user, mailbox_user, TEST.id)
        plain = redirected(authority, mailbox_user, scope=GOOGLE_SCOPE)
        assert "id_token" not in given(exchange(authority, plain["code"]))

    def test_a_code_that_is_too_old(self, authority: Authority, mailbox_user: str) -> None:
        code = redirected(authority, mailbox_user)["code"]
        assert authority.expire_codes() >= 1
        refused = exchange(authority, code)
        assert (refused[0], refused[1]["error"]) == (400, "invalid_grant")

    def test_the_issuer_is_switchable(self, authority: Authority, mailbox_user: str) -> None:
        authority.send_issuer(False)
        assert "iss" not in redirected(authority, mailbox_user)
        authority.send_issuer("https://attacker.test")
        assert redirected(authority, mailbox_user)["iss"] == "https://attacker.test"

    def test_the_end_of_a_refresh_token_in_testing(self, authority: Authority, mailbox_user: str) -> None:
        authority.set_refresh_expires_in(604_799)
        answer = given(exchange(authority, redirected(authority, mailbox_user)["code"]))
        assert answer["refresh_token_expires_in"] == 604_799


def decoded(jwt: str) -> Answer:
    payload = jwt.split(".")[1]
    claims: Answer = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


# --- a person at a browser --------------------------------------------------------------------------------------------

[UNUSED] = free_ports(1)
APPLICATION = f"http://127.0.0.1:{UNUSED}/callback"  # nobody listens there, and the browser must not mind
OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"


def page(authority: Authority, **more: str) -> str:
    """The address of a consent page, under Google's path."""
    query = {"client_id": TEST.id, "response_type": "code", "redirect_uri": APPLICATION, "scope": f"openid email {GOOGLE_SCOPE}"}
    return f"{authority.url}/o/oauth2/v2/auth?{urllib.parse.urlencode({**query, 'access_type': 'offline', **more})}"


def told_at(final: str) -> dict[str, str]:
    """What the address at which a browser ended tells the application."""
    assert final.startswith(APPLICATION), final
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(final).query))


class TestBrowser:
    def test_one_of_several_accounts_is_chosen(
        self, authority: Authority, dovecot: Dovecot, browser: Browser, mailbox_user: str, tmp_path: Path
    ) -> None:
        authority.sign_in("first@example.test", mailbox_user)
        told = told_at(browser.consent(page(authority, state="kept"), account=mailbox_user))
        assert told["state"] == "kept"
        answer = given(exchange(authority, told["code"], redirect_uri=APPLICATION))
        assert decoded(answer["id_token"])["email"] == mailbox_user
        assert accepted(dovecot, mailbox_user, answer["access_token"])
        browser.visit(page(authority))
        browser.screenshot(tmp_path / "page.png")
        assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")

    def test_the_hint_is_chosen_unless_the_person_wants_another(
        self, authority: Authority, browser: Browser, mailbox_user: str
    ) -> None:
        """Google's `prompt=consent` and a person who signed in with the wrong account."""
        hinted = page(authority, login_hint=mailbox_user, prompt="consent")
        for account, expected in ((None, mailbox_user), ("wrong@example.test", "wrong@example.test")):
            answer = given(exchange(authority, told_at(browser.consent(hinted, account=account))["code"], redirect_uri=APPLICATION))
            assert decoded(answer["id_token"])["email"] == expected

    def test_denied(self, authority: Authority, browser: Browser, mailbox_user: str) -> None:
        final = browser.consent(page(authority, state="kept"), account=mailbox_user, decision="deny")
        assert (told_at(final)["error"], told_at(final)["state"]) == ("access_denied", "kept")

    def test_a_scope_is_withheld(self, authority: Authority, browser: Browser, mailbox_user: str) -> None:
        told = told_at(browser.consent(page(authority), account=mailbox_user, withhold=(GOOGLE_SCOPE,)))
        answer = given(exchange(authority, told["code"], redirect_uri=APPLICATION))
        assert set(answer["scope"].split()) == {"openid", "email"}

    def test_an_application_in_testing(self, authority: Authority, browser: Browser, mailbox_user: str) -> None:
        authority.only_testers("tester@example.test")
        final = browser.consent(page(authority), account=mailbox_user)
        assert final.startswith(authority.url)
        assert "Error 403: access_denied" in browser.text()
        assert "code" in told_at(browser.consent(page(authority), account="tester@example.test"))

    def test_out_of_band(self, authority: Authority, dovecot: Dovecot, browser: Browser, mailbox_user: str) -> None:
        address = page(authority, redirect_uri=OUT_OF_BAND)
        code = browser.shown_code(address, account=mailbox_user)
        assert accepted(dovecot, mailbox_user, token_of(exchange(authority, code, redirect_uri=OUT_OF_BAND)))
        authority.allow_out_of_band(False)
        assert browser.consent(address).startswith(authority.url)
        assert "Error 400: invalid_request" in browser.text()

    def test_a_device_code(self, authority: Authority, dovecot: Dovecot, browser: Browser, mailbox_user: str) -> None:
        device = TestDeviceCodes()
        begun = device.begin(authority)
        assert "Done" in browser.approve_device(begun["verification_uri"], begun["user_code"], account=mailbox_user)
        assert accepted(dovecot, mailbox_user, token_of(device.poll(authority, begun)))
        begun = device.begin(authority)
        browser.approve_device(begun["verification_uri"], begun["user_code"], account=mailbox_user, decision="deny")
        assert device.poll(authority, begun)[1]["error"] == "access_denied"

    async def test_within_an_event_loop(self, authority: Authority, browser: Browser, mailbox_user: str) -> None:
        """The application itself listens at the redirect address, as it does at a person's computer."""
        heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            line = await reader.readline()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK")
            await writer.drain()
            writer.close()
            if not heard.done():
                heard.set_result(line)

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            address = page(authority, redirect_uri=f"http://127.0.0.1:{port}/callback")
            final = await asyncio.to_thread(browser.consent, address, account=mailbox_user)
            assert urllib.parse.urlsplit(final).query.encode() in await heard


# --- JWTs and rotation ------------------------------------------------------------------------------------------------


def refresh(authority: Authority, token: str, **form: str) -> tuple[int, Answer]:
    return post(authority.token_url, grant_type="refresh_token", refresh_token=token, **AS_TEST, **form)


class TestJwts:
    def test_of_a_person(self, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
        authority.set_token_format("jwt")
        token = token_of(refresh(authority, authority.refresh_token(mailbox_user), scope=MICROSOFT_SCOPE))
        claims = decoded(token)
        assert (claims["aud"], claims["scp"]) == ("https://outlook.office.com", "IMAP.AccessAsUser.All")
        assert (claims["upn"], claims["appid"]) == (mailbox_user, TEST.id)
        assert claims["exp"] - claims["iat"] == 3600
        assert accepted(dovecot, mailbox_user, token)
        assert authority.revoke_access(token) == 1
        assert not accepted(dovecot, mailbox_user, token)

    def test_of_an_application(self, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
        authority.set_token_format("jwt")
        token = token_of(post(authority.token_url, grant_type="client_credentials", scope=APPLICATION_SCOPE, **AS_TEST))
        claims = decoded(token)
        assert (claims["aud"], claims["idtyp"]) == ("https://outlook.office365.com", "app")
        assert "IMAP.AccessAsApp" in claims["roles"]
        assert accepted(dovecot, mailbox_user, token)

    @pytest.mark.parametrize(
        "override", [{"aud": "https://graph.microsoft.com"}, {"scp": None}, {"upn": "another@example.test"}], ids=str
    )
    def test_wrong_claims_open_nothing(
        self, authority: Authority, dovecot: Dovecot, mailbox_user: str, override: dict[str, object]
    ) -> None:
        authority.set_token_format("jwt", **override)
        token = token_of(refresh(authority, authority.refresh_token(mailbox_user)))
        [(name, value)] = override.items()
        assert decoded(token).get(name) == value
        assert_refused(dovecot, Sasl("XOAUTH2", mailbox_user, token))


class TestRotation:
    def test_the_last_token_may_be_used_again(self, authority: Authority, mailbox_user: str) -> None:
        authority.rotate(True, last_again=True)
        first = authority.refresh_token(mailbox_user)
        lost, second = (str(given(refresh(authority, first))["refresh_token"]) for _ in range(2))
        third = str(given(refresh(authority, second))["refresh_token"])
        assert len({first, lost, second, third}) == 4
        assert authority.refreshes(mailbox_user) == 3
        assert refresh(authority, first)[1]["error"] == "invalid_grant"  # its successor was used
        assert refresh(authority, third)[1]["error"] == "invalid_grant"  # and so the whole consent ended
