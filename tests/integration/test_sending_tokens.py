"""Tokens that end while mail is sent: in the middle of a queue, and in the middle of a message."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from email import message_from_bytes
from email.policy import SMTP
from pathlib import Path

import pytest
from consenting import asking
from running import PATIENCE, Here, Service
from sending_gmail import Api, S, at_google, gmail, taken

from servers.authority import Authority
from servers.browser import Browser
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.postfix import Postfix
from servers.proxy import FaultProxy, Trickle
from servers.smtp_faults import GMAIL, SmtpFaults
from servers.waiting import wait_for

MANY = 500


@pytest.fixture
def google(tmp_path: Path, authority: Authority) -> Here:
    return at_google(Here(tmp_path), authority)


def at_postfix(postfix: Postfix, certificates: Certificates, user: str, token: str, **more: object) -> dict[str, object]:
    """The documented steps' account, at Postfix."""
    there = {"server": postfix.host, "port": postfix.submission_port, "tls-ca-file": certificates.ca_file}
    steps = {"client-id": "postroom-test", "password": token, "secret": "gmail", "tenant-authority": "google"}
    return {**there, "user": user, **steps, "mail.smtp.auth.mechanisms": "XOAUTH2", **more}


def arrived(dovecot: Dovecot, user: str) -> Counter[str]:
    """How often each message came into a mailbox, by Message-ID."""
    return Counter(str(message_from_bytes(octets, policy=SMTP)["Message-ID"]) for octets in dovecot.raw(user).values())


@pytest.mark.parametrize("remedy", ["a new password", "a consent"])
def test_p28_a_dead_token_in_the_middle_of_500_messages(
    google: Here,
    authority: Authority,
    browser: Browser,
    certificates: Certificates,
    dovecot: Dovecot,
    postfix: Postfix,
    mailbox_user: str,
    remedy: str,
) -> None:
    """The account parks and says what helps, nothing fails; after that all go out by themselves, each once."""
    sender = f"of.{mailbox_user}"
    authority.set_access_ttl(50)  # too short for a conversation to take a second message: each one logs in
    google.put(S, at_postfix(postfix, certificates, sender, authority.refresh_token(sender)))
    google.command("pause", S)
    with google.service() as service:
        api = Api(google, service, sender)
        sent = [api.hand_in(to=[mailbox_user]) for _ in range(MANY)]
        google.command("resume", S)
        service.wait("sent", S, count=100, timeout=60)
        authority.revoke_refresh(account=sender)
        authority.revoke_access(account=sender)
        assert "invalid_grant" in service.wait("needs_person", S, timeout=60)["error"]
        found = wait_for(lambda: parked(google), "status", timeout=PATIENCE)
        done = len(service.events("sent", S))
        assert 100 <= done < MANY
        assert f"postroom authorize {S}" in found["remedy"]
        queue = found["queue"]
        assert (queue["ready"] + queue["sending"], queue["failed"], queue["in_doubt"]) == (MANY - done, 0, 0)

        if remedy == "a new password":
            google.put(S, {"password": authority.refresh_token(sender)})
        else:
            with asking(google, "authorize", S, "--no-browser") as person:
                browser.consent(person.address(), account=sender)
                assert person.done().status == 0
        service.wait("sent", S, count=MANY, timeout=120)
        assert not [name for name in ("undelivered", "deferred", "in_doubt", "held") if service.events(name, S)]
        assert google.status(S)["health"] == "working"
    wait_for(lambda: arrived(dovecot, mailbox_user).total() >= MANY, "the arrival of all", timeout=60)
    assert arrived(dovecot, mailbox_user) == Counter(sent)


def parked(here: Here) -> dict[str, object] | None:
    """What status says of the account once nothing of it is under way."""
    found = here.status(S)
    return found if found["health"] == "needs a person" else None


LONG = "x" * 70 + "\n"
TTL = 3  # seconds that an access token is good


def slowly(port: int) -> FaultProxy:
    """A long thin line to a server: half a megabyte takes some seconds."""
    return FaultProxy("127.0.0.1", port, trickle=Trickle(8192, 0.1, "to_server"))


def send_long(api: Api, service: Service, recipient: str) -> str:
    """A message that takes longer than a token is good; its Message-ID."""
    began = time.monotonic()
    message_id = api.hand_in(to=[recipient], text=LONG * 8000)
    service.wait("sent", S, timeout=60)
    assert time.monotonic() - began > TTL
    return message_id


def test_an_access_token_ends_during_a_long_submission(
    google: Here, authority: Authority, certificates: Certificates, dovecot: Dovecot, postfix: Postfix, mailbox_user: str
) -> None:
    """The message goes out, once; the next one logs in anew, with a new token."""
    sender = f"of.{mailbox_user}"
    with slowly(postfix.submission_port) as line:
        token = authority.refresh_token(sender)
        authority.set_access_ttl(TTL)
        google.put(S, {**at_postfix(postfix, certificates, sender, token, port=line.port), "cnx-pool-size": 1})
        with google.service() as service:
            api = Api(google, service, sender)
            sent = [send_long(api, service, mailbox_user)]
            asked, connections = authority.count(sender), line.connections
            sent.append(api.hand_in(to=[mailbox_user]))
            service.wait("sent", S, count=2)
            assert (authority.count(sender), line.connections) == (asked + 1, connections + 1)
            assert not service.complaints()[1:]  # behind the first one: enable-authentication counts as true
    wait_for(lambda: arrived(dovecot, mailbox_user).total() >= 2, "the arrival of both")
    assert arrived(dovecot, mailbox_user) == Counter(sent)


def test_the_server_ends_the_session_with_the_token_behind_a_long_submission(
    google: Here, authority: Authority, smtp_faults: SmtpFaults, mailbox_user: str
) -> None:
    """Its next command is refused; the next message goes over a new login at once, and the account is not parked."""
    smtp_faults.behave(replace(GMAIL, keywords=("SIZE 35882577", "8BITMIME", "PIPELINING"), session_seconds=TTL, sent_folder=""))
    with slowly(smtp_faults.port) as line:
        token = authority.refresh_token(mailbox_user)
        google.put(S, gmail(smtp_faults, mailbox_user, token, port=line.port, cnx_pool_size=1))
        with google.service() as service:
            api = Api(google, service, mailbox_user)
            sent = [send_long(api, service, "reader@example.test"), api.hand_in()]
            service.wait("sent", S, count=2)
            assert not service.complaints()[1:]  # as above
    assert [known.message_id for known in taken(smtp_faults, mailbox_user)] == sent
    mails = [known for known in smtp_faults.log() if known.line.startswith("MAIL FROM")]
    assert mails[-2].session != mails[-1].session
    assert len(mails) == 3  # to the second of them the server said that the session is over
