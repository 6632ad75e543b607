"""``postroom authorize`` for real: a browser gives the consent, Dovecot takes the token."""

from __future__ import annotations

import os
import socketserver
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from consenting import AtTerminal, asking, consent_elsewhere
from running import Here, letter, oauth

from servers.authority import OTHER, PUBLIC, TEST, Authority
from servers.browser import Browser
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.postfix import Postfix
from servers.waiting import wait_for

A, S = "pop-client-a", "smtp-client-a"
OUTLOOK = "https://outlook.office.com/"
MAIL = "https://mail.google.com/"


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


@pytest.fixture
def google(here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> Here:
    """A mailbox at Google, whose authority is this machine's, and nobody has consented yet."""
    here.put("authority-google", {"token_endpoint": authority.token_url, "authorization_endpoint": authority.authorize_url})
    here.put("secret-gmail", {"password": TEST.secret})
    here.put(A, {**oauth(dovecot.imap_port, mailbox_user, "", tenant_authority="google", secret="gmail"), "password": None})
    dovecot.deliver(mailbox_user, letter(1))
    return here


@pytest.fixture
def microsoft(here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> Here:
    """The same at Microsoft, with a public client."""
    tenant = "{tenant}"
    here.put(
        "authority-microsoft",
        {
            "token_endpoint": f"{authority.url}/{tenant}/oauth2/v2.0/token",
            "authorization_endpoint": f"{authority.url}/{tenant}/oauth2/v2.0/authorize",
            "device_authorization_endpoint": f"{authority.url}/{tenant}/oauth2/v2.0/devicecode",
        },
    )
    options = oauth(dovecot.imap_port, mailbox_user, "", client_id=PUBLIC.id, grant_type="refresh_token")
    microsoft = "https://login.microsoftonline.com"
    here.put(A, {**options, "tenant-authority": microsoft, "password": None, "secret": None})
    dovecot.deliver(mailbox_user, letter(1))
    return here


class TestPair:
    """A mailbox and the account that sends for it: one person, one application, one consent."""

    @pytest.fixture
    def pair(self, postfix: Postfix, certificates: Certificates, mailbox_user: str) -> Callable[[Here], Here]:
        """Puts the account beside the mailbox."""

        def put(here: Here) -> Here:
            same = ("tenant-authority", "client-id", "secret", "grant-type")
            shared = {name: here.sections[A].get(name) for name in same}
            where = {"server": "localhost", "port": postfix.submission_port, "tls-ca-file": certificates.ca_file}
            login = {"user": mailbox_user, "addresses": mailbox_user, "enable-authentication": "true"}
            here.put(S, {**where, **login, "mail.smtp.auth.mechanisms": "XOAUTH2", **shared})
            return here

        return put

    def test_the_short_name_connects_both(
        self, pair: Callable[[Here], Here], google: Here, authority: Authority, browser: Browser, mailbox_user: str
    ) -> None:
        pair(google)
        with asking(google, "authorize", "a", "--manual") as person:
            person.answer(browser.consent(person.address()))
            done = person.done()
        assert done.status == 0, done
        assert f"{A} and {S}: connecting {mailbox_user}" in done.err
        assert [f"{section}: consent given by {mailbox_user}" in done.out for section in (A, S)] == [True, True]
        found = google.check("a")
        assert [found[section]["ok"] for section in (A, S)] == [True, True]
        assert authority.count() == 1

    def test_both_scopes_in_one_consent(
        self, pair: Callable[[Here], Here], microsoft: Here, authority: Authority, browser: Browser, mailbox_user: str
    ) -> None:
        pair(microsoft)
        with asking(microsoft, "authorize", "a", "--manual", "--json") as person:
            [scope] = parse_qs(urlsplit(person.address()).query)["scope"]
            person.answer(browser.consent(person.address()))
            done = person.done()
        assert scope.split()[:3] == [f"{OUTLOOK}IMAP.AccessAsUser.All", "offline_access", f"{OUTLOOK}SMTP.Send"]
        assert [(each["client"], each["ok"]) for each in done.objects] == [(A, True), (S, True)]
        assert authority.count() == 1
        assert authority.revoke_access(account=mailbox_user) == 1
        assert {section: each["ok"] for section, each in microsoft.check().items()} == {A: True, S: True}
        assert authority.count() == 3  # each asks for its own scope, with the refresh token of both

    def test_what_was_not_ticked_connects_neither(self, pair: Callable[[Here], Here], microsoft: Here, browser: Browser) -> None:
        pair(microsoft)
        with asking(microsoft, "authorize", "a", "--manual") as person:
            person.answer(browser.consent(person.address(), withhold=(f"{OUTLOOK}SMTP.Send",)))
            done = person.done()
        assert done.status == 1
        assert done.out.count(f"the scope {OUTLOOK}SMTP.Send was not granted") == 2
        assert [each["ok"] for each in microsoft.check().values()] == [False, False]

    def test_the_whole_name_connects_one(self, pair: Callable[[Here], Here], microsoft: Here, browser: Browser) -> None:
        pair(microsoft)
        with asking(microsoft, "authorize", A, "--manual") as person:
            assert "SMTP.Send" not in person.address()
            person.answer(browser.consent(person.address()))
            assert person.done().status == 0
        assert {section: each["ok"] for section, each in microsoft.check().items()} == {A: True, S: False}

    def test_of_two_applications_each_is_asked_for(self, pair: Callable[[Here], Here], google: Here, browser: Browser) -> None:
        pair(google).put("secret-other", {"password": OTHER.secret})
        google.put(S, {"client-id": OTHER.id, "secret": "other"})
        with asking(google, "authorize", "a", "--manual") as person:
            first = person.address()
            person.answer(browser.consent(first))
            person.until(f"{S}: connecting")
            wait_for(lambda: len(person.addresses()) == 2, "the second address")
            person.answer(browser.consent(person.addresses()[1]))
            done = person.done()
        assert done.status == 0, done
        assert {section: each["ok"] for section, each in google.check().items()} == {A: True, S: True}

    def test_both_are_forgotten(self, pair: Callable[[Here], Here], google: Here, browser: Browser) -> None:
        pair(google)
        with asking(google, "authorize", "a", "--manual") as person:
            person.answer(browser.consent(person.address()))
            assert person.done().status == 0
        google.command("authorize", "a", "--forget")
        assert [each["ok"] for each in google.check().values()] == [False, False]


class SharedMailbox(socketserver.StreamRequestHandler):
    """A mail server that lets any token into one empty mailbox."""

    def handle(self) -> None:
        self.wfile.write(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready\r\n")
        while line := self.rfile.readline():
            tag, verb, *_ = line.split()
            if verb == b"SELECT":
                self.wfile.write(b"* 0 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n* OK [UIDNEXT 1] x\r\n")
            elif verb == b"CAPABILITY":
                self.wfile.write(b"* CAPABILITY IMAP4rev1\r\n")
            self.wfile.write(tag + b" OK done\r\n")


class TestLoopback:
    def test_a_browser_consents_and_the_mailbox_is_read(
        self, google: Here, authority: Authority, browser: Browser, mailbox_user: str
    ) -> None:
        assert "Run postroom authorize pop-client-a" in google.check()[A]["remedy"]
        with asking(google, "authorize", "a", "--no-browser") as person:
            address = person.address()
            query = parse_qs(urlsplit(address).query)
            assert (query["access_type"], query["prompt"], query["code_challenge_method"]) == (["offline"], ["consent"], ["S256"])
            assert query["login_hint"] == [mailbox_user]
            assert query["redirect_uri"][0].startswith("http://127.0.0.1:")
            browser.consent(address)
            assert "You can close this page" in browser.text()
            done = person.done()
        assert done.status == 0, done
        assert f"consent given by {mailbox_user}" in done.out
        assert f"logged in at localhost:{google.sections[A]['port']}" in done.out
        assert authority.requests()[0].code_verifier
        assert google.read()[A]["captured"] == 1
        assert authority.count() == 1  # the access token of the exchange is used as long as it is good

    def test_json(self, google: Here, authority: Authority, browser: Browser, mailbox_user: str) -> None:
        with asking(google, "authorize", "a", "--no-browser", "--json") as person:
            browser.consent(person.address())
            result = person.done().object
        assert (result["ok"], result["account"], result["check"]["ok"]) == (True, mailbox_user, True)
        assert MAIL in result["scope"]

    def test_the_program_opens_the_browser(self, google: Here, authority: Authority, browser: Browser, tmp_path: Path) -> None:
        opened = tmp_path / "opened"
        program = tmp_path / "browser.sh"
        program.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}.new; mv {opened}.new {opened}\n')
        program.chmod(0o755)
        google.environment["BROWSER"] = f"{program} %s"
        with asking(google, "authorize", "a") as person:
            wait_for(opened.exists, "the browser")
            browser.consent(opened.read_text())
            assert person.done().status == 0

    def test_a_browser_on_another_machine(self, google: Here) -> None:
        """It cannot come back to this machine's loopback address: what it ended on is pasted."""
        with AtTerminal(google, "authorize", "a", "--no-browser") as person:
            end = consent_elsewhere(person.address())
            person.answer("If it shows an error, press Enter.)", end)
            done = person.done()
        assert done.status == 0, done.out
        assert google.read()[A]["captured"] == 1

    def test_the_person_says_no(self, google: Here, browser: Browser) -> None:
        with asking(google, "authorize", "a", "--no-browser") as person:
            browser.consent(person.address(), decision="deny")
            assert "did not give access" in browser.text()
            done = person.done()
        assert done.status == 1
        assert "access_denied: The person said no" in done.out

    def test_nobody_comes(self, google: Here) -> None:
        with asking(google, "authorize", "a", "--no-browser", "--timeout", "0.2") as person:
            done = person.done()
        assert "nobody came back within 0 s" in done.out
        assert "--manual" in done.out


class TestManual:
    @pytest.mark.parametrize("form", ["address", "wrapped", "code", "quoted code"])
    def test_what_is_pasted(self, google: Here, browser: Browser, form: str) -> None:
        with asking(google, "authorize", "a", "--manual") as person:
            end = browser.consent(person.address())
            code = parse_qs(urlsplit(end).query)["code"][0]
            pasted = {"address": end, "wrapped": f"  {end[:40]} {end[40:]} ", "code": code, "quoted code": quote(code, safe="")}
            person.answer(pasted[form])
            done = person.done()
        assert done.status == 0, done

    def test_another_requests_answer_is_refused(self, google: Here, browser: Browser) -> None:
        with asking(google, "authorize", "a", "--manual") as person:
            end = browser.consent(person.address())
            person.answer(end.replace("state=", "state=x"))
            done = person.done()
        assert "its state differs" in done.out
        assert google.check()[A]["ok"] is False

    def test_another_issuers_answer_is_refused(self, google: Here, authority: Authority, browser: Browser) -> None:
        google.put("authority-google", {"issuer": authority.url})
        authority.send_issuer("https://evil.example")
        with asking(google, "authorize", "a", "--manual") as person:
            person.answer(browser.consent(person.address()))
            done = person.done()
        assert "the answer is from https://evil.example" in done.out

    def test_a_code_older_than_ten_minutes(self, google: Here, authority: Authority, browser: Browser) -> None:
        """ "…within 10 minutes (after you received the authorization code)"."""
        with asking(google, "authorize", "a", "--manual") as person:
            end = browser.consent(person.address())
            authority.expire_codes()
            person.answer(end)
            done = person.done()
        assert "invalid_grant" in done.out
        assert f"postroom authorize {A}" in done.out

    def test_without_pkce(self, google: Here, authority: Authority, browser: Browser) -> None:
        """ "A refresh token can be acquired without this step."."""
        with asking(google, "authorize", "a", "--manual", "--no-pkce") as person:
            assert "code_challenge" not in person.address()
            person.answer(browser.consent(person.address()))
            assert person.done().status == 0
        assert not authority.requests()[0].code_verifier

    def test_not_a_test_user(self, google: Here, authority: Authority, browser: Browser) -> None:
        """ "…only the mailboxes that have been added as Test Users can access the application."."""
        authority.only_testers("somebody@example.test")
        with asking(google, "authorize", "a", "--manual") as person:
            browser.consent(person.address())
            assert "access_denied" in browser.text()
            person.answer("")  # the browser shows an error
            person.until("A number, or the page's words: ")
            person.answer("Error 403: access_denied")
            done = person.done()
        assert done.status == 1
        assert "test user" in done.out.lower()

    def test_the_menu_of_what_is_seen(self, google: Here) -> None:
        with asking(google, "authorize", "a", "--manual") as person:
            person.answer("")
            person.until("A number, or the page's words: ")
            person.answer("1")
            done = person.done()
        assert done.status == 1
        assert "→" in done.out


class TestOutOfBand:
    def test_as_the_text_describes_it(self, google: Here, browser: Browser) -> None:
        with asking(google, "authorize", "a", "--oob") as person:
            assert "redirect_uri=urn%3Aietf%3Awg%3Aoauth%3A2.0%3Aoob" in person.address()
            person.answer(browser.shown_code(person.address()))
            done = person.done()
        assert "Google refuses this way for published applications" in done.err
        assert done.status == 0, done

    def test_refused_for_a_published_application(self, google: Here, authority: Authority, browser: Browser) -> None:
        authority.allow_out_of_band(False)
        with asking(google, "authorize", "a", "--oob") as person:
            browser.consent(person.address())
            person.answer(browser.text())
            done = person.done()
        assert done.status == 1


class TestDevice:
    def test_a_code_on_another_device(self, microsoft: Here, authority: Authority, browser: Browser, mailbox_user: str) -> None:
        authority.set_device(interval=1)
        with asking(microsoft, "authorize", "a", "--device") as person:
            said = person.until("Waiting until you have allowed it")
            code = said.partition("enter the code ")[2].split()[0]
            authority.approve_device(code, mailbox_user)
            done = person.done()
        assert done.status == 0, done
        assert microsoft.read()[A]["captured"] == 1

    def test_denied(self, microsoft: Here, authority: Authority) -> None:
        authority.set_device(interval=1)
        with asking(microsoft, "authorize", "a", "--device") as person:
            said = person.until("Waiting until you have allowed it")
            authority.deny_device(said.partition("enter the code ")[2].split()[0])
            done = person.done()
        assert done.status == 1
        assert "access_denied" in done.out

    def test_not_at_google(self, google: Here) -> None:
        done = google.command("authorize", "a", "--device", status=1)
        assert "use --manual instead" in done.out


class TestWhatCame:
    def test_the_wrong_account_of_several(self, google: Here, authority: Authority, browser: Browser, mailbox_user: str) -> None:
        """ "…if you have multiple mailboxes": the wrong one is chosen."""
        authority.sign_in(mailbox_user, "other@example.test")
        with asking(google, "authorize", "a", "--manual") as person:
            person.answer(browser.consent(person.address(), account="other@example.test"))
            done = person.done()
        assert done.status == 1
        assert f"other@example.test signed in, which is not {mailbox_user} and cannot open it" in done.out
        assert f"sign in as {mailbox_user}" in done.out
        assert google.check()[A]["words"].startswith("Nobody has consented yet")

    def test_another_account_that_may_open_the_mailbox(self, google: Here, authority: Authority, browser: Browser) -> None:
        """A shared mailbox: the login is tried with the token that came, before anything is kept."""
        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), SharedMailbox) as server:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
            google.put(A, {"port": server.server_address[1]})
            with asking(google, "authorize", "a", "--manual") as person:
                person.answer(browser.consent(person.address(), account="colleague@example.test"))
                done = person.done()
            server.shutdown()
        assert done.status == 0, done
        assert "trying whether colleague@example.test may open it" in done.err
        assert "add: oauth-user = colleague@example.test" in done.out

    def test_a_scope_that_was_not_ticked(self, google: Here, browser: Browser) -> None:
        with asking(google, "authorize", "a", "--manual") as person:
            person.answer(browser.consent(person.address(), withhold=(MAIL,)))
            done = person.done()
        assert f"the scope {MAIL} was not granted" in done.out

    def test_no_refresh_token(self, google: Here, authority: Authority, browser: Browser) -> None:
        with asking(google, "authorize", "a", "--manual") as person:
            end = browser.consent(person.address())
            authority.fault("answer", status=200, body='{"access_token":"abc","token_type":"Bearer","expires_in":60}')
            person.answer(end)
            done = person.done()
        assert "no refresh token" in done.out
        assert "myaccount.google.com" in done.out

    def test_print(self, google: Here, authority: Authority, browser: Browser, mailbox_user: str) -> None:
        with asking(google, "authorize", "a", "--manual", "--print") as person:
            person.answer(browser.consent(person.address()))
            token = person.done().out.splitlines()[-1]
        google.command("authorize", "--forget", "a")
        assert google.check()[A]["ok"] is False
        google.put(A, {"password": token})
        assert google.check()[A]["ok"] is True

    def test_nothing_is_in_clear(self, google: Here, authority: Authority, browser: Browser) -> None:
        with asking(google, "authorize", "a", "--manual", "--print") as person:
            end = browser.consent(person.address())
            person.answer(end)
            done = person.done()
        token, code = done.out.splitlines()[-1], parse_qs(urlsplit(end).query)["code"][0]
        files = [Path(folder) / name for folder, _, names in os.walk(google.data) for name in names]
        octets = b"".join(file.read_bytes() for file in files)
        assert token
        assert token.encode() not in octets
        assert code not in done.err + done.out


