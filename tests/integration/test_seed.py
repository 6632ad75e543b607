"""The documented Gmail options, sentence by sentence, for a mailbox that is read over IMAP.

Each test quotes the sentence that it shows; ``tests/data/gmail-oauth-options.txt`` holds the whole text.
"""

from __future__ import annotations

import asyncio
import dataclasses
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import PATIENCE, Gate, Here, Service, basic, letter, oauth

from postroom.app.config import Live, load
from postroom.app.core import opened
from postroom.app.observing import Quiet
from postroom.clock import SystemClock
from postroom.drivers import open_reader
from postroom.drivers.provider import Providers
from postroom.net.stream import Dialer, Receiver, Stream
from postroom.settings import ProxySettings, parse_configuration
from servers.authority import OTHER, TEST, Authority, TokenRequest
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.waiting import wait_for

A = "pop-client-a"
TEXT = Path(__file__).parent.parent / "data" / "gmail-oauth-options.txt"


def quoted(sentence: str) -> str:
    """A sentence of the text, which must hold it."""
    assert sentence in " ".join(TEXT.read_text().split()), sentence
    return sentence


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


@pytest.fixture
def google(here: Here, authority: Authority) -> Here:
    """The built-in authorities of Google and Microsoft are this machine's."""
    here.put("authority-google", {"token_endpoint": authority.token_url})
    here.put("authority-microsoft", {"token_endpoint": f"{authority.url}/{{tenant}}/oauth2/v2.0/token"})
    here.put("secret-gmail", {"password": TEST.secret})
    return here


def gmail(port: int, user: str, refresh_token: str, **more: object) -> dict[str, object]:
    """A mailbox as the text's own steps configure it."""
    return oauth(port, user, refresh_token, tenant_authority="google", secret="gmail", **more)


# --- Changes Take Effect: At the next POP cycle -----------------------------------------------------------------------


class Running:
    """A service in the middle of its first cycle, held up there."""

    def __init__(self, here: Here, authority: Authority, gate: Gate, service: Service, user: str) -> None:
        self.here, self.authority, self.gate, self.service, self.user = here, authority, gate, service, user

    def edit(self, section: str, **options: object) -> TokenRequest:
        """Edit while the cycle runs; it goes to its end with what it began with. The request of the next cycle."""
        before = self.authority.count()
        self.here.put(section, {name.replace("_", "-"): value for name, value in options.items()})
        assert self.service.wait("config_changed")["changed"] == A
        assert (self.authority.count(), self.gate.connections) == (before, 1)
        assert not self.service.events("read")
        self.gate.open()
        assert self.service.wait("read", A)["captured"] == 3
        wait_for(lambda: self.authority.count() == before + 1, "the token request of the next cycle")
        order = ["connected", "config_changed", "read"]
        assert [record["event"] for record in self.service.records if record["event"] in order][:3] == order
        return self.authority.requests()[-1]


