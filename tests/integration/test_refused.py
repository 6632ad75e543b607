"""Each refusal of the table produced for real: an authority and a mail server say it, and the command prints its remedy."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import socketserver
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from consenting import asking
from running import Here, Record, letter, oauth

from postroom.app.operations.pages import choices
from postroom.net.refusals import Rule, Verdict, Where, explain, heard_from_words, rules
from servers.authority import Authority
from servers.dovecot import Dovecot

SECRET, TOKEN = "the-client-secret-of-the-test", "the-refresh-token-of-the-test"
RULES = {rule.name: rule for rule in rules()}


def at(where: Where) -> list[str]:
    return [rule.name for rule in rules() if rule.at is where]


class Refusing(http.server.BaseHTTPRequestHandler):
    """A token endpoint that answers an application by the entry whose name is its client ID; others get a token."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        rule = RULES.get(form["client_id"][0])
        if rule is not None and rule.at is Where.TOKEN:
            status, body = (rule.status or (400,))[0], rule.example
        else:
            status, body = 200, json.dumps({"access_token": "opaque", "token_type": "Bearer", "expires_in": 3600})
        self.send_response(status)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Imap(socketserver.StreamRequestHandler):
    """A mail server that answers a login by the entry that the user is named after."""

    def handle(self) -> None:
        self.say("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2] ready")
        rule: Rule | None = None
        while line := self.rfile.readline().decode():
            tag, verb, *rest = line.split()
            if verb == "AUTHENTICATE":
                rule = RULES[_user(rest[1])]
                self.log_in(tag, rule)
            elif verb == "CAPABILITY":
                self.say("* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2")
                self.say(f"{tag} OK done")
            elif verb == "SELECT" and rule is not None:
                self.say(f"{tag} BAD {_bare(rule.example)}")
            else:
                self.say(f"{tag} OK done")

    def log_in(self, tag: str, rule: Rule) -> None:
        if "not connected" in rule.example:
            self.say(f"{tag} OK [CAPABILITY IMAP4rev1] logged in")
            return
        challenge, _, words = rule.example.partition("}")
        if challenge.startswith("{"):  # RFC 7628 section 3.2.2: a challenge, an empty answer, the tagged NO
            self.say("+ " + base64.b64encode(f"{challenge}}}".encode()).decode())
            self.rfile.readline()
            self.say(f"{tag} NO {words.strip() or '[AUTHENTICATIONFAILED] refused'}")
        elif "{" in challenge:
            before, _, json_ = f"{challenge}}}".partition("{")
            self.say("+ " + base64.b64encode(f"{{{json_}".encode()).decode())
            self.rfile.readline()
            self.say(f"{tag} NO {_bare(before)}")
        else:
            self.say(f"{tag} NO {_bare(rule.example)}")

    def say(self, line: str) -> None:
        with contextlib.suppress(OSError):
            self.wfile.write(f"{line}\r\n".encode())


class ManyAtOnce(socketserver.ThreadingTCPServer):
    """Lets as many wait for their turn as the command sends at once."""

    request_queue_size = 128


def _user(initial: str) -> str:
    octets = base64.b64decode(initial)
    name = octets.split(b"\1")[0].removeprefix(b"user=") if octets.startswith(b"user=") else octets.split(b"\0")[1]
    return name.decode().partition("@")[0]


def _bare(words: str) -> str:
    """A server's words without the status of their protocol, which the IMAP server here puts in front."""
    return words.removeprefix("NO ").removeprefix("BAD ").replace("\n", " ").strip()


@pytest.fixture(scope="module")
def refusing() -> Iterator[tuple[int, int]]:
    """The ports of the token endpoint and of the mail server."""
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as tokens,
        ManyAtOnce(("127.0.0.1", 0), Imap) as imap,
    ):
        tokens.daemon_threads = imap.daemon_threads = True
        for server in (tokens, imap):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tokens.server_address[1], imap.server_address[1]
        for server in (tokens, imap):
            server.shutdown()


