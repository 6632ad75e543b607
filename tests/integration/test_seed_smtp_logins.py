"""The documented Gmail options for an account that sends: whether it logs in, and with what. ``test_seed_smtp.py`` goes before."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from running import PATIENCE, Here, oauth
from sending_gmail import Api, P, S, at_google, basic, gmail, send, taken
from test_seed import PRINTED, Detour, quoted

from postroom.app.config import Live, load
from postroom.app.core import opened
from postroom.app.observing import Quiet
from postroom.clock import SystemClock
from postroom.drivers import open_submitter
from postroom.net.stream import Dialer
from postroom.outbound import Envelope, Octets, Recipient, RecipientState
from servers.authority import Authority
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.postfix import Postfix
from servers.smtp_faults import Fault, Manner, SmtpFaults
from servers.waiting import wait_for

OPEN = Manner(auth_required=False)  # takes mail of everybody, and a login of whoever wants one


@pytest.fixture
def google(tmp_path: Path, authority: Authority) -> Here:
    return at_google(Here(tmp_path), authority)


def refused(here: Here, user: str) -> str:
    """What is said where the account cannot send."""
    given = ("--from", user, "--to", "reader@example.test", "--subject", "hello", "--text", "hello")
    return here.command("send", *given, "--wait", status=1).err


# --- password, enable-authentication ----------------------------------------------------------------------------------


class TestPassword:
    def test_it_acts_only_when_authentication_is_on(self, google: Here, smtp_faults: SmtpFaults, mailbox_user: str) -> None:
        """ "This applies only when enable-authentication is set to true.\""""
        quoted("This applies only when enable-authentication is set to true.")
        smtp_faults.behave(OPEN)
        for written, user in ((None, ""), ("false", ""), ("true", mailbox_user)):
            google.put(S, basic(smtp_faults, mailbox_user))
            google.put(S, {"enable-authentication": written})
            assert send(google, mailbox_user)["state"] == "sent"
            assert [known.user for known in taken(smtp_faults, mailbox_user)][-1] == user
        google.put(S, {"enable-authentication": None})
        told = google.command("check", S).err
        assert "without effect: nobody logs in, since enable-authentication is not written" in told
        assert "Add the line: enable-authentication = true" in told

    def test_it_authenticates_the_user(self, google: Here, smtp_faults: SmtpFaults, mailbox_user: str) -> None:
        """ "specifies the password used to authenticate the user with respect to the corporate e-mail server when sending out
        messages.\""""
        quoted(
            "specifies the password used to authenticate the user with respect to the corporate e-mail server when sending out "
            "messages."
        )
        google.put(S, basic(smtp_faults, mailbox_user, enable_authentication="true", password="another"))
        assert "The mail waits unharmed" in refused(google, mailbox_user)
        assert google.status(S)["health"] == "needs a person"
        assert not taken(smtp_faults, mailbox_user)


