"""What each option of an account does once it is restarted with it: a service runs, and the file is edited.

``tests/docs/test_option_tests.py`` has the whole table, option by option.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import PATIENCE, Here, Service
from sending_gmail import Api, S, at_google, basic, gmail, taken

from servers.authority import TEST, Authority
from servers.dovecot_config import PASSWORD
from servers.smtp_faults import Fault, SmtpFaults, Taken
from servers.waiting import wait_for

READER = "reader@example.test"


class Running:
    """A service that sends for one account, whose login is proved."""

    def __init__(self, here: Here, server: SmtpFaults, user: str, service: Service) -> None:
        self.here, self.server, self.user, self.service = here, server, user, service
        self.api = Api(here, service, user)
        self._sent = 0

    def edit(self, **options: object) -> None:
        """Change the account's section; what is sent after it goes with the new values."""
        before = self.service.mark()
        self.here.put(S, {name.replace("_", "-"): value for name, value in options.items()})
        self.service.wait("sender_restarted", S, since=before)

    def send(self, **more: object) -> Taken:
        """Send a message; what the server has of it."""
        message_id = self.api.hand_in(**more)
        self._sent += 1
        self.service.wait("sent", S, count=self._sent)
        [known] = [known for known in self.server.taken() if known.message_id == message_id]
        return known

    def said(self, session: int) -> list[str]:
        """The commands of one connection."""
        return [known.line.partition(" ")[0] for known in self.server.log(session)]


@pytest.fixture
def running(tmp_path: Path, smtp_faults: SmtpFaults, mailbox_user: str) -> Iterator[Running]:
    here = Here(tmp_path)
    here.put(S, basic(smtp_faults, mailbox_user, enable_authentication="true"))
    with here.service() as service:
        yield Running(here, smtp_faults, mailbox_user, service)


def test_enable_debug_shows_no_secret(tmp_path: Path, authority: Authority, smtp_faults: SmtpFaults, mailbox_user: str) -> None:
    """The whole conversation is in the log, and in it neither token nor password, nor what was written."""
    here = at_google(Here(tmp_path), authority)
    here.put(S, gmail(smtp_faults, mailbox_user, authority.refresh_token(mailbox_user)))
    with here.service() as service:
        running = Running(here, smtp_faults, mailbox_user, service)
        running.send()
        assert not service.events("protocol")
        running.edit(enable_debug="true")
        running.send(text="the words of the letter")
        by_password = {"mail.smtp.auth.mechanisms": "LOGIN", "enable-authentication": "true", "password": PASSWORD}
        running.edit(**by_password)
        running.send()
        lines = [str(record["line"]) for record in service.events("protocol", S)]
        assert {"AUTH XOAUTH2 ***", "AUTH LOGIN ***", "***"} <= set(lines)
        assert any(line.startswith(f"MAIL FROM:<{mailbox_user}>") for line in lines)
        before = service.mark()
        running.edit(enable_debug="false")
        running.send()
        restarted = service.records.index(service.wait("sender_restarted", S, since=before))
        assert not service.events("protocol", since=restarted)
    secrets = [*authority.tokens_of(mailbox_user), TEST.secret]
    assert len(secrets) >= 3
    written = service.log.read_text() + service.out.read_text()
    for secret in secrets:
        assert secret not in written
        for shift in range(3):  # wherever it begins in what is base64
            assert base64.b64encode(b"\0" * shift + secret.encode())[4:-4].decode() not in written
    assert base64.b64encode(PASSWORD.encode()).decode() not in [word for line in lines for word in line.split()]
    assert PASSWORD not in [word for line in lines for word in line.split()]
    assert "the words of the letter" not in written


def test_where_and_how_it_connects(running: Running) -> None:
    """server, port, smtp-connection-security, tls-ca-file, user and password, one after the other."""
    here, server, service = running.here, running.server, running.service
    assert running.said(running.send().session)[:2] == ["EHLO", "STARTTLS"]
    running.edit(port=server.tls_port, smtp_connection_security="ssl-tls", server="127.0.0.1")
    assert running.said(running.send().session)[:2] == ["EHLO", "AUTH"]
    here.put(S, {"tls-ca-file": None})
    assert "certificate" in service.wait("parked", S)["error"].lower()
    before = service.mark()
    here.put(S, {"tls-ca-file": server.ca_file, "password": "wrong"})
    service.wait("needs_person", S, since=before)
    here.put(S, {"password": PASSWORD, "user": f"other.{running.user}"})
    assert running.send().user == f"other.{running.user}"


