"""OAuth 2.0 from the refresh token to the mailbox: a real authority, a real server, the real command."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Conversation, Gate, Here, Record, Scripted, Service, basic, letter, oauth, rig_sections, until

from postroom.app.config import Live, load
from postroom.app.core import opened
from postroom.app.observing import Quiet
from postroom.clock import SystemClock
from postroom.net.grants import Application, RefreshToken
from postroom.net.tokens import TokenRequest
from postroom.secret import Secret
from servers.authority import OTHER, TEST, Authority
from servers.dovecot import Dovecot
from servers.proxy import Cut, FaultProxy, How
from servers.waiting import wait_for

A = "pop-client-a"


@pytest.fixture
def here(tmp_path: Path, authority: Authority) -> Here:
    here = Here(tmp_path)
    here.change(rig_sections(authority))
    return here


@pytest.fixture
def port(dovecot: Dovecot) -> int:
    return dovecot.imap_port


# --- logins -----------------------------------------------------------------------------------------------------------


class TestLogin:
    @pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
    def test_a_token_from_the_refresh_token_opens_the_mailbox(
        self, here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str, mechanism: str
    ) -> None:
        dovecot.deliver(mailbox_user, letter(1))
        token = authority.refresh_token(mailbox_user)
        here.put(A, oauth(dovecot.imap_port, mailbox_user, token, mechanism=mechanism, scope="https://mail.google.com/"))
        assert here.read()[A]["captured"] == 1
        [asked] = authority.requests(mailbox_user)
        assert (asked.grant_type, asked.client_id, asked.refresh_token, asked.authentication, asked.scope, asked.status) == (
            "refresh_token",
            TEST.id,
            token,
            "post",
            "https://mail.google.com/",
            200,
        )
        assert f"user=<{mailbox_user}>, method={mechanism}" in dovecot.log_text()

    def test_the_access_token_serves_until_it_is_refused(
        self, here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str
    ) -> None:
        """Over processes too; revoked before the next login, it is replaced."""
        here.put(A, oauth(dovecot.imap_port, mailbox_user, authority.refresh_token(mailbox_user)))
        for _ in range(2):
            here.read()
        assert authority.count(mailbox_user) == 1
        assert authority.revoke_access(account=mailbox_user) == 1
        dovecot.deliver(mailbox_user, letter(1))
        assert here.read()[A]["captured"] == 1
        assert authority.count(mailbox_user) == 2

    @pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
    def test_over_at_the_server_before_its_time(
        self, here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str, mechanism: str
    ) -> None:
        """The first token is dead already, whatever its answer says: one fresh token and one retry."""
        dovecot.deliver(mailbox_user, letter(1))
        here.put(A, oauth(dovecot.imap_port, mailbox_user, authority.refresh_token(mailbox_user), mechanism=mechanism))
        answer_with(authority, authority.access_token(mailbox_user, ttl=0))
        assert here.read()[A]["captured"] == 1
        assert [(asked.fault, asked.status) for asked in authority.requests(mailbox_user)] == [("answer", 200), (None, 200)]

    def test_a_token_for_another_mailbox_is_tried_twice_and_no_more(
        self, here: Here, authority: Authority, port: int, mailbox_user: str
    ) -> None:
        here.put(A, oauth(port, mailbox_user, authority.refresh_token("somebody.else@example.test")))
        report = here.read(status=1)[A]
        assert "The server does not accept the login" in report["error"]
        assert "AUTHENTICATIONFAILED" in report["error"]
        assert "status 401" in report["error"]  # the server's own challenge
        assert f"Then run postroom authorize {A}" in report["remedy"]
        assert authority.count("somebody.else@example.test") == 2
        assert here.status(A)["health"] == "needs a person"

    def test_both_tokens_refused_is_no_endless_loop(self, here: Here, authority: Authority, port: int, mailbox_user: str) -> None:
        """The service tries again after a while, each time with one fresh token at most."""
        here.put(A, oauth(port, mailbox_user, authority.refresh_token("another@example.test")))
        with here.service() as service:
            service.wait("needs_person", A)
            assert authority.count("another@example.test") == 2
            attempt_again(here, service)
            assert authority.count("another@example.test") == 3

    def test_a_server_without_the_mechanism(self, here: Here, authority: Authority, mailbox_user: str) -> None:
        def script(talk: Conversation) -> None:
            talk.say("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready")
            talk.hear()

        with Scripted(script) as server:
            here.put(A, oauth(server.port, mailbox_user, authority.refresh_token(mailbox_user)))
            finding = here.check()[A]
        assert "the configuration allows XOAUTH2; the server offers PLAIN" in finding["words"]
        assert authority.count(mailbox_user) == 0
        assert b"AUTHENTICATE" not in server.said

    def test_the_servers_passing_trouble_is_no_bad_credential(
        self, here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str
    ) -> None:
        """Dovecot cannot ask the authority and says [UNAVAILABLE]."""
        here.put(A, oauth(dovecot.imap_port, mailbox_user, authority.refresh_token(mailbox_user)))
        authority.fault("unavailable", endpoint="introspection")
        with here.service() as service:
            trouble = service.wait("retrying", A)
            assert "UNAVAILABLE" in trouble["error"]
            assert here.status(A)["health"] == "retrying"
            here.put(A, {"cycle-time": "2s"})  # an edit ends the pause
            service.wait("recovered", A)
            assert not service.events("needs_person")
        assert authority.count(mailbox_user) == 1


def answer_with(authority: Authority, access_token: str, *, expires_in: int = 3600) -> None:
    """The next token request is answered with this token."""
    body = {"access_token": access_token, "token_type": "Bearer", "expires_in": expires_in}
    authority.fault("answer", status=200, body=json.dumps(body))


# --- the authority says no --------------------------------------------------------------------------------------------


class TestRefusal:
    def test_a_refused_refresh_token_waits_for_a_person(
        self, here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str
    ) -> None:
        token = authority.refresh_token(mailbox_user)
        authority.revoke_refresh(token)
        here.put(A, oauth(dovecot.imap_port, mailbox_user, token))
        with here.service() as service:
            told = service.wait("needs_person", A)
            assert told["level"] == "error"
            assert told["error"].startswith(f"The authority gives no token: {authority.token_url}: invalid_grant")
            assert "or set a new refresh token as password" in told["remedy"]
            attempt_again(here, service)
        assert_remembered(here, told)
        with here.service() as service:
            service.wait("needs_person", A)
            assert authority.count() == 2  # the first service's one, and the one of check, which asks afresh
            before = service.mark()
            dovecot.deliver(mailbox_user, letter(1))
            here.put(A, {"password": authority.refresh_token(mailbox_user)})
            assert service.wait("read", A, since=before)["captured"] == 1
            service.wait("recovered", A, since=before)
            assert here.status(A)["health"] == "working"
        assert authority.count() == 3

    def test_a_wrong_client_secret_waits_for_a_person(
        self, here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str
    ) -> None:
        here.put(A, oauth(dovecot.imap_port, mailbox_user, authority.refresh_token(mailbox_user)))
        here.put("secret-rig", {"password": "a-secret-of-former-times"})
        with here.service() as service:
            told = service.wait("needs_person", A)
            assert "invalid_client" in told["error"]
            assert "Check client-id and the secret- section" in told["remedy"]
            assert "a-secret-of-former-times" not in service.log.read_text()
            attempt_again(here, service)
        assert_remembered(here, told)
        with here.service() as service:
            service.wait("needs_person", A)
            assert authority.count(mailbox_user) == 2
            here.put("secret-rig", {"password": TEST.secret})
            service.wait("recovered", A)
        assert authority.count(mailbox_user) == 3

    def test_the_words_say_how_a_person_consents(self, here: Here, authority: Authority, port: int, mailbox_user: str) -> None:
        here.put("authority-rig", {"issuer": "https://rig.example"})
        here.put(A, oauth(port, mailbox_user, "never-was-a-refresh-token"))
        report = here.read(status=1)[A]
        assert report["error"].startswith("The authority gives no token: https://rig.example: invalid_grant")
        assert f"Run postroom authorize {A}" in report["remedy"]

    def test_one_refused_mailbox_disturbs_no_other(
        self, here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str
    ) -> None:
        here.put(A, oauth(dovecot.imap_port, "bad@example.test", "never-was-a-refresh-token"))
        here.put("pop-client-b", oauth(dovecot.imap_port, mailbox_user, authority.refresh_token(mailbox_user)))
        with here.service() as service:
            service.wait("needs_person", A)
            dovecot.deliver(mailbox_user, letter(1))
            service.wait("read", "pop-client-b")


def attempt_again(here: Here, service: Service) -> None:
    """Change a value that the authority is not asked with: the client fails anew at once, from memory."""
    before = service.mark()
    here.put(A, {"cycle-time": "2s"})
    service.wait("needs_person", A, since=before)


def assert_remembered(here: Here, told: Record) -> None:
    """Status and check tell the same as the log did."""
    status, finding = here.status(A), here.check()[A]
    assert status["health"] == "needs a person"
    assert status["retry_in"] > 600
    assert not finding["ok"]
    assert (status["fault"], status["remedy"]) == (finding["words"], finding["remedy"]) == (told["error"], told["remedy"])


# --- the authority has trouble ----------------------------------------------------------------------------------------


class TestPassingTrouble:
    def test_it_is_tried_again_and_nobody_is_called(self, here: Here, authority: Authority, port: int, mailbox_user: str) -> None:
        """All sorts at once, each met by a mailbox of its own; which by which is told by the authority's record."""
        authority.fault("throttled", retry_after=6)
        authority.fault("unavailable")
        authority.fault("broken")
        authority.fault("drop")
        authority.fault("lost")
        authority.fault("answer", status=400, body='{"error":"temporarily_unavailable"}')
        authority.fault("answer", status=500, body='{"error":"invalid_grant","error_description":"AADSTS90033"}')
        users = [f"{number}.{mailbox_user}" for number in range(7)]
        for user in users:
            here.put(f"pop-client-{user}", oauth(port, user, authority.refresh_token(user)))
        with here.service() as service:
            for user in users:
                service.wait("recovered", f"pop-client-{user}")
            assert not service.events("needs_person")
            for user in users:
                first, *others = authority.requests(user)
                trouble = service.wait("retrying", f"pop-client-{user}")
                assert trouble["level"] == "warning"
                assert authority.token_url in trouble["error"]
                assert WORDS[first.fault or "", first.status] in trouble["error"], trouble
                assert [(asked.fault, asked.status) for asked in others] == [(None, 200)]
                assert trouble["seconds"] >= (6 if first.status == 429 else 4)

    def test_it_asks_less_and_less_often(self, here: Here, authority: Authority, port: int, mailbox_user: str) -> None:
        authority.fault("unavailable", 100)
        here.put(A, oauth(port, mailbox_user, authority.refresh_token(mailbox_user)))
        with here.service() as service:
            for count in (1, 2, 3):
                assert service.wait("retrying", A, count=count)["seconds"] == pytest.approx(5 * 2 ** (count - 1), rel=0.11)
                assert authority.count(mailbox_user) == count
                here.put(A, {"cycle-time": f"{count + 1}s"})  # an edit ends the pause

    def test_nobody_listens_there(self, here: Here, authority: Authority, port: int, mailbox_user: str) -> None:
        here.put("authority-rig", {"token_endpoint": "http://127.0.0.1:1/token"})
        here.put(A, oauth(port, mailbox_user, authority.refresh_token(mailbox_user)))
        report = here.read(status=1)[A]
        assert "http://127.0.0.1:1/token" in report["error"]
        assert "Check the authority's address" in report["remedy"]
        assert here.status(A)["health"] == "retrying"