class TestVaultAndFile:
    def consent(self, here: Here, browser: Browser) -> None:
        with asking(here, "authorize", "a", "--manual") as person:
            person.answer(browser.consent(person.address()))
            assert person.done().status == 0

    def test_a_new_password_beats_the_vault(self, google: Here, authority: Authority, browser: Browser, mailbox_user: str) -> None:
        google.put(A, {"password": "an-old-token"})
        self.consent(google, browser)
        assert google.check()[A]["ok"]
        google.put(A, {"password": authority.refresh_token(mailbox_user, client=OTHER)})
        found = google.check()[A]
        assert not found["ok"]  # the new value is asked with, and it is another application's
        google.put(A, {"password": "an-old-token"})
        assert google.check()[A]["ok"]
        google.put(A, {"password": None})
        assert google.check()[A]["ok"]

    def test_an_unchanged_one_never_brings_a_spent_token_back(
        self, google: Here, authority: Authority, browser: Browser, mailbox_user: str
    ) -> None:
        spent = authority.refresh_token(mailbox_user, ttl=0)
        google.put(A, {"password": spent})
        self.consent(google, browser)
        authority.revoke_access(account=mailbox_user)  # the next login needs a refresh
        assert google.check()[A]["ok"]
        assert all(request.refresh_token != spent for request in authority.requests())

    def test_another_mailbox_needs_another_consent(self, google: Here, browser: Browser) -> None:
        self.consent(google, browser)
        google.put(A, {"mailbox": "elsewhere@example.test"})
        assert google.check()[A]["words"].startswith("Nobody has consented yet")

    def test_a_running_service_notices(self, google: Here, authority: Authority, browser: Browser) -> None:
        with google.service() as service:
            service.wait("needs_person", A)
            self.consent(google, browser)
            assert service.wait("read", A)["captured"] == 1

    def test_two_clients_of_one_account_share_a_chain(
        self, google: Here, authority: Authority, browser: Browser, mailbox_user: str
    ) -> None:
        google.put("pop-client-b", {**google.sections[A], "folder-path": "Drafts"})
        for name in ("a", "b"):
            with asking(google, "authorize", name, "--manual") as person:
                person.answer(browser.consent(person.address()))
                person.done()
        authority.reset()
        authority.rotate(True)
        authority.revoke_access(account=mailbox_user)
        assert google.check("a")[A]["ok"]
        assert authority.count() == 1


class TestAll:
    def test_only_those_that_need_it(
        self, google: Here, authority: Authority, browser: Browser, dovecot: Dovecot, mailbox_user: str
    ) -> None:
        other = f"b.{mailbox_user}"
        google.put("pop-client-b", {**google.sections[A], "mailbox": other, "password": authority.refresh_token(other)})
        with asking(google, "authorize", "--all", "--manual") as person:
            person.until("pop-client-b: works already")
            person.answer(browser.consent(person.address()))
            done = person.done()
        assert done.status == 0, done
        assert done.out.count("consent given") == 1

    def test_what_needs_no_consent_is_told(self, google: Here) -> None:
        google.put(A, {"mail.imap.auth.mechanisms": None, "password": "x"})
        done = google.command("authorize", "a", status=1)
        assert "add the line: mail.imap.auth.mechanisms = XOAUTH2" in done.out
