"""The Gmail-like POP3 server does as Google's help and Microsoft's documentation say; asked by Python's own client."""

from __future__ import annotations

import base64
import contextlib
import poplib
import socket
from collections.abc import Iterator

import pytest

from servers.authority import Authority
from servers.certificates import Certificates
from servers.dovecot_config import PASSWORD
from servers.gmail_pop3 import Faults, GmailPop3, Kept, Manner, Place, Popped

DAY = 86400.0
LETTER = b"Subject: one\r\n\r\n.a dot\r\nsecond\r\n"


@pytest.fixture(scope="module")
def shared(authority: Authority, certificates: Certificates) -> Iterator[GmailPop3]:
    with GmailPop3(tokens=authority.tokens, certificates=certificates) as running:
        yield running


@pytest.fixture
def gmail(shared: GmailPop3, mailbox_user: str) -> Iterator[GmailPop3]:
    """The server with good manners, no faults, and an empty mailbox for the test's user."""
    shared.add_user(mailbox_user)
    yield shared
    shared.behave(Manner())
    shared.fail(Faults())
    shared.go_ahead(0)


def connect(gmail: GmailPop3) -> poplib.POP3:
    return poplib.POP3("127.0.0.1", gmail.port, timeout=20)


def log_in(gmail: GmailPop3, user: str) -> poplib.POP3:
    connection = connect(gmail)
    connection.user(user)
    connection.pass_(PASSWORD)
    return connection


def shown(gmail: GmailPop3, user: str) -> list[str]:
    """The UIDLs that a session of its own lists."""
    with quitting(log_in(gmail, user)) as connection:
        return [line.decode().split()[1] for line in connection.uidl()[1]]


@contextlib.contextmanager
def quitting(connection: poplib.POP3) -> Iterator[poplib.POP3]:
    yield connection
    connection.quit()


def bearer(user: str, token: str) -> str:
    return base64.b64encode(f"user={user}\x01auth=Bearer {token}\x01\x01".encode()).decode()


def ask(connection: poplib.POP3, line: str) -> bytes:
    """One line there and one back, for what poplib does not know."""
    connection.sock.sendall(f"{line}\r\n".encode())
    answer: bytes = connection.file.readline()
    return answer


class TestNormalMode:
    def test_it_is_told_to_forget_what_was_popped(self, gmail: GmailPop3, mailbox_user: str) -> None:
        gmail.behave(Manner(login_delay=0))
        gmail.add_user(mailbox_user, setting=Popped.DELETE)
        uidl = gmail.deliver(mailbox_user, LETTER)
        with quitting(log_in(gmail, mailbox_user)) as connection:
            assert connection.capa()["LOGIN-DELAY"] == ["0"]
            connection.retr(1)
        assert gmail.mails(mailbox_user) == [Kept(uidl, popped=True, place=Place.TRASH)]
        gmail.unpop(mailbox_user)
        assert gmail.mails(mailbox_user) == [Kept(uidl, popped=False, place=Place.INBOX)]

    def test_retr_and_quit_pop_a_message(self, gmail: GmailPop3, mailbox_user: str) -> None:
        first, second = (gmail.deliver(mailbox_user, LETTER, age=age) for age in (20, 10))
        with quitting(log_in(gmail, mailbox_user)) as connection:
            assert b"\r\n".join([*connection.retr(1)[1], b""]) == LETTER
            assert len(connection.list()[1]) == 2
        assert shown(gmail, mailbox_user) == [second]
        assert gmail.mails(mailbox_user)[0] == Kept(first, popped=True, place=Place.INBOX)

    def test_without_quit_nothing_is_popped(self, gmail: GmailPop3, mailbox_user: str) -> None:
        uidl = gmail.deliver(mailbox_user, LETTER)
        connection = log_in(gmail, mailbox_user)
        connection.retr(1)
        connection.dele(1)
        connection.close()
        assert shown(gmail, mailbox_user) == [uidl]

    def test_top_pops_nothing(self, gmail: GmailPop3, mailbox_user: str) -> None:
        uidl = gmail.deliver(mailbox_user, LETTER)
        with quitting(log_in(gmail, mailbox_user)) as connection:
            assert connection.top(1, 1)[1] == [b"Subject: one", b"", b".a dot"]
        assert shown(gmail, mailbox_user) == [uidl]

    def test_the_250_oldest_are_shown_and_then_the_next(self, gmail: GmailPop3, mailbox_user: str) -> None:
        uidls = [gmail.deliver(mailbox_user, LETTER, age=1000.0 - number) for number in range(260)]
        with quitting(log_in(gmail, mailbox_user)) as connection:
            assert connection.stat()[0] == 250
            for number in range(1, 251):
                connection.retr(number)
        assert shown(gmail, mailbox_user) == uidls[250:]

    @pytest.mark.parametrize(
        ("setting", "place"),
        [(Popped.KEEP, Place.INBOX), (Popped.ARCHIVE, Place.ARCHIVE), (Popped.DELETE, Place.TRASH)],
    )
    def test_the_setting_says_what_becomes_of_it(self, gmail: GmailPop3, mailbox_user: str, setting: Popped, place: Place) -> None:
        gmail.add_user(mailbox_user, setting=setting)
        retrieved, deleted = (gmail.deliver(mailbox_user, LETTER, age=age) for age in (20, 10))
        with quitting(log_in(gmail, mailbox_user)) as connection:
            connection.retr(1)
            connection.dele(2)
        assert gmail.mails(mailbox_user) == [Kept(retrieved, True, place), Kept(deleted, False, place)]
        assert shown(gmail, mailbox_user) == ([] if place is Place.TRASH else [deleted])


