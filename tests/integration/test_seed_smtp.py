"""The documented Gmail options, sentence by sentence, for an account that sends over SMTP.

Each test quotes the sentence that it shows, as ``test_seed.py`` does for a mailbox. The server is one that keeps a record of
what it took over, so that what was sent twice is seen, and that holds a message at its end as long as a test likes.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from running import PATIENCE, Here, Service, oauth
from sending_gmail import Api, P, S, at_google, gmail, send, taken
from test_seed import quoted

from servers.authority import OTHER, TEST, Authority, TokenRequest
from servers.dovecot import Dovecot
from servers.dovecot_config import PASSWORD
from servers.smtp_faults import Fault, SmtpFaults
from servers.waiting import wait_for

Options = dict[str, str]


@pytest.fixture
def google(tmp_path: Path, authority: Authority) -> Here:
    return at_google(Here(tmp_path), authority)


def asked(here: Here, authority: Authority, user: str) -> TokenRequest:
    """The one token request of an account that must log in."""
    finding = here.check(S)[S]
    assert finding["ok"], finding
    [request] = authority.requests(user)
    return request


# --- Changes Take Effect: At start/restart ----------------------------------------------------------------------------


class UnderWay:
    """A service in the middle of its first message, whose end the server does not answer; a second one waits behind it."""

    def __init__(self, here: Here, authority: Authority, server: SmtpFaults, service: Service, user: str) -> None:
        self.here, self.authority, self.server, self.service, self.user = here, authority, server, service, user
        self.sent: list[str] = []
        self.api = Api(here, service, user)
        server.fail(Fault("dot", do="hold"))
        self.hand_in()
        wait_for(lambda: len(taken(server, user)) == 1, "the message at the server", timeout=PATIENCE)
        self.hand_in()

    def hand_in(self) -> None:
        """One message more."""
        self.sent.append(self.api.hand_in())

    def edit(self, section: str, changes: Options, told: str) -> None:
        """Edit, and wait until the service tells of it; the message under way is not over yet."""
        self.here.put(section, changes)
        self.service.wait(told, S)
        assert not self.service.events("sent", S)
        assert (len(taken(self.server, self.user)), self.authority.count()) == (1, 1)

    def go_on(self) -> None:
        """Let the message under way come to its end."""
        self.server.go_on()
        self.service.wait("sent", S)

    def all_sent(self) -> None:
        """All that was handed in is sent, each once."""
        wait_for(lambda: self.api.sent() == dict.fromkeys(self.sent, "sent"), "the end of all messages", timeout=PATIENCE)
        assert [known.message_id for known in taken(self.server, self.user)] == self.sent
        assert not self.service.events("in_doubt", S)

    @property
    def order(self) -> list[str]:
        """Sending and restarting, as they came."""
        names = ("sent", "client_changed", "restart_pending", "sender_restarted")
        return [record["event"] for record in self.service.records if record["event"] in names]


@pytest.fixture
def written(google: Here, authority: Authority, smtp_faults: SmtpFaults, mailbox_user: str) -> Here:
    """The account, with one connection."""
    google.put("authority-elsewhere", {"token_endpoint": authority.microsoft_token_url("elsewhere")})
    google.put("secret-other", {"password": "of another application"})
    google.put(S, gmail(smtp_faults, mailbox_user, authority.refresh_token(mailbox_user), cnx_pool_size=1))
    return google


class Change(NamedTuple):
    """One option changed, and what the authority sees once it acts."""

    quotes: str
    section: str
    options: Options
    pending: str  # how it is called while it waits for the restart
    path: str = "/token"
    status: int = 200

    def undone(self) -> Options:
        """What was written before."""
        before = {"client-id": TEST.id, "secret": "gmail", "password": TEST.secret}
        return {name: before[name] for name in self.options}


AT_RESTART = "Changes Take Effect: At start/restart"
OF_THE_SECRET = "At the next POP cycle for a POP client (pop-client) or at start/restart for an SMTP client (smtp-client)"
CHANGES = {
    "password": Change(AT_RESTART, S, {"password": "a new one"}, "password"),
    "client-id": Change(AT_RESTART, S, {"client-id": OTHER.id}, "client-id", status=401),
    "tenant-authority": Change(
        AT_RESTART, S, {"tenant-authority": "elsewhere"}, "tenant-authority", path="/elsewhere/oauth2/v2.0/token"
    ),
    "secret": Change(AT_RESTART, S, {"secret": "other"}, "secret", status=401),
    "the password of the secret": Change(OF_THE_SECRET, "secret-gmail", {"password": "rotated"}, "secret-gmail", status=401),
}


@pytest.fixture(params=CHANGES)
def change(request: pytest.FixtureRequest, authority: Authority, mailbox_user: str) -> Change:
    found = CHANGES[str(request.param)]
    quoted(found.quotes)
    return found._replace(options={"password": authority.refresh_token(mailbox_user)}) if request.param == "password" else found


class TestTakesEffectAtRestart:
    """``password``, ``client-id``, ``tenant-authority``, ``secret``: Changes Take Effect: At start/restart."""

    def test_between_two_messages(
        self, written: Here, authority: Authority, smtp_faults: SmtpFaults, mailbox_user: str, change: Change
    ) -> None:
        with written.service() as service:
            under_way = UnderWay(written, authority, smtp_faults, service, mailbox_user)
            under_way.edit(change.section, change.options, "client_changed")
            under_way.go_on()
            acts(under_way, change)
            assert under_way.order[:3] == ["client_changed", "sent", "sender_restarted"]
            assert not service.events("restart_pending")

    @pytest.mark.parametrize("how", ["postroom restart", "a new start"])
    def test_when_a_person_says_so(
        self, written: Here, authority: Authority, smtp_faults: SmtpFaults, mailbox_user: str, change: Change, how: str
    ) -> None:
        """With ``restart-changed-clients = false`` what is written waits, and is shown."""
        written.put("settings", {"restart-changed-clients": "false"})
        with written.service() as service:
            under_way = UnderWay(written, authority, smtp_faults, service, mailbox_user)
            under_way.edit(change.section, change.options, "restart_pending")
            under_way.go_on()
            under_way.all_sent()  # the second one too, with what the account was started with
            assert (authority.count(), under_way.order) == (1, ["restart_pending", "sent", "sent"])
            under_way.api.shows_pending(change.pending)
            if how == "postroom restart":
                words = f"restart pending: {change.pending}; what is written acts after: postroom restart {S}"
                wait_for(lambda: words in written.command("status", status=None).out, "what status says", timeout=PATIENCE)
                written.command("restart", S)
                acts(under_way, change)
                under_way.api.shows_pending()
        if how == "a new start":
            with written.service() as under_way.service:
                under_way.api.service = under_way.service
                acts(under_way, change)
                under_way.api.shows_pending()


def acts(under_way: UnderWay, change: Change) -> None:
    """The change acts from now on: the authority sees it. A wrong one harms no mail: corrected, all goes out."""
    here, service, authority = under_way.here, under_way.service, under_way.authority
    wait_for(lambda: authority.count() == 2, "the token request after the restart", timeout=PATIENCE)
    request = authority.requests()[-1]
    assert (request.path, request.status) == (change.path, change.status)
    seen = {"password": request.refresh_token, "client-id": request.client_id}
    assert all(seen.get(name, value) == value for name, value in change.options.items() if change.section == S)
    under_way.hand_in()
    if change.status != 200:
        service.wait("needs_person", S)
        assert list(under_way.api.sent().values()).count("sent") == len(taken(under_way.server, under_way.user))
        since = service.mark()
        here.put(change.section, change.undone())
        if "restart-changed-clients" in here.sections["settings"]:
            service.wait("restart_pending", S, since=since)
            here.command("restart", S)
    under_way.all_sent()


def test_one_secret_of_both_kinds(
    google: Here, authority: Authority, dovecot: Dovecot, smtp_faults: SmtpFaults, mailbox_user: str
) -> None:
    """One ``secret-x``: at the next POP cycle for the pop-client, at restart for the smtp-client."""
    quoted(OF_THE_SECRET)
    google.put("settings", {"restart-changed-clients": "false"})
    token = authority.refresh_token(mailbox_user)
    google.put(S, gmail(smtp_faults, mailbox_user, token))
    google.put(P, oauth(dovecot.imap_port, mailbox_user, token, tenant_authority="google", secret="gmail"))
    with google.service() as service:
        api = Api(google, service, mailbox_user)
        service.looked(P)
        google.put("secret-gmail", {"password": "rotated at the authority's console"})
        assert "invalid_client" in service.wait("needs_person", P)["error"]
        assert service.wait("restart_pending", S)["options"] == "secret-gmail"
        api.hand_in()
        service.wait("sent", S)
        assert not service.events("needs_person", S)
        google.command("restart", S)
        assert "invalid_client" in service.wait("needs_person", S)["error"]


# --- secret -----------------------------------------------------------------------------------------------------------


class TestSecret:
    def test_not_written_it_is_secret_smtp(
        self, google: Here, authority: Authority, smtp_faults: SmtpFaults, mailbox_user: str
    ) -> None:
        """ "Default Value: smtp\""""
        quoted("secret Section: smtp-client Default Value: smtp")
        google.put(S, gmail(smtp_faults, mailbox_user, authority.refresh_token(mailbox_user), secret=None))
        told = google.check(S)[S]
        assert "there is no section secret-smtp, which it means then" in told["words"]
        assert authority.count() == 0
        google.put("secret-smtp", {"password": TEST.secret})
        assert asked(google, authority, mailbox_user).status == 200

    @pytest.mark.parametrize(
        ("secret", "problem"),
        [
            ("my gmail", "has white space in it"),
            ("gmial", "there is no section secret-<secretName> of this name. Valid: gmail."),
        ],
    )
    def test_what_is_none_is_a_fault(
        self, google: Here, authority: Authority, smtp_faults: SmtpFaults, mailbox_user: str, secret: str, problem: str
    ) -> None:
        """ "Valid Values: Any string without the white space\""""
        quoted("secret Section: smtp-client Default Value: smtp Valid Values: Any string without the white space")
        google.put(S, gmail(smtp_faults, mailbox_user, authority.refresh_token(mailbox_user), secret=secret))
        assert problem in google.check(S)[S]["words"]
        assert google.status(S)["health"] == "needs a person"
        assert authority.count() == 0

    def test_it_names_the_section_with_the_client_secret(
        self, google: Here, authority: Authority, smtp_faults: SmtpFaults, mailbox_user: str
    ) -> None:
        """ "Specifies the secretName of the secret-<secretName> section to associate with the Google application secret after
        the SMTP account is registered in Google.\""""
        quoted(
            "Specifies the secretName of the secret-<secretName> section to associate with the Google application secret after "
            "the SMTP account is registered in Google."
        )
        google.put("secret-other", {"password": OTHER.secret})
        token = authority.refresh_token(mailbox_user, client=OTHER)
        google.put(S, gmail(smtp_faults, mailbox_user, token, client_id=OTHER.id, secret="other"))
        assert asked(google, authority, mailbox_user).client_id == OTHER.id


