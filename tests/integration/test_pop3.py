"""POP3 against Dovecot, from the command line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from running import Here, basic, letter, oauth, rig_sections

from servers.authority import Authority
from servers.dovecot import Dovecot


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def pop(port: int, user: str, **more: object) -> dict[str, object]:
    return basic(port, user, type="POP3", **more)


def digests(here: Here) -> list[str]:
    return sorted(message["digest"] for message in here.messages())


def of(*letters: bytes) -> list[str]:
    return sorted(hashlib.sha256(octets).hexdigest() for octets in letters)


@pytest.mark.parametrize("security", ["none", "start-tls", "ssl-tls"])
def test_messages_are_captured_once(here: Here, dovecot: Dovecot, mailbox_user: str, security: str) -> None:
    letters = [letter(1), letter(2, 400_000), b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n"]
    for octets in letters:
        dovecot.deliver(mailbox_user, octets)
    port = dovecot.pop3s_port if security == "ssl-tls" else dovecot.pop3_port
    options = pop(port, mailbox_user, pop_connection_security=security, tls_ca_file=dovecot.ca_file)
    here.put("pop-client-a", options)
    assert here.read()["pop-client-a"]["captured"] == 3
    assert digests(here) == of(*letters)
    dovecot.deliver(mailbox_user, letter(4))
    assert here.read()["pop-client-a"]["captured"] == 1
    assert here.read()["pop-client-a"]["captured"] == 0


def test_messages_are_deleted_once_they_are_safe(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    for number in range(20):
        dovecot.deliver(mailbox_user, letter(number))
    here.put("pop-client-a", pop(dovecot.pop3_port, mailbox_user, after_capture="delete"))
    assert here.read()["pop-client-a"]["captured"] == 20
    assert dovecot.raw(mailbox_user) == {}
    assert here.read()["pop-client-a"]["captured"] == 0
    assert len(here.messages()) == 20


def test_a_service_reads_what_comes(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    here.put("pop-client-a", pop(dovecot.pop3_port, mailbox_user))
    with here.service() as service:
        service.looked("pop-client-a")
        dovecot.deliver(mailbox_user, letter(1))
        assert service.wait("read", "pop-client-a")["captured"] == 1


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_oauth(here: Here, dovecot: Dovecot, authority: Authority, mailbox_user: str, mechanism: str) -> None:
    dovecot.deliver(mailbox_user, letter(1))
    options = oauth(dovecot.pop3_port, mailbox_user, authority.refresh_token(mailbox_user), type="POP3")
    del options["mail.imap.auth.mechanisms"]
    here.change(rig_sections(authority))
    here.put("pop-client-a", {**options, "mail.pop3.auth.mechanisms": mechanism})
    assert here.read()["pop-client-a"]["captured"] == 1