@pytest.fixture(scope="module")
def found(refusing: tuple[int, int], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """What one ``check`` of a client for each entry says, by the entry's name."""
    tokens, imap = refusing
    here = Here(tmp_path_factory.mktemp("refused"))
    endpoint = {"token_endpoint": f"http://127.0.0.1:{tokens}/token"}
    here.change({f"authority-{name}": endpoint for name in ("google", "microsoft", "rig")} | {"secret-s": {"password": SECRET}})
    sections: dict[str, dict[str, Any]] = {}
    for rule in rules():
        if rule.at not in (Where.TOKEN, Where.LOGIN):
            continue
        authority = {"google": "google", "microsoft": "https://login.microsoftonline.com", "": "rig"}[rule.authority]
        options = oauth(imap, f"{rule.name}@example.test", TOKEN, tenant_authority=authority, secret="s", client_id=rule.name)
        sections[f"pop-client-{rule.name}"] = {**options, "grant-type": "refresh_token", "protocol-timeout": "10s"}
    here.change(sections)
    done = here.command("check", "--json", status=1)
    assert SECRET not in done.out + done.err
    assert TOKEN not in done.out + done.err
    return {each["client"].removeprefix("pop-client-"): each for each in done.objects}


@pytest.mark.parametrize("name", at(Where.TOKEN))
def test_an_authority_says_it(found: dict[str, Record], name: str) -> None:
    rule, told = RULES[name], found[name]
    assert not told["ok"]
    assert told["steps"][-1]["step"] == "token"
    assert told["remedy"] == rule.advice(f"pop-client-{name}")
    if rule.codes:
        assert any(str(code) in told["words"] for code in rule.codes)
    assert (rule.error or "") in told["words"]
    assert "CLIENT" not in told["remedy"]


@pytest.mark.parametrize("name", at(Where.LOGIN))
def test_a_mail_server_says_it(found: dict[str, Record], name: str) -> None:
    rule, told = RULES[name], found[name]
    assert not told["ok"]
    assert told["steps"][-1]["step"] in ("login", "select")
    assert rule.advice(f"pop-client-{name}") in told["remedy"] or rule.fate is not Verdict.REAUTHORIZE


@pytest.mark.parametrize("name", at(Where.PAGE))
def test_a_page_shows_it(name: str) -> None:
    rule = RULES[name]
    assert explain(heard_from_words(Where.PAGE, rule.authority, rule.example)) is rule
    assert rule in choices(rule.authority)


def test_what_a_person_sees_is_explained(tmp_path: Path, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
    here = Here(tmp_path)
    here.put("authority-google", {"token_endpoint": authority.token_url, "authorization_endpoint": authority.authorize_url})
    here.put("secret-s", {"password": SECRET})
    here.put(
        "pop-client-a", {**oauth(dovecot.imap_port, mailbox_user, "", tenant_authority="google", secret="s"), "password": None}
    )
    shown = next(rule for rule in choices("google"))
    with asking(here, "authorize", "a", "--manual") as person:
        person.answer("")
        person.until("A number, or the page's words: ")
        person.answer("1")
        done = person.done()
    assert shown.means.rstrip(".") in done.out


class TestAService:
    """What a refusal does to a mailbox that runs."""

    @pytest.fixture
    def here(self, tmp_path: Path, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> Here:
        here = Here(tmp_path)
        here.put("authority-microsoft", {"token_endpoint": authority.microsoft_token_url("{tenant}")})
        here.put("secret-s", {"password": "client-secret-of-the-test"})
        token = authority.refresh_token(mailbox_user)
        options = oauth(dovecot.imap_port, mailbox_user, token, secret="s", grant_type="refresh_token")
        here.put("pop-client-a", {**options, "tenant-authority": "https://login.microsoftonline.com", "scope": None})
        dovecot.deliver(mailbox_user, letter(1))
        return here

    def test_a_throttled_authority_is_waited_for(self, here: Here, authority: Authority) -> None:
        authority.fault("throttled", retry_after=1)
        with here.service() as service:
            assert "429 Too Many Requests" in service.wait("retrying", "pop-client-a")["error"]
            service.wait("recovered", "pop-client-a")
            assert not service.events("needs_person")

    def test_passing_trouble_is_not_taken_for_bad_credentials(self, here: Here, authority: Authority) -> None:
        body = '{"error":"invalid_grant","error_description":"AADSTS90033: A transient error has occurred.","error_codes":[90033]}'
        authority.fault("answer", status=400, body=body)
        with here.service() as service:
            service.wait("retrying", "pop-client-a")
            service.wait("recovered", "pop-client-a")
            assert not service.events("needs_person")

    def test_a_certain_no_stops_the_hammering(self, here: Here, authority: Authority) -> None:
        body = '{"error":"invalid_grant","error_description":"AADSTS700082: expired due to inactivity.","error_codes":[700082]}'
        authority.fault("answer", 50, status=400, body=body)
        with here.service() as service:
            told = service.wait("needs_person", "pop-client-a")
            assert "90 days" in told["remedy"]
            here.put("pop-client-a", {"cycle-time": "2s"})  # an edit that the authority is not asked with
            service.wait("needs_person", "pop-client-a", count=2)
        assert authority.count() == 1