# --- tenant-authority -------------------------------------------------------------------------------------------------


class TestTenantAuthority:
    @pytest.mark.parametrize("written", ["google", "GOOGLE", "xgooglex", "https://accounts.google.com"])
    def test_google(self, google: Here, authority: Authority, smtp_faults: SmtpFaults, mailbox_user: str, written: str) -> None:
        """ "The valid Google authority server is a case-insensitive string that contains "google".\""""
        quoted('The valid Google authority server is a case-insensitive string that contains "google".')
        token = authority.refresh_token(mailbox_user)
        google.put(S, gmail(smtp_faults, mailbox_user, token, tenant_authority=written))
        request = asked(google, authority, mailbox_user)
        assert (request.path, request.scope) == ("/token", "https://mail.google.com/")

    @pytest.mark.parametrize("written", [None, "https://login.microsoftonline.com"])
    def test_microsoft(
        self, google: Here, authority: Authority, smtp_faults: SmtpFaults, mailbox_user: str, written: str | None
    ) -> None:
        """ "Default Value: https://login.microsoftonline.com\""""
        quoted("tenant-authority Section: smtp-client Default Value: https://login.microsoftonline.com")
        token = authority.refresh_token(mailbox_user)
        google.put(S, gmail(smtp_faults, mailbox_user, token, tenant_authority=written, grant_type="refresh_token"))
        request = asked(google, authority, mailbox_user)
        assert request.path == "/common/oauth2/v2.0/token"
        assert request.scope == "https://outlook.office.com/SMTP.Send offline_access"