class TestEnableAuthentication:
    def test_it_acts_immediately_and_open_connections_retire(
        self, google: Here, authority: Authority, smtp_faults: SmtpFaults, mailbox_user: str
    ) -> None:
        """Written ``false`` beside XOAUTH2 it is obeyed, and warned of."""
        smtp_faults.behave(OPEN)
        google.put(S, gmail(smtp_faults, mailbox_user, authority.refresh_token(mailbox_user), cnx_pool_size=2))
        with google.service() as service:
            api = Api(google, service, mailbox_user)
            smtp_faults.fail(Fault("dot", do="hold", times=2))
            api.hand_in()
            api.hand_in()
            wait_for(lambda: len(taken(smtp_faults, mailbox_user)) == 2, "two messages under way", timeout=PATIENCE)
            api.hand_in()
            google.put(S, {"enable-authentication": "false"})
            service.wait("config_changed")
            assert smtp_faults.logins() == [mailbox_user] * 2  # what is under way comes to its end
            smtp_faults.go_on()
            service.wait("sent", S, count=3)
            assert [known.user for known in taken(smtp_faults, mailbox_user)] == [mailbox_user, mailbox_user, ""]
            wait_for(lambda: smtp_faults.logins() == [], "the retirement of the idle one too", timeout=PATIENCE)
            warnings = [str(record["warning"]) for record in service.events("config_warning")]
            assert "enable-authentication = 'false': nobody logs in, although OAuth is switched on" in warnings[-1]
            google.put(S, {"enable-authentication": "true"})
            service.wait("config_changed", count=2)
            api.hand_in()
            service.wait("sent", S, count=4)
            assert [known.user for known in taken(smtp_faults, mailbox_user)][-1] == mailbox_user
            assert not service.events("client_changed")
            assert not service.events("sender_restarted")
            assert authority.count() == 1

    def test_not_written_beside_xoauth2_it_is_on_and_said_once(
        self, google: Here, authority: Authority, smtp_faults: SmtpFaults, mailbox_user: str
    ) -> None:
        smtp_faults.behave(OPEN)
        google.put(S, gmail(smtp_faults, mailbox_user, authority.refresh_token(mailbox_user)))
        with google.service() as service:
            Api(google, service, mailbox_user).hand_in()
            service.wait("sent", S)
            google.put("authority-new-lines-before", {"token_endpoint": authority.token_url})
            google.put("secret-gmail", {"password": "rotated"})
            service.wait("client_changed", S)
            said = [record for record in service.events("config_warning") if "counts as true" in str(record["warning"])]
            assert len(said) == 1
        assert [known.user for known in taken(smtp_faults, mailbox_user)] == [mailbox_user]


# --- the steps of the text --------------------------------------------------------------------------------------------


STEPS = (
    "Configuring the smtp-client section Configure the following configuration options: "
    "• client-id—Specify the Client ID of the Google application. "
    "• password—Specify the refresh_token of the SMTP account. "
    "• secret—Specify the secretName of the secret-<secretName> section to associate with the Google application secret. "
    '• tenant-authority—Specify the valid Google authority server, which is a case-insensitive string that contains "google".'
)


def test_the_steps_of_the_text_make_an_account_that_sends(
    google: Here, authority: Authority, smtp_faults: SmtpFaults, mailbox_user: str
) -> None:
    """ "Configuring the smtp-client section": client-id, password, secret, tenant-authority; "Configuring the
    secret-<secretName> section": password.

    The steps leave out the mechanism and the user: each is named, with what to write.
    """
    steps = re.findall("• (\\S+)—", quoted(STEPS))
    whole = gmail(smtp_faults, mailbox_user, authority.refresh_token(mailbox_user), tenant_authority="Google")
    there = ("server", "port", "tls-ca-file")  # of the test's server; Gmail's needs none of them
    google.put(S, {name: whole[name] for name in (*steps, *there)})
    told = google.command("check", S, status=1).err
    assert "Add the line: mail.smtp.auth.mechanisms = XOAUTH2" in told
    google.put(S, {"mail.smtp.auth.mechanisms": "XOAUTH2"})
    assert "the option is required for a login and is not written" in google.check(S)[S]["words"]
    assert authority.count() == 0
    google.put(S, {"user": mailbox_user})
    assert send(google, mailbox_user)["state"] == "sent"
    assert [known.user for known in taken(smtp_faults, mailbox_user)] == [mailbox_user]


def test_the_limitations_stand_in_the_remedy(
    google: Here, authority: Authority, smtp_faults: SmtpFaults, mailbox_user: str
) -> None:
    """ "During the test phase, a refresh token expires in 7 days.\""""
    quoted("During the test phase, a refresh token expires in 7 days.")
    google.put(S, gmail(smtp_faults, mailbox_user, authority.refresh_token(mailbox_user, ttl=0)))
    assert "The mail waits unharmed" in refused(google, mailbox_user)
    found = google.status(S)
    assert (found["health"], found["queue"]["ready"]) == ("needs a person", 1)
    assert "invalid_grant" in found["fault"]
    assert "in testing a refresh token lasts 7 days, and may end when the mailbox is not used for a few days" in found["remedy"]