WORDS = {
    ("throttled", 429): "429 Too Many Requests",
    ("unavailable", 503): "the authority answered 503 without a token",
    ("broken", 200): "the authority answered 200 without a token",
    ("drop", None): "ServerDisconnectedError",
    ("lost", None): "ServerDisconnectedError",
    ("answer", 400): "temporarily_unavailable",
    ("answer", 500): "invalid_grant: AADSTS90033",
}


# --- refresh tokens that change ---------------------------------------------------------------------------------------


class TestRotation:
    def test_the_new_one_is_used_and_the_file_stays(self, here: Here, authority: Authority, port: int, mailbox_user: str) -> None:
        first = authority.refresh_token(mailbox_user, rotate=True)
        here.put(A, oauth(port, mailbox_user, first))
        text = here.file.read_text()
        for _ in range(2):  # each a process of its own
            here.read()
            authority.revoke_access(account=mailbox_user)
        used = [asked.refresh_token for asked in authority.requests(mailbox_user)]
        assert used[0] == first
        assert len(set(used)) == len(used) == 2
        assert here.file.read_text() == text

    def test_it_is_durable_before_the_access_token_is_used(
        self, here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str
    ) -> None:
        """Killed while the first login is under way: the authority would refuse the configured token now."""
        first = authority.refresh_token(mailbox_user, rotate=True)
        with FaultProxy("127.0.0.1", dovecot.imap_port) as proxy:
            here.put(A, oauth(proxy.port, mailbox_user, first))
            proxy.cut_next(Cut("to_server", 1, "stall"))
            process = here.start("run", "--once")
            wait_for(lambda: proxy.total.to_server, "the first octet of the login")
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert authority.count(mailbox_user) == 1
            here.read()
            assert authority.count(mailbox_user) == 1  # the access token was kept as well
            authority.revoke_access(account=mailbox_user)
            here.read()
        assert [asked.status for asked in authority.requests(mailbox_user)] == [200, 200]
        assert authority.requests(mailbox_user)[1].refresh_token != first

    def test_a_restored_file_resumes_its_chain(self, here: Here, authority: Authority, port: int, mailbox_user: str) -> None:
        first, second = (authority.refresh_token(mailbox_user, rotate=True) for _ in range(2))
        here.put(A, oauth(port, mailbox_user, first))
        with here.service() as service:
            service.wait("connected", A)
            for count, token in enumerate((second, first, second), 2):
                authority.revoke_access(account=mailbox_user)
                here.put(A, {"password": token})
                service.wait("connected", A, count=count)
            assert not service.complaints()
        asked = authority.requests(mailbox_user)
        assert [one.refresh_token for one in asked[:2]] == [first, second]
        assert [one.status for one in asked] == [200] * 4
        assert not {one.refresh_token for one in asked[2:]} & {first, second}

    def test_a_chain_belongs_to_its_application(self, here: Here, authority: Authority, port: int, mailbox_user: str) -> None:
        """The same text as password under another client-id is another chain."""
        token = authority.refresh_token(mailbox_user, rotate=True, client=OTHER)
        here.put(A, oauth(port, mailbox_user, token))
        assert "invalid_grant" in here.read(status=1)[A]["error"]
        here.put("secret-rig", {"password": OTHER.secret})
        here.put(A, {"client-id": OTHER.id})
        here.read()