@pytest.fixture
def running(google: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> Iterator[Running]:
    dovecot.seed(mailbox_user, [letter(number, 20_000) for number in range(3)])
    with Gate(dovecot.imap_port) as gate:
        google.put(A, gmail(gate.port, mailbox_user, authority.refresh_token(mailbox_user)))
        gate.shut()
        with google.service() as service:
            assert gate.held.wait(PATIENCE)
            yield Running(google, authority, gate, service, mailbox_user)


AT_THE_NEXT_CYCLE = "Changes Take Effect: At the next POP cycle"


class TestTakesEffectAtTheNextCycle:
    def test_password(self, running: Running) -> None:
        """``password``: Changes Take Effect: At the next POP cycle."""
        quoted(AT_THE_NEXT_CYCLE)
        token = running.authority.refresh_token(running.user)
        request = running.edit(A, password=token)
        assert (request.refresh_token, request.status) == (token, 200)
        running.service.wait("connected", A, count=2)

    def test_client_id(self, running: Running) -> None:
        """``client-id``: Changes Take Effect: At the next POP cycle."""
        request = running.edit(A, client_id=OTHER.id)
        assert (request.client_id, request.status) == (OTHER.id, 401)  # with the other application's secret

    def test_tenant_authority(self, running: Running) -> None:
        """``tenant-authority``: Changes Take Effect: At the next POP cycle."""
        running.here.put("authority-elsewhere", {"token_endpoint": running.authority.microsoft_token_url("elsewhere")})
        request = running.edit(A, tenant_authority="elsewhere")
        assert (request.path, request.status) == ("/elsewhere/oauth2/v2.0/token", 200)
        running.service.wait("connected", A, count=2)

    def test_secret(self, running: Running) -> None:
        """``secret``: Changes Take Effect: At the next POP cycle."""
        running.here.put("secret-other", {"password": "of another application"})
        assert running.edit(A, secret="other").status == 401
        running.service.wait("needs_person", A)
        running.here.put(A, {"secret": "gmail"})
        running.service.wait("connected", A, count=2)

    def test_password_of_the_secret(self, running: Running) -> None:
        """``secret-<secretName>`` ``password``: At the next POP cycle for a POP client (pop-client)."""
        quoted("Changes Take Effect: At the next POP cycle for a POP client (pop-client) or at start/restart for an SMTP client")
        assert running.edit("secret-gmail", password="rotated at the authority's console").status == 401
        running.service.wait("needs_person", A)
        running.here.put("secret-gmail", {"password": TEST.secret})
        running.service.wait("connected", A, count=2)


# --- tenant-authority -------------------------------------------------------------------------------------------------


def asked(here: Here, authority: Authority, user: str) -> TokenRequest:
    """The one token request of a client that must log in."""
    finding = here.check(A)[A]
    assert finding["ok"], finding
    [request] = authority.requests(user)
    return request


class TestTenantAuthority:
    @pytest.mark.parametrize("written", ["google", "GOOGLE", "xgooglex", "https://accounts.google.com"])
    def test_google(self, google: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str, written: str) -> None:
        """ "The valid Google authority server is a case-insensitive string that contains "google".\""""
        quoted('The valid Google authority server is a case-insensitive string that contains "google".')
        token = authority.refresh_token(mailbox_user)
        google.put(A, gmail(dovecot.imap_port, mailbox_user, token) | {"tenant-authority": written})
        request = asked(google, authority, mailbox_user)
        assert (request.path, request.scope) == ("/token", "https://mail.google.com/")

    def test_unset_means_microsoft(self, google: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
        """ "Default Value: https://login.microsoftonline.com\""""
        quoted("tenant-authority Section: pop-client Default Value: https://login.microsoftonline.com")
        token = authority.refresh_token(mailbox_user)
        options = gmail(dovecot.imap_port, mailbox_user, token, grant_type="refresh_token", directory_id="contoso.example")
        del options["tenant-authority"]
        google.put(A, options)
        request = asked(google, authority, mailbox_user)
        assert request.path == "/contoso.example/oauth2/v2.0/token"
        assert request.scope == "https://outlook.office.com/IMAP.AccessAsUser.All offline_access"

    def test_microsoft_written_out(self, google: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
        """ "The valid Microsoft authority server is https://login.microsoftonline.com.\""""
        quoted("The valid Microsoft authority server is https://login.microsoftonline.com.")
        token = authority.refresh_token(mailbox_user)
        options = gmail(dovecot.imap_port, mailbox_user, token, grant_type="refresh_token")
        google.put(A, options | {"tenant-authority": "https://login.microsoftonline.com"})
        assert asked(google, authority, mailbox_user).path == "/common/oauth2/v2.0/token"

    def test_any_other_string_is_a_fault(self, google: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
        google.put(A, gmail(dovecot.imap_port, mailbox_user, "x") | {"tenant-authority": "goggle"})
        words = google.check(A)[A]["words"]
        assert f"{google.file}:{google.line_of('goggle')}: [{A}] tenant-authority = 'goggle': no authority of this name" in words
        assert "a string that contains google" in words
        assert authority.count() == 0


# --- secret -----------------------------------------------------------------------------------------------------------


class TestSecret:
    def test_it_names_the_section_with_the_client_secret(
        self, google: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str
    ) -> None:
        """ "Specifies the secretName of the secret-<secretName> section to associate with the Google application secret after
        the mailbox is registered in Google." and "Specifies the client_secret value of the corresponding Google application".
        """
        quoted(
            "Specifies the secretName of the secret-<secretName> section to associate with the Google application secret after "
            "the mailbox is registered in Google."
        )
        quoted("Specifies the client_secret value of the corresponding Google application associated with the mailbox")
        google.put("secret-other", {"password": OTHER.secret})
        token = authority.refresh_token(mailbox_user, client=OTHER)
        google.put(A, gmail(dovecot.imap_port, mailbox_user, token) | {"client-id": OTHER.id, "secret": "other"})
        assert asked(google, authority, mailbox_user).client_id == OTHER.id

    @pytest.mark.parametrize(
        ("secret", "problem"),
        [
            ("my gmail", "has white space in it"),
            ("gmial", "there is no section secret-<secretName> of this name. Valid: gmail."),
            ("", "the option is required with Google's OAuth and is not written"),
        ],
    )
    def test_what_is_none_is_a_fault(
        self, google: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str, secret: str, problem: str
    ) -> None:
        """ "Valid Values: Any string without the white space\""""
        quoted("Valid Values: Any string without the white space")
        google.put(A, gmail(dovecot.imap_port, mailbox_user, authority.refresh_token(mailbox_user)) | {"secret": secret})
        finding = google.check(A)[A]
        assert not finding["ok"]
        assert problem in finding["words"]
        assert google.status(A)["health"] == "needs a person"
        assert problem in google.command("run", "--once", status=1).err
        assert authority.count() == 0

    def test_a_secret_without_password_is_a_fault(self, google: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        """ "Default Value: No default value\""""
        google.put("secret-gmail", {"password": None})
        google.put(A, gmail(dovecot.imap_port, mailbox_user, "x"))
        assert "[secret-gmail]" in google.check(A)[A]["words"]
        assert "has no password" in google.check(A)[A]["words"]


# --- "This parameter takes effect only when the mail.<type>.auth.mechanisms is set to XOAUTH2" -------------------------


class TestOnlyWithXoauth2:
    @pytest.mark.parametrize("mechanism", [None, "PLAIN", "LOGIN", "PLAIN LOGIN"])
    def test_no_option_of_oauth_asks_for_a_token(
        self, google: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str, mechanism: str | None
    ) -> None:
        """ "This parameter takes effect only when the mail.<type>.auth.mechanisms is set to XOAUTH2 or type is GRAPH.\""""
        quoted("This parameter takes effect only when the mail.<type>.auth.mechanisms is set to XOAUTH2 or type is GRAPH.")
        dovecot.deliver(mailbox_user, letter(1))
        options: dict[str, object] = {
            "tenant-authority": "google",
            "client-id": TEST.id,
            "secret": "gmail",
            "scope": "https://mail.google.com/",
            "grant-type": "refresh_token",
            "directory-id": "contoso.example",
            "token-expiry-margin-time": "1m",
        }
        google.put(A, basic(dovecot.imap_port, mailbox_user) | options)
        if mechanism is not None:
            google.put(A, {"mail.imap.auth.mechanisms": mechanism})
        assert google.read()[A]["captured"] == 1
        assert authority.count() == 0
        assert f"user=<{mailbox_user}>, method={(mechanism or 'PLAIN').split()[0]}" in dovecot.log_text()

    def test_their_wrong_values_keep_nothing_down_then(
        self, google: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str
    ) -> None:
        options = {"tenant-authority": "nobody", "client-id": "two words", "secret": "of no section", "grant-type": "magic"}
        google.put(A, basic(dovecot.imap_port, mailbox_user) | options)
        google.read()
        assert authority.count() == 0

    @pytest.mark.parametrize("written", ["xoauth2", "XOAUTH2", " XOAUTH2 , OAUTHBEARER"])
    def test_any_case_turns_it_on(
        self, google: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str, written: str
    ) -> None:
        """ "if a mailbox is OAuth2 enabled (mail.imap.auth.mechanisms is XOAUTH2), this option is used for the refresh_token\""""
        quoted(
            "if a mailbox is OAuth2 enabled (mail.imap.auth.mechanisms is XOAUTH2), this option is used for the refresh_token of "
            "the mailbox."
        )
        token = authority.refresh_token(mailbox_user)
        google.put(A, gmail(dovecot.imap_port, mailbox_user, token) | {"mail.imap.auth.mechanisms": written})
        assert asked(google, authority, mailbox_user).refresh_token == token


# --- basic authentication ---------------------------------------------------------------------------------------------

PRINTED = "abcd efgh ijkl mnop"  # as Google prints an application password


class TestBasicAuthentication:
    def test_the_password_is_the_mailboxs(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        """ "Specifies the password associated with this account for basic authentication\""""
        quoted("Specifies the password associated with this account for basic authentication")
        here.put(A, basic(dovecot.imap_port, mailbox_user))
        here.read()
        here.put(A, {"password": "another"})
        assert "does not accept the login" in here.read(status=1)[A]["error"]

    def test_an_application_password_with_its_blanks_opens_gmail(
        self, here: Here, certificates: Certificates, real_servers: None
    ) -> None:
        """ "For basic authentication, Genesys E-mail Server can access Gmail mailboxes using the IMAP, POP3, and SMTP protocols."

        A real login by name and TLS at imap.gmail.com; only the way there leads to this machine.
        """
        quoted("can access Gmail mailboxes using the IMAP, POP3, and SMTP protocols")
        passdb = f"passdb {{\n driver = static\n mechanisms = plain login\n args = password={PRINTED.replace(' ', '')}\n}}"
        with Dovecot(certificates=certificates, certificate_names=("imap.gmail.com",), extra=passdb) as at_google:
            user = "somebody@gmail.com"
            here.put(A, {"type": "IMAP", "mailbox": user, "password": PRINTED, "tls-ca-file": certificates.ca_file})
            asyncio.run(log_in(here, Detour(at_google.imaps_port, ("imap.gmail.com", 993, True))))
            assert f"Login: user=<{user}>, method=PLAIN" in at_google.log_text()

    @pytest.mark.parametrize(
        ("server", "mailbox", "password", "sent"),
        [
            (None, "a@gmail.com", PRINTED, "abcdefghijklmnop"),
            (None, "a@googlemail.com", f"  {PRINTED.upper()} ", "ABCDEFGHIJKLMNOP"),
            ("imap.gmail.com", "a@company.example", PRINTED.replace(" ", "\u00a0"), "abcdefghijklmnop"),
            ("imap.gmail.com", "a@company.example", "two words", "two words"),  # none that Google makes
            ("imap.gmail.com", "a@company.example", "abcd efgh ijkl mno1", "abcd efgh ijkl mno1"),
            ("imap.company.example", "a@gmail.com", PRINTED, PRINTED),  # another server's password may have blanks
        ],
    )
    def test_only_the_blanks_that_google_prints_do_not_count(
        self, tmp_path: Path, server: str | None, mailbox: str, password: str, sent: str
    ) -> None:
        (tmp_path / "password").write_text(password)
        lines = [f"[{A}]", "type = IMAP", f"mailbox = {mailbox}", "password = file:password"]
        lines += [f"server = {server}"] if server else []
        configuration = parse_configuration("\n".join(lines), tmp_path / "postroom.ini", {}, Providers())
        assert Providers().basic_password(configuration.clients[A]).reveal() == sent


class Detour(Dialer):
    """Goes to a port of this machine, whatever host is asked for; its certificate must hold that host's name."""

    def __init__(self, port: int, place: tuple[str, int, bool]) -> None:
        """``place``: the host and port that are to be asked for, and whether with TLS from the beginning."""
        super().__init__()
        self._port, self._place = port, place

    async def connect(
        self,
        host: str,
        port: int,
        receiver: Receiver,
        *,
        tls: bool,
        ca_file: Path | None,
        timeout: float,
        via: ProxySettings | None = None,
    ) -> Stream:
        assert (host, port, tls) == self._place
        loop, stream = asyncio.get_running_loop(), Stream(receiver, f"{host}:{port}", host)
        secure = {"ssl": self.context(ca_file), "server_hostname": host} if tls else {}
        await loop.create_connection(lambda: stream, "127.0.0.1", self._port, **secure)  # type: ignore[arg-type]
        return stream


async def log_in(here: Here, dialer: Dialer) -> None:
    """Open the mailbox of A, over this way."""
    live = Live(load(here.file, {}), {})
    log = Quiet(live, SystemClock(), io.StringIO())
    async with opened(live, SystemClock(), log, log.trace, {}) as core:
        mailbox = core.mailbox(A)
        assert mailbox is not None
        kit = dataclasses.replace(core.kit, dialer=dialer)
        async with open_reader(mailbox, kit) as reader:
            assert (await reader.changes("INBOX", None, 1)).total == 0


# --- Limitations ------------------------------------------------------------------------------------------------------


def test_the_limitations_stand_in_the_remedy(google: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
    """ "During the test phase, a refresh token expires in 7 days." and "… may stop working if the Gmail mailbox is not used for
    a few days.\""""
    quoted("During the test phase, a refresh token expires in 7 days.")
    token = authority.refresh_token(mailbox_user, ttl=0)
    google.put(A, gmail(dovecot.imap_port, mailbox_user, token))
    with google.service() as service:
        told = service.wait("needs_person", A)
    assert "invalid_grant" in told["error"]
    assert "in testing a refresh token lasts 7 days, and may end when the mailbox is not used for a few days" in told["remedy"]
    assert re.search(r"expired, revoked", told["remedy"])


def test_the_steps_of_the_text_make_a_mailbox_that_is_read(
    google: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str
) -> None:
    """ "Configuring the pop-client section": client-id, password, secret, tenant-authority; "Configuring the
    secret-<secretName> section": password.

    The steps leave the mechanism out: with just them the file is warned of, with the line to add.
    """
    dovecot.deliver(mailbox_user, letter(1))
    options = gmail(dovecot.imap_port, mailbox_user, authority.refresh_token(mailbox_user))
    google.put(A, options | {"mail.imap.auth.mechanisms": ""})
    done = google.command("run", "--once", status=1)
    assert "Add the line: mail.imap.auth.mechanisms = XOAUTH2" in done.err
    google.put(A, {"mail.imap.auth.mechanisms": "XOAUTH2"})
    assert google.read()[A]["captured"] == 1
