"""The application of the README, as it is shown: a customer's letter is read, answered through Postfix, and acknowledged."""

from __future__ import annotations

import os
import subprocess
import sys
from email import message_from_bytes
from pathlib import Path

from running import Here, basic
from sending import SENDER, account

from crash.answers import APPLICATION
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.dovecot_config import DOMAIN
from servers.postfix import Postfix
from servers.waiting import wait_for


def test_a_letter_is_answered_and_acknowledged(
    tmp_path: Path, certificates: Certificates, dovecot: Dovecot, postfix: Postfix, mailbox_user: str
) -> None:
    here = Here(tmp_path)
    customer = f"customer-of-{mailbox_user.partition('@')[0]}@{DOMAIN}"
    here.put("pop-client-desk", basic(dovecot.imap_port, mailbox_user, address=SENDER))
    here.put("smtp-client", account(postfix, certificates))
    here.put("pull-desk", {})
    key = here.command("keys", "create", "desk", "--role", "application", "--application", "desk").out.strip()
    letter = (
        f"From: Ann <{customer}>\r\nTo: {SENDER}\r\nSubject: My order\r\nMessage-ID: <order.17@x.example>\r\n\r\nWhere is it?\r\n"
    )
    nobody = f"To: {SENDER}\r\nSubject: From nobody\r\n\r\nWho can answer this?\r\n"
    with here.service() as service:
        environment = {**os.environ, "POSTROOM": str(service.wait("started")["web"]), "POSTROOM_KEY": key}
        with subprocess.Popen([sys.executable, str(APPLICATION)], env=environment) as application:
            try:
                service.looked("pop-client-desk")
                dovecot.deliver(mailbox_user, nobody.encode())  # holds up nothing behind it
                dovecot.deliver(mailbox_user, letter.encode())
                [octets] = wait_for(lambda: list(dovecot.raw(customer).values()), "an answer", timeout=60)
                wait_for(lambda: _waiting(here) == (0, 1), "an acknowledgement, and a refusal", timeout=60)
                assert application.poll() is None
            finally:
                application.kill()
    answer = message_from_bytes(octets)
    assert (answer["Subject"], answer["In-Reply-To"]) == ("Re: My order", "<order.17@x.example>")
    assert answer["Auto-Submitted"] == "auto-replied"
    assert SENDER in answer["From"]
    [sent] = here.command("outbox", "list", "--json").objects
    assert sent["state"] == "sent"


def _waiting(here: Here) -> tuple[int, int]:
    """Messages that may be handed out or are in somebody's hands, and those that were refused for now."""
    found = here.command("pull", "list", "--json").object
    return found["waiting"] + found["leased"], found["deferred"]
