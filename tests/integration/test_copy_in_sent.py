"""The option ``copy-in-sent`` with a running service: what leaves through Postfix is filed at the same account's Dovecot."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import Here, basic
from sending import account, wait_for

from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.postfix import Postfix, without_trace


@pytest.fixture
def here(tmp_path: Path, dovecot: Dovecot, postfix: Postfix, certificates: Certificates, mailbox_user: str) -> Here:
    here = Here(tmp_path)
    here.put("smtp-client", account(postfix, certificates, mailbox_user))
    here.put("pop-client-a", basic(dovecot.imap_port, mailbox_user))
    return here


def send(here: Here, user: str, subject: str) -> str:
    """One message to oneself; its Message-ID."""
    sent = here.command("send", "--from", user, "--to", user, "--subject", subject, "--text", "hello", "--wait", "--json").object
    return str(sent["message_id"])


@pytest.mark.parametrize("folder", [None, "Gesendet"], ids=["by provider", "named"])
def test_a_copy_is_filed_of_what_arrived(here: Here, dovecot: Dovecot, mailbox_user: str, folder: str | None) -> None:
    here.put("smtp-client", {"copy-in-sent": folder})
    with here.service() as service:
        message_id = send(here, mailbox_user, "filed")
        wait_for(lambda: service.events("filed", "smtp-client"), "the copy", timeout=40)
        [filed] = service.events("filed", "smtp-client")
    assert filed["folder"] == (folder or "Sent")
    [copy] = dovecot.raw(mailbox_user, folder or "Sent").values()
    assert message_id.encode() in copy
    assert [without_trace(octets) for octets in dovecot.raw(mailbox_user).values()] == [copy]


def test_the_option_acts_when_the_account_restarts(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    """What was sent before is not filed afterwards."""
    here.put("smtp-client", {"copy-in-sent": "no"})
    with here.service() as service:
        send(here, mailbox_user, "not filed")
        here.put("smtp-client", {"copy-in-sent": None})
        service.wait("sender_restarted", "smtp-client")
        message_id = send(here, mailbox_user, "filed")
        wait_for(lambda: service.events("filed", "smtp-client"), "the copy", timeout=40)
    [copy] = dovecot.raw(mailbox_user, "Sent").values()
    assert message_id.encode() in copy