class TestRecentMode:
    def test_it_lists_thirty_days_for_every_client(self, gmail: GmailPop3, mailbox_user: str) -> None:
        gmail.deliver(mailbox_user, LETTER, age=31 * DAY)
        recent = gmail.deliver(mailbox_user, LETTER, age=29 * DAY)
        sent = gmail.deliver(mailbox_user, LETTER, sent=True)
        for _ in range(2):
            with quitting(log_in(gmail, f"recent:{mailbox_user}")) as connection:
                assert [line.decode().split()[1] for line in connection.uidl()[1]] == [recent, sent]
                connection.retr(1)
        assert sent not in shown(gmail, mailbox_user)
        gmail.go_ahead(2 * DAY)
        assert shown(gmail, f"recent:{mailbox_user}") == [sent]

    def test_what_was_popped_is_listed(self, gmail: GmailPop3, mailbox_user: str) -> None:
        uidl = gmail.deliver(mailbox_user, LETTER)
        with quitting(log_in(gmail, mailbox_user)) as connection:
            connection.retr(1)
        assert shown(gmail, mailbox_user) == []
        assert shown(gmail, f"recent:{mailbox_user}") == [uidl]


class TestLogin:
    def test_a_token_on_one_line(self, gmail: GmailPop3, authority: Authority, mailbox_user: str) -> None:
        token = authority.access_token(mailbox_user)
        with quitting(connect(gmail)) as connection:
            assert ask(connection, f"AUTH XOAUTH2 {bearer(mailbox_user, token)}").startswith(b"+OK")
        authority.revoke_access(token)
        refused = connect(gmail)
        challenge = ask(refused, f"AUTH XOAUTH2 {bearer(mailbox_user, token)}")
        assert b'"status": "401"' in base64.b64decode(challenge.removeprefix(b"+ "))
        assert ask(refused, "").startswith(b"-ERR [AUTH]")
        refused.close()

    def test_microsoft_takes_a_token_on_a_second_line_only(self, gmail: GmailPop3, mailbox_user: str) -> None:
        gmail.behave(Manner(initial_response=False))
        gmail.allow({"good": mailbox_user})
        with quitting(connect(gmail)) as connection:
            assert ask(connection, f"AUTH XOAUTH2 {bearer(mailbox_user, 'good')}").startswith(b"-ERR")
            assert ask(connection, "AUTH XOAUTH2") == b"+ \r\n"
            assert ask(connection, bearer(mailbox_user, "good")).startswith(b"+OK")

    def test_another_s_token_and_a_wrong_password_are_refused(self, gmail: GmailPop3, mailbox_user: str) -> None:
        gmail.allow({"good": "another@example.test"})
        connection = connect(gmail)
        assert ask(connection, f"AUTH XOAUTH2 {bearer(mailbox_user, 'good')}").startswith(b"+ ")
        assert ask(connection, "").startswith(b"-ERR [AUTH]")
        connection.user(mailbox_user)
        with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
            connection.pass_("wrong")
        connection.close()

    def test_plain(self, gmail: GmailPop3, mailbox_user: str) -> None:
        with quitting(connect(gmail)) as connection:
            blob = base64.b64encode(f"\0{mailbox_user}\0{PASSWORD}".encode()).decode()
            assert ask(connection, f"AUTH PLAIN {blob}").startswith(b"+OK")

    def test_tls(self, gmail: GmailPop3, mailbox_user: str) -> None:
        with quitting(poplib.POP3_SSL(gmail.host, gmail.tls_port, context=gmail.tls())) as connection:
            connection.user(mailbox_user)
            assert connection.pass_(PASSWORD).startswith(b"+OK")

    def test_no_secret_is_logged(self, gmail: GmailPop3, mailbox_user: str) -> None:
        gmail.allow({"good": mailbox_user})
        blob = bearer(mailbox_user, "good")
        with quitting(log_in(gmail, mailbox_user)):
            pass
        with quitting(connect(gmail)) as connection:
            ask(connection, f"AUTH XOAUTH2 {blob}")
        with quitting(connect(gmail)) as connection:
            ask(connection, "AUTH XOAUTH2")
            ask(connection, blob)
        everything = " ".join(said.line for said in gmail.log())
        assert blob not in everything
        assert "PASS ***" in everything
        assert "AUTH XOAUTH2 ***" in everything
        assert [said.line for said in gmail.log(mailbox_user)] == ["PASS ***", "QUIT", "QUIT", "QUIT"]