# --- one token for several --------------------------------------------------------------------------------------------


def test_clients_with_one_refresh_token_share_its_chain_while_the_authority_rotates_it(
    google: Here, authority: Authority, dovecot: Dovecot, smtp_faults: SmtpFaults, mailbox_user: str
) -> None:
    """ "For Gmail … this option is used for the refresh_token": two accounts and a mailbox with the same one.

    A second use of a token that was exchanged would end the whole consent.
    """
    token = authority.refresh_token(mailbox_user, rotate=True)
    authority.set_access_ttl(50)  # too short for a conversation to take a second message
    google.put(S, gmail(smtp_faults, mailbox_user, token))
    google.put(f"{S}-b", gmail(smtp_faults, mailbox_user, token, addresses="b.example"))
    google.put(P, oauth(dovecot.imap_port, mailbox_user, token, tenant_authority="google", secret="gmail"))
    with google.service() as service:
        one, two = Api(google, service, mailbox_user), Api(google, service, "x@b.example", "second")
        service.looked(P)
        for round_ in (1, 2, 3):
            before, since = authority.refreshes(mailbox_user), service.mark()
            authority.revoke_access(account=mailbox_user)
            for _ in range(3):
                one.hand_in()
                two.hand_in()
            dovecot.kick(mailbox_user)
            service.wait("sent", S, count=3 * round_)
            service.wait("sent", f"{S}-b", count=3 * round_)
            service.wait("connected", P, since=since)
            assert authority.refreshes(mailbox_user) == before + 1
        assert not [record for record in service.complaints() if record["event"] == "needs_person"]
    asked = authority.requests(mailbox_user)
    assert [request.status for request in asked] == [200] * 4
    assert len({request.refresh_token for request in asked}) == 4  # each was used once
    assert asked[0].refresh_token == token


# --- basic authentication ---------------------------------------------------------------------------------------------


def test_an_application_password_with_its_blanks_sends_by_gmail(
    google: Here, certificates: Certificates, authority: Authority, root: None
) -> None:
    """ "For basic authentication, Genesys E-mail Server can access Gmail mailboxes using the IMAP, POP3, and SMTP protocols."

    A real login by name and STARTTLS at smtp.gmail.com; only the way there leads to this machine.
    """
    quoted("can access Gmail mailboxes using the IMAP, POP3, and SMTP protocols")
    passdb = f"passdb {{\n driver = static\n mechanisms = plain login\n args = password={PRINTED.replace(' ', '')}\n}}"
    user = "somebody@gmail.com"
    with (
        Dovecot(certificates=certificates, extra=passdb, sasl=True) as users,
        Postfix(users, certificates=certificates, certificate_names=("smtp.gmail.com",)) as at_google_,
    ):
        google.put(S, {"user": user, "password": PRINTED, "enable-authentication": "true", "tls-ca-file": certificates.ca_file})
        asyncio.run(submit(google, user, Detour(at_google_.submission_port, ("smtp.gmail.com", 587, False))))
        assert f"sasl_method=PLAIN, sasl_username={user}" in at_google_.log_text()
    assert authority.count() == 0


async def submit(here: Here, user: str, dialer: Dialer) -> None:
    """Send a message, over this way."""

    async def may_be_accepted(_: Sequence[str]) -> None:
        """Nobody keeps a queue here."""

    live = Live(load(here.file, {}), {})
    log = Quiet(live, SystemClock(), io.StringIO())
    async with opened(live, SystemClock(), log, log.trace, {}) as core:
        account = core.account(S)
        assert account is not None
        async with open_submitter(account, dataclasses.replace(core.kit, dialer=dialer)) as submitter:
            envelope = Envelope(user, (Recipient("reader@example.test"),))
            [status] = await submitter.submit(envelope, Octets(b"Subject: hello\r\n\r\nhello\r\n"), may_be_accepted)
            assert (status.state, status.code) == (RecipientState.SENT, 250)
