"""An address for the owner of a mailbox, with the real authority: opened, consented, and the mailbox is read."""

from __future__ import annotations

import http.cookiejar
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from running import Here, Service, letter, oauth
from test_rest_service import ask, new_key

from servers.authority import TEST, Authority
from servers.dovecot import Dovecot

A = "pop-client-a"


@pytest.fixture
def here(tmp_path: Path, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> Here:
    """A mailbox at Google, whose authority is this machine's, and nobody has consented yet."""
    here = Here(tmp_path)
    here.put("authority-google", {"token_endpoint": authority.token_url, "authorization_endpoint": authority.authorize_url})
    here.put("secret-gmail", {"password": TEST.secret})
    here.put(A, {**oauth(dovecot.imap_port, mailbox_user, "", tenant_authority="google", secret="gmail"), "password": None})
    dovecot.deliver(mailbox_user, letter(1))
    return here


class Owner:
    """A browser without a screen: it keeps cookies and follows where it is led, but not to ``stop``."""

    def __init__(self) -> None:
        self.jar = http.cookiejar.CookieJar()

    def open(self, address: str, *, stop: str = "") -> tuple[int, str, str]:
        """Status, the address it ended on, and the page."""

        class Leading(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *asked: Any) -> urllib.request.Request | None:
                return None if stop and urlsplit(asked[-1]).path == stop else super().redirect_request(*asked)

        opener = urllib.request.build_opener(Leading, urllib.request.HTTPCookieProcessor(self.jar))
        try:
            with opener.open(address, timeout=20) as answer:
                return answer.status, answer.geturl(), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get("Location", error.geturl()), error.read().decode()


def invited(service: Service, key: str) -> str:
    status, told = ask(service, key, "POST", "/v1/clients/a/connect")
    assert status == 201, told
    return str(told["address"])


def test_the_owner_consents_and_the_mailbox_is_read(here: Here, authority: Authority, mailbox_user: str) -> None:
    key = new_key(here)
    with here.service() as service:
        service.wait("needs_person", A)
        address = invited(service, key)
        Owner().open(address, stop="/oauth/callback")  # a program that looks at mail opens it before: nothing is used up
        status, end, page = Owner().open(address)
        assert (status, urlsplit(end).path) == (200, "/oauth/callback")
        assert f"{mailbox_user} is connected. You can close this page." in page
        assert service.wait("read", A)["captured"] == 1
        assert service.wait("consented", A)["account"] == mailbox_user
        status, _, page = Owner().open(address)
        assert (status, "The address was used already" in page) == (400, True)
        token = urlsplit(address).path.rpartition("/")[2]
        code = parse_qs(urlsplit(end).query)["code"][0]
        said = service.log.read_text()
        assert token not in said
        assert code not in said
    octets = b"".join(file.read_bytes() for file in here.data.rglob("*") if file.is_file())
    assert token.encode() not in octets


def test_another_browser_cannot_finish_what_one_began(here: Here, mailbox_user: str) -> None:
    """Else whoever holds an address could have another person's mailbox connected as this one."""
    key = new_key(here)
    with here.service() as service:
        address = invited(service, key)
        _, back, _ = Owner().open(address, stop="/oauth/callback")
        status, _, page = Owner().open(back)
        assert (status, "Another browser began this" in page) == (400, True)
        assert not service.events("consented")
        assert "is connected" in Owner().open(address)[2]  # it is still good


def test_an_account_that_is_not_the_mailbox(here: Here, authority: Authority, mailbox_user: str) -> None:
    """The exact remedy stands on the page, nothing is kept, and the address stays good."""
    key = new_key(here)
    with here.service() as service:
        address = invited(service, key)
        owner = Owner()
        status, page_of, _ = owner.open(address, stop=urlsplit(authority.authorize_url).path)
        assert status == 303
        other = page_of.replace(f"login_hint={mailbox_user.replace('@', '%40')}", "login_hint=stranger%40example.test")
        assert other != page_of
        status, _, page = owner.open(other)
        assert status == 400
        assert f"sign in as {mailbox_user}" in page
        assert not service.events("consented")
        assert "is connected" in Owner().open(address)[2]


def test_from_the_command_line(here: Here, authority: Authority) -> None:
    refused = here.command("connect", "a", status=2)
    assert "needs a public-url" in refused.err
    with here.service() as service:
        here.put("web", {"public-url": service.wait("started")["web"]})
        told = here.command("connect", "a", "--json").object
        assert told["address"].startswith(f"{service.wait('started')['web']}/connect/")
        second = here.command("connect", "a").out.strip()
        assert here.command("connect", "a", "--revoke", "--json").object == {"client": A, "revoked": 2}
        for address in (told["address"], second):
            status, _, page = Owner().open(address)
            assert (status, "The address was taken back" in page) == (400, True)
    here.put(A, {"mail.imap.auth.mechanisms": None, "password": "sesame"})
    assert "uses a password, not OAuth" in here.command("connect", "a", status=2).err