# --- one refresh ------------------------------------------------------------------------------------------------------


class TestOneRefresh:
    def test_a_hundred_clients_of_one_grant(self, here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
        """At their first login together, and when all are refused on one old token."""
        token = authority.refresh_token(mailbox_user, rotate=True)
        folders = [f"Folder {number}" for number in range(100)]
        dovecot.doveadm("mailbox", "create", "-u", mailbox_user, *folders)
        clients = {f"pop-client-{n}": oauth(dovecot.imap_port, mailbox_user, token, folder_path=f) for n, f in enumerate(folders)}
        here.change(clients)
        authority.fault("delay", seconds=0.3)
        with here.service() as service:
            for number in range(100):
                service.wait("connected", f"pop-client-{number}")
            assert not service.complaints()
        assert authority.count(mailbox_user) == 1
        authority.revoke_access(account=mailbox_user)
        with here.service() as service:
            for number in range(100):
                service.wait("connected", f"pop-client-{number}")
            assert not service.complaints()
        assert [asked.status for asked in authority.requests(mailbox_user)] == [200, 200]

    def test_two_processes_on_one_store(self, here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
        token = authority.refresh_token(mailbox_user, rotate=True)
        dovecot.doveadm("mailbox", "create", "-u", mailbox_user, "Second")
        here.put(A, oauth(dovecot.imap_port, mailbox_user, token))
        first = here.file.rename(here.directory / "first.ini")
        here.put(A, {"folder-path": "Second"})
        authority.fault("delay", seconds=1)
        processes = [here.start("run", "--once", file=first), here.start("run", "--once")]
        for process in processes:
            out, err = process.communicate(timeout=30)
            assert process.returncode == 0, out + err
        assert authority.count(mailbox_user) == 1

    def test_what_else_is_asked_with_has_tokens_of_its_own(
        self, here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str
    ) -> None:
        """Two sections with one refresh token and different scopes share the chain, and not the access token."""
        token = authority.refresh_token(mailbox_user, rotate=True)
        dovecot.doveadm("mailbox", "create", "-u", mailbox_user, "Second")
        here.put(A, oauth(dovecot.imap_port, mailbox_user, token))
        here.put("pop-client-b", oauth(dovecot.imap_port, mailbox_user, token, folder_path="Second", scope="mail"))
        here.read()
        here.read()
        assert sorted(asked.scope or "" for asked in authority.requests(mailbox_user)) == ["", "mail"]


# --- when a token is renewed ------------------------------------------------------------------------------------------


class MovedClock(SystemClock):
    """The machine's clock, moved on by a test."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


@pytest.mark.parametrize(
    ("lifetime", "margin", "good", "renewed"),
    [
        (3600, 300, 3290, 3310),  # by the margin before its end
        (3600, 0, 3590, 3610),  # at its end
        (60, 300, 44, 46),  # never before three quarters of its life, however long the margin
        (3600, 3600, 2690, 2710),
    ],
)
def test_a_token_is_renewed_by_the_margin(
    here: Here, authority: Authority, mailbox_user: str, lifetime: int, margin: float, good: float, renewed: float
) -> None:
    authority.set_access_ttl(lifetime)
    request = TokenRequest(
        authority.token_url,
        Application(TEST.id, Secret(TEST.secret)),
        RefreshToken(Secret(authority.refresh_token(mailbox_user))),
        None,
        None,
        margin,
    )

    async def versions() -> list[int]:
        clock = MovedClock()
        live = Live(load(here.file, {}), {})
        log = Quiet(live, clock, io.StringIO())
        found = []
        async with opened(live, clock, log, log.trace, {}) as core:
            for clock.ahead in (0, good, renewed):
                found.append((await core.kit.tokens.get(request)).version)
        return found

    assert asyncio.run(versions()) == [1, 1, 2]
    assert authority.count(mailbox_user) == 2


# --- the end of a token's hour ----------------------------------------------------------------------------------------

LIFE = 1  # seconds


@contextlib.contextmanager
def reading(here: Here, authority: Authority, port: int, user: str) -> Iterator[tuple[Service, float]]:
    """A service that has read a mailbox once, and when its token ends by the monotonic clock."""
    authority.set_access_ttl(LIFE)
    here.put(A, oauth(port, user, authority.refresh_token(user)))
    with here.service() as service:
        service.wait("connected", A)
        end = time.monotonic() + LIFE
        service.looked(A)
        yield service, end


def assert_expected(service: Service) -> None:
    """The end of the conversation was noted, and nothing was reported as a fault."""
    service.wait("session_ended", A)
    service.wait("connected", A, count=2)
    service.cycles(A)
    assert not service.complaints(), service.complaints()
    assert not service.events("recovered")


class TestEndOfLife:
    @pytest.mark.parametrize("how", ["fin", "rst"])
    def test_cut_while_idle(self, here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str, how: How) -> None:
        with Gate(dovecot.imap_port) as proxy, reading(here, authority, proxy.port, mailbox_user) as (service, end):
            until(end)
            assert proxy.cut_all(how) == 1
            assert_expected(service)
            dovecot.deliver(mailbox_user, letter(1))
            assert service.wait("read", A)["captured"] == 1
            assert not service.complaints()
            assert len(set(proxy.tokens())) >= 2
        assert authority.count(mailbox_user) >= 2

    def test_kicked_while_idle(self, here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
        with reading(here, authority, dovecot.imap_port, mailbox_user) as (service, end):
            until(end)
            dovecot.doveadm("kick", mailbox_user)
            assert_expected(service)
        assert authority.count(mailbox_user) >= 2

    def test_a_goodbye_in_words(self, here: Here, authority: Authority, mailbox_user: str) -> None:
        """As Google and Microsoft say it: BYE within IDLE, when the hour is over."""
        over = time.monotonic() + LIFE

        def script(talk: Conversation) -> None:
            talk.say("* OK [CAPABILITY IMAP4rev1 SASL-IR IDLE AUTH=XOAUTH2] ready")
            for tag, command in talk.commands():
                if command == "CAPABILITY":
                    talk.say("* CAPABILITY IMAP4rev1 IDLE")
                if command.startswith("SELECT"):
                    talk.say("* 0 EXISTS", "* OK [UIDVALIDITY 1]", "* OK [UIDNEXT 1]")
                if command == "IDLE":
                    talk.say("+ idling")
                    if talk.number == 1:
                        until(over)
                        talk.say("* BYE Session expired, please login again.")
                        return
                    talk.hear()
                talk.say(f"{tag} OK done")

        authority.set_access_ttl(LIFE)
        with Scripted(script) as server:
            here.put(A, oauth(server.port, mailbox_user, authority.refresh_token(mailbox_user)))
            with here.service() as service:
                assert_expected(service)

    def test_cut_while_fetching(self, here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
        """The first read of a mailbox takes longer than a token lives: it goes on where it was, and nobody is called."""
        dovecot.seed(mailbox_user, [letter(number, 20_000) for number in range(40)])
        authority.set_access_ttl(LIFE)
        with FaultProxy("127.0.0.1", dovecot.imap_port) as proxy:
            proxy.cut_next(Cut("to_client", 300_000, "rst"), Cut("to_client", 300_000, "fin"))
            here.put(A, oauth(proxy.port, mailbox_user, authority.refresh_token(mailbox_user)))
            with here.service() as service:
                service.wait("session_ended", A, count=2)
                service.wait("unchanged", A)
                assert not service.complaints(), service.complaints()
        assert len({message["digest"] for message in here.messages()}) == 40
        assert len(here.messages()) == 40

    def test_cut_again_and_again_without_a_step_forward_is_a_fault(
        self, here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str
    ) -> None:
        """Else a server that ends every conversation at once would be called without a pause."""
        authority.set_access_ttl(LIFE)
        with FaultProxy("127.0.0.1", dovecot.imap_port, cut=Cut("to_client", 800)) as proxy:
            here.put(A, oauth(proxy.port, mailbox_user, authority.refresh_token(mailbox_user)))
            with here.service() as service:
                service.wait("retrying", A)
                assert proxy.connections <= 2

    def test_before_its_hour_a_lost_connection_is_a_fault(
        self, here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str
    ) -> None:
        with FaultProxy("127.0.0.1", dovecot.imap_port) as proxy:
            here.put(A, oauth(proxy.port, mailbox_user, authority.refresh_token(mailbox_user)))
            with here.service() as service:
                service.looked(A)
                proxy.cut_all("rst")
                assert "The connection was lost" in service.wait("retrying", A)["error"]
                assert not service.events("session_ended")

    def test_run_once_logs_in_again(self, here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
        dovecot.seed(mailbox_user, [letter(number, 20_000) for number in range(40)])
        authority.set_access_ttl(LIFE)
        with FaultProxy("127.0.0.1", dovecot.imap_port) as proxy:
            proxy.cut_next(Cut("to_client", 300_000, "rst"))
            here.put(A, oauth(proxy.port, mailbox_user, authority.refresh_token(mailbox_user)))
            done = here.command("run", "--once", "--json")
        assert done.object["captured"] == 40
        assert done.err == ""


def test_without_oauth_a_cut_is_always_a_fault(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    with FaultProxy("127.0.0.1", dovecot.imap_port) as proxy:
        here.put(A, basic(proxy.port, mailbox_user))
        with here.service() as service:
            service.looked(A)
            proxy.cut_all("fin")
            service.wait("retrying", A)
            assert not service.events("session_ended")