# --- "This parameter takes effect only when the mail.<server-type>.auth.mechanisms is set to XOAUTH2" ------------------


class TestOnlyWithXoauth2:
    @pytest.mark.parametrize("mechanism", [None, "PLAIN", "LOGIN"])
    def test_no_option_of_oauth_asks_for_a_token(
        self, google: Here, authority: Authority, smtp_faults: SmtpFaults, mailbox_user: str, mechanism: str | None
    ) -> None:
        """Neither a good value nor a wrong one of those options has an effect then."""
        quoted("This parameter takes effect only when the mail.<server-type>.auth.mechanisms is set to XOAUTH2 or type is GRAPH.")
        options = gmail(smtp_faults, mailbox_user, PASSWORD, enable_authentication="true", secret="of no section")
        google.put(S, {**options, "mail.smtp.auth.mechanisms": mechanism, "tenant-authority": "nobody", "grant-type": "magic"})
        assert send(google, mailbox_user)["state"] == "sent"
        assert [known.user for known in taken(smtp_faults, mailbox_user)] == [mailbox_user]
        assert authority.count() == 0
        said = [known.line for known in smtp_faults.log() if known.line.startswith("AUTH")]
        assert said == [f"AUTH {mechanism or 'PLAIN'} ***"]

    @pytest.mark.parametrize("written", ["xoauth2", "XOAUTH2", " XOAUTH2 , OAUTHBEARER"])
    def test_any_case_turns_it_on(
        self, google: Here, authority: Authority, smtp_faults: SmtpFaults, mailbox_user: str, written: str
    ) -> None:
        """ "if OAuth 2.0 is enabled (mail.smtp.auth.mechanisms is XOAUTH2), this option is used for the refresh_token\""""
        quoted(
            "For Gmail, if OAuth 2.0 is enabled (mail.smtp.auth.mechanisms is XOAUTH2), this option is used for the refresh_token "
            "of the SMTP account."
        )
        token = authority.refresh_token(mailbox_user)
        google.put(S, {**gmail(smtp_faults, mailbox_user, token), "mail.smtp.auth.mechanisms": written})
        assert asked(google, authority, mailbox_user).refresh_token == token