def test_cnx_pool_size(running: Running) -> None:
    server, service = running.server, running.service
    for size in (1, 3):
        running.edit(cnx_pool_size=size)
        server.fail(Fault("dot", do="hold", times=0))
        before, since = len(taken(server, running.user)), service.mark()
        for _ in range(4):
            running.api.hand_in()
        wait_for(lambda before=before, size=size: len(taken(server, running.user)) == before + size, "so many", timeout=PATIENCE)
        assert server.logins() == [running.user] * size
        server.go_on()
        service.wait("sent", S, since=since, count=4)
        server.reset()


def test_cnx_check_idle_time_and_cnx_max_idle_time(running: Running) -> None:
    first, second = running.send().session, running.send().session
    assert (first, running.said(first).count("NOOP")) == (second, 1)  # the one that proved the login
    running.edit(cnx_check_idle_time="0s")
    first, second = running.send().session, running.send().session
    assert first == second
    assert running.said(first).count("NOOP") == 3
    running.edit(cnx_max_idle_time="1s")
    first = running.send().session
    wait_for(lambda: running.server.logins() == [], "the end of the idle conversation", timeout=PATIENCE)
    assert running.said(first)[-1] == "QUIT"
    assert running.send().session != first


def test_connect_timeout(running: Running) -> None:
    """A port that takes connections and never says that it did: nobody accepts there, and its queue is full."""
    with socket.socket() as silent, contextlib.ExitStack() as queue:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        for _ in range(4):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(silent.getsockname())
        running.here.put(S, {"port": silent.getsockname()[1], "connect-timeout": "1s"})
        assert "within 1 s" in running.service.wait("parked", S)["error"]
        running.here.put(S, {"connect-timeout": "2s"})
        assert "within 2 s" in running.service.wait("parked", S, count=2)["error"]


def test_protocol_timeout(running: Running) -> None:
    for count, seconds in ((1, 1), (2, 2)):
        running.server.fail(Fault("ehlo", do="hang"))
        running.here.put(S, {"protocol-timeout": f"{seconds}s"})
        assert f"within {seconds} s" in running.service.wait("parked", S, count=count)["error"]
    running.edit(protocol_timeout=None)
    running.send()


def test_addresses(running: Running) -> None:
    other = f"{S}-sales"
    running.here.put(other, {**basic(running.server, "sales", enable_authentication="true"), "addresses": "sales.example"})
    running.service.wait("config_changed")
    assert running.send().user == running.user

    def sent_for(address: str, count: int) -> str:
        message_id = running.api.hand_in(**{"from": address})
        running.service.wait("sent", other, count=count)
        [user] = [known.user for known in running.server.taken() if known.message_id == message_id]
        return user

    assert sent_for("a@sales.example", 1) == "sales"
    running.here.put(other, {"addresses": "b@shop.example"})
    running.service.wait("sender_restarted", other)
    assert sent_for("b@shop.example", 2) == "sales"
    assert running.send(**{"from": "a@sales.example"}).user == running.user


def test_messages_per_minute(running: Running) -> None:
    running.edit(messages_per_minute=60)
    before = running.service.mark()
    for _ in range(4):
        running.api.hand_in()
    running.service.wait("sent", S, since=before, count=4)
    times = [datetime.datetime.fromisoformat(record["time"]) for record in running.service.events("sent", S, since=before)]
    assert (times[-1] - times[0]).total_seconds() > 2.5


@pytest.mark.parametrize("was_taken", [True, False], ids=["taken", "not taken"])
def test_p27_in_doubt(running: Running, was_taken: bool) -> None:
    """``hold`` waits for a person; ``resend`` sends again, perhaps twice."""
    server, service = running.server, running.service
    for option in ("hold", "resend"):
        running.edit(in_doubt=option, retry_span="1h" if option == "hold" else "2h")
        server.fail(Fault("dot", do="cut", taken=was_taken))
        message_id = running.api.hand_in()
        service.wait("in_doubt", S, count=1 if option == "hold" else 2)
        if option == "hold":
            service.wait("held", S)
            assert running.api.sent()[message_id] == "in doubt"
        else:
            service.wait("sent", S)
        times = [known.message_id for known in taken(server, running.user)].count(message_id)
        assert times == was_taken + (option == "resend")


def test_retry_span(running: Running) -> None:
    server, service = running.server, running.service
    server.fail(Fault("rcpt", "451 4.3.0 later", times=0))
    running.api.hand_in()
    assert "451 4.3.0 later" in service.wait("deferred", S)["error"]
    assert not service.events("undelivered")
    running.edit(retry_span="0s")
    running.api.hand_in()
    assert "refused for longer than retry-span" in service.wait("undelivered", S)["error"]