class TestFaults:
    def test_uidl(self, gmail: GmailPop3, mailbox_user: str) -> None:
        first = gmail.deliver(mailbox_user, LETTER, age=5)
        gmail.deliver(mailbox_user, LETTER)
        with quitting(log_in(gmail, mailbox_user)) as connection:
            gmail.fail(Faults(uidl="refused"))
            with pytest.raises(poplib.error_proto):
                connection.uidl()
            gmail.fail(Faults(uidl="duplicates"))
            assert connection.uidl()[1] == [f"1 {first}".encode(), f"2 {first}".encode()]
            gmail.fail(Faults(uidl="empty"))
            assert connection.uidl()[1] == [b"1 ", b"2 "]
            gmail.behave(Manner(uidl=False, top=False))
            assert not {"UIDL", "TOP"} & set(connection.capa())
            for command in (connection.uidl, lambda: connection.top(1, 0)):
                with pytest.raises(poplib.error_proto):
                    command()

    def test_top_and_one_message(self, gmail: GmailPop3, mailbox_user: str) -> None:
        bad = gmail.deliver(mailbox_user, LETTER, age=5)
        gmail.deliver(mailbox_user, LETTER)
        gmail.fail(Faults(top="refused", retr_refused=(bad,)))
        with quitting(log_in(gmail, mailbox_user)) as connection:
            for command in (lambda: connection.top(1, 0), lambda: connection.retr(1)):
                with pytest.raises(poplib.error_proto):
                    command()
            connection.retr(2)
        assert shown(gmail, mailbox_user) == [bad]

    @pytest.mark.parametrize("code", ["SYS/TEMP", "IN-USE", "LOGIN-DELAY"])
    def test_a_login_is_turned_away(self, gmail: GmailPop3, mailbox_user: str, code: str) -> None:
        gmail.fail(Faults(login=code))
        with pytest.raises(poplib.error_proto, match=rf"\[{code}\]"):
            log_in(gmail, mailbox_user)

    def test_a_refused_quit_pops_nothing(self, gmail: GmailPop3, mailbox_user: str) -> None:
        uidl = gmail.deliver(mailbox_user, LETTER)
        gmail.fail(Faults(quit_refused=True))
        connection = log_in(gmail, mailbox_user)
        connection.retr(1)
        with pytest.raises(poplib.error_proto):
            connection.quit()
        gmail.fail(Faults())
        assert shown(gmail, mailbox_user) == [uidl]

    def test_the_connection_is_cut_after_some_octets(self, gmail: GmailPop3, mailbox_user: str) -> None:
        gmail.fail(Faults(cut_after=35))
        with socket.create_connection(("127.0.0.1", gmail.port)) as connection, connection.makefile("rwb") as file:
            file.write(b"CAPA\r\n")
            file.flush()
            assert len(file.read()) == 35

    def test_what_is_pipelined_without_leave_is_lost(self, gmail: GmailPop3, mailbox_user: str) -> None:
        with quitting(log_in(gmail, mailbox_user)) as connection:
            assert "PIPELINING" not in connection.capa()
            assert ask(connection, "NOOP\r\nSTAT").startswith(b"+OK")
            assert "(pipelined: thrown away)" in [said.line for said in gmail.log(mailbox_user)]
            gmail.behave(Manner(pipelining=True))
            assert "PIPELINING" in connection.capa()
            assert ask(connection, "NOOP\r\nSTAT") == b"+OK\r\n"
            assert connection.file.readline() == b"+OK 0 0\r\n"
