"""The seed's own walk to a Gmail mailbox with OAuth 2.0, step by step, as its reader takes it; a message is sent at its end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Here, letter
from test_seed import quoted

from servers.authority import TEST, Authority
from servers.browser import Browser
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.gmail_pop3 import GmailPop3
from servers.postfix import Postfix
from servers.waiting import wait_for

ADDRESS = (
    "https://accounts.google.com/o/oauth2/auth?scope=https://mail.google.com/&redirect_uri=urn:ietf:wg:oauth:2.0:oob"
    "&response_type=code&client_id=<your client id>"
)
EXCHANGE = (
    'curl -d "code=<your authorization code>&grant_type=authorization_code&redirect_uri=urn:ietf:wg:oauth:2.0:oob'
    '&client_id=<your client_id>&client_secret=<your client secret>" -X POST https://oauth2.googleapis.com/token'
)


@pytest.fixture
def here(tmp_path: Path, authority: Authority) -> Here:
    here = Here(tmp_path)
    here.put("authority-google", {"token_endpoint": authority.token_url, "authorization_endpoint": authority.authorize_url})
    return here


@pytest.fixture(scope="module")
def gmail(authority: Authority) -> Iterator[GmailPop3]:
    with GmailPop3(tokens=authority.tokens) as running:
        yield running


# "access to Gmail mailboxes with the IMAP and SMTP protocols. Starting with version 8.5.202.02, … POP3 and SMTP protocols."
@pytest.mark.parametrize("protocol", ["IMAP", "POP3"])
def test_the_walk(
    here: Here,
    authority: Authority,
    browser: Browser,
    dovecot: Dovecot,
    postfix: Postfix,
    certificates: Certificates,
    gmail: GmailPop3,
    mailbox_user: str,
    protocol: str,
) -> None:
    if protocol == "IMAP":
        dovecot.deliver(mailbox_user, letter(1))
    else:
        gmail.add_user(mailbox_user)
        gmail.deliver(mailbox_user, letter(1))

    # "Step 2: Send a request to Google's OAuth 2.0 server. In a web browser, enter the following as a URL"
    address = quoted(ADDRESS).replace("<your client id>", TEST.id).replace("https://accounts.google.com", authority.url)
    authority.sign_in(mailbox_user, "other@example.test")
    # "Step 3: Google prompts the user for consent. … The Authorization Code is displayed."
    quoted("The Authorization Code is displayed. Copy the Code")
    code = browser.shown_code(address, account=mailbox_user)

    # "Step 4: Exchange authorization code for refresh and access tokens."
    command = quoted(EXCHANGE).replace("https://oauth2.googleapis.com/token", authority.token_url)
    command = command.replace("<your authorization code>", code).replace("<your client_id>", TEST.id)
    command = command.replace("<your client secret>", TEST.secret)
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30, check=True)
    answer = json.loads(done.stdout)
    # "Here is an example of the response"
    assert answer.keys() >= {"access_token", "expires_in", "refresh_token", "scope", "token_type"}
    assert answer["token_type"] == quoted("Bearer")

    # "Configuring the smtp-client section", "… the pop-client section", "… the secret-<secretName> section"
    section = {
        "client-id": TEST.id,
        "password": answer["refresh_token"],
        "secret": "gmail",
        "tenant-authority": "Google",  # "a case-insensitive string that contains "google""
    }
    here.put("smtp-client", section)
    port = dovecot.imap_port if protocol == "IMAP" else gmail.port
    where = {"type": protocol, "server": "localhost", "port": port, "pop-connection-security": "none"}
    here.put("pop-client", {**where, "mailbox": mailbox_user, **section})
    here.put("secret-gmail", {"password": TEST.secret})

    # The text's lists leave out what its reader has set elsewhere: it is named, with the line to add.
    told = here.command("check", status=1).err
    mechanisms = f"mail.{protocol.lower()}.auth.mechanisms"
    assert f"Add the line: {mechanisms} = XOAUTH2" in told
    assert "Add the line: mail.smtp.auth.mechanisms = XOAUTH2" in told
    here.put("pop-client", {mechanisms: "XOAUTH2"})
    there = {"server": postfix.host, "port": postfix.submission_port, "tls-ca-file": certificates.ca_file, "user": mailbox_user}
    here.put("smtp-client", {**there, "mail.smtp.auth.mechanisms": "XOAUTH2"})

    # "The refresh_token can be used to get a new Bearer token."
    quoted("The refresh_token can be used to get a new Bearer token.")
    assert here.read()["pop-client"]["captured"] == 1
    if protocol == "POP3":
        assert [mail.popped for mail in gmail.mails(mailbox_user)] == [True]  # the authority told that it is Google's

    # "The Bearer access_token, which can be used to access the mailbox in IMAP/POP3/SMTP": a message is sent, and read again.
    quoted("The Bearer access_token, which can be used to access the mailbox in IMAP/POP3/SMTP")
    given = ("--from", mailbox_user, "--to", mailbox_user, "--subject", "The end of the walk", "--text", "Here.")
    sent = here.command("send", *given, "--wait", "--json").object
    assert (sent["client"], sent["state"], sent["recipients"][0]["code"]) == ("smtp-client", "sent", 250)
    if protocol == "POP3":  # Postfix delivers to Dovecot, which stands for Gmail's other door
        where = {"type": "IMAP", "server": "localhost", "port": dovecot.imap_port, "pop-connection-security": "none"}
        imap = {"mailbox": mailbox_user, "mail.imap.auth.mechanisms": "XOAUTH2", "folder-path": "INBOX"}
        here.put("pop-client-imap", {**where, **imap, **section})
    wait_for(lambda: sent["message_id"].encode() in b"".join(dovecot.raw(mailbox_user).values()), "the message")
    here.read()
    assert [known["subject"] for known in here.messages() if known["message_id"] == sent["message_id"]] == ["The end of the walk"]
    assert f"sasl_method=XOAUTH2, sasl_username={mailbox_user}" in postfix.log_text()
    exchange, refresh = authority.requests()  # one token serves them all
    assert (exchange.grant_type, exchange.code_verifier) == ("authorization_code", False)  # "without this step"
    assert (refresh.grant_type, refresh.refresh_token) == ("refresh_token", answer["refresh_token"])


def test_the_walk_after_publishing(here: Here, authority: Authority, browser: Browser) -> None:
    """Google refuses the walk's redirect for published applications: the person is told what that page means."""
    authority.allow_out_of_band(False)
    browser.visit(ADDRESS.replace("<your client id>", TEST.id).replace("https://accounts.google.com", authority.url))
    assert "out-of-band (OOB) flow has been blocked" in browser.text()
