"""Sending as an operator and an application see it: queued, sent through Postfix with OAuth 2.0, and read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import Here, basic, rig_sections
from sending import SENDER, account, draft, oauth_account

from servers.authority import Authority
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.postfix import REFUSED, Postfix, without_trace
from servers.waiting import wait_for

NOBODY = next(iter(REFUSED))


@pytest.fixture
def here(tmp_path: Path, authority: Authority) -> Here:
    here = Here(tmp_path)
    here.change(rig_sections(authority))
    return here


def send(here: Here, document: object, *arguments: str, status: int | None = 0) -> dict[str, object]:
    """``postroom send``; what it says of the submission."""
    file = here.directory / "draft.json"
    file.write_text(json.dumps(document))
    return here.command("send", "--json", *arguments, str(file), status=status).object


def arrived(dovecot: Dovecot, user: str, count: int = 1) -> list[bytes]:
    """What came into a mailbox, without the trace of its way."""

    def look() -> list[bytes] | None:
        found = [without_trace(octets) for octets in dovecot.raw(user).values()]
        return found if len(found) >= count else None

    return wait_for(look, f"{count} messages of {user}")


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_what_is_sent_with_a_token_is_read_back_octet_for_octet(
    here: Here,
    authority: Authority,
    certificates: Certificates,
    dovecot: Dovecot,
    postfix: Postfix,
    mailbox_user: str,
    mechanism: str,
) -> None:
    here.put("smtp-client", oauth_account(postfix, certificates, authority.refresh_token(SENDER), mechanism=mechanism))
    here.put("pop-client", basic(dovecot.imap_port, mailbox_user))
    body = "Grüße\n.\n..\n. leading dots\n" + "a long line " * 200 + "\n"
    sent = send(here, draft(mailbox_user, "Grüße, 世界", text=body, cc=[f"Größe <{mailbox_user}>"], bcc=[mailbox_user]), "--wait")
    [recipient] = sent["recipients"]  # type: ignore[misc]
    assert (sent["state"], recipient["state"], recipient["code"]) == ("sent", "sent", 250)  # type: ignore[index]
    octets = here.directory / "sent.eml"
    octets.write_bytes(here_raw(here, str(sent["id"])))
    assert arrived(dovecot, mailbox_user) == [octets.read_bytes()]
    assert b"\nbcc:" not in octets.read_bytes().lower()  # a Message-ID may hold these letters
    here.read()
    [message] = here.messages()
    assert (message["subject"], message["message_id"]) == ("Grüße, 世界", sent["message_id"])
    exported = here.directory / "read.eml"
    here.command("messages", "export", str(message["id"]), "--output", str(exported))
    assert without_trace(exported.read_bytes()) == octets.read_bytes()


def here_raw(here: Here, public_id: str) -> bytes:
    """The octets of a submission."""
    process = here.start("outbox", "show", "--raw", public_id)
    out, _ = process.communicate(timeout=30)
    return out.encode().replace(b"\n", b"\r\n")


def test_a_recipient_that_is_refused_is_told_with_the_servers_words(
    here: Here, certificates: Certificates, dovecot: Dovecot, postfix: Postfix, mailbox_user: str
) -> None:
    here.put("smtp-client", account(postfix, certificates))
    document = {**draft(mailbox_user), "to": [mailbox_user, NOBODY]}
    sent = send(here, document, "--wait", status=1)
    states = {known["address"]: known["state"] for known in sent["recipients"]}  # type: ignore[index, union-attr]
    assert states == {mailbox_user: "sent", NOBODY: "failed"}
    shown = here.command("outbox", "show", str(sent["id"])).out
    assert "5.1.1" in shown
    assert len(arrived(dovecot, mailbox_user)) == 1


def test_the_service_sends_what_another_process_hands_in(
    here: Here, certificates: Certificates, dovecot: Dovecot, postfix: Postfix, mailbox_user: str
) -> None:
    here.put("smtp-client", account(postfix, certificates))
    with here.service() as service:
        sent = send(here, draft(mailbox_user))
        assert sent["state"] == "queued"
        told = service.wait("sent", "smtp-client")
        assert (told["id"], told["recipients"]) == (sent["id"], 1)
    assert len(arrived(dovecot, mailbox_user)) == 1
    assert here.command("outbox", "list", "--json").object["state"] == "sent"


def test_a_draft_that_cannot_be_sent_is_refused_with_all_that_is_wrong(
    here: Here, certificates: Certificates, postfix: Postfix
) -> None:
    here.put("smtp-client", account(postfix, certificates))
    told = send(here, {"from": "nobody", "to": ["x@y@z"], "subject": "a\r\nBcc: b@c", "txt": 1}, status=2)
    pointers = {fault["pointer"] for fault in told["faults"]}  # type: ignore[index, union-attr]
    assert pointers >= {"/from", "/to/0", "/subject", "/txt"}
    assert here.command("outbox", "list", "--json").objects == []
