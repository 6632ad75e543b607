"""What each option of a mailbox does, and that it does it from the next POP cycle on: a service runs, and the file is edited.

``tests/docs/test_option_tests.py`` has the whole table, option by option.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Here, Record, Service, basic, letter

from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.dovecot_config import PASSWORD
from servers.waiting import wait_for

A = "pop-client-a"
TYPES = ("IMAP", "POP3")


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


@pytest.fixture(params=TYPES)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Running:
    """A service that reads one mailbox of Dovecot's and has looked at it."""

    def __init__(self, here: Here, dovecot: Dovecot, user: str, service: Service) -> None:
        self.here, self.dovecot, self.user, self.service = here, dovecot, user, service
        self._edits = 0

    def edit(self, **options: object) -> None:
        """Change the client's section; a cycle that begins after it has the new values."""
        self.here.put(A, {name.replace("_", "-"): value for name, value in options.items()})
        self.edited()

    def edited(self) -> None:
        """The edit was noticed, and what ran with the former values is over."""
        self._edits += 1
        before = self.service.mark()
        self.service.wait("config_changed", count=self._edits)
        self.service.wait("connected", A, since=before)

    def read(self, octets: bytes, *, folder: str = "INBOX") -> Record:
        """Deliver a message and wait for the cycle that captured it."""
        before = self.service.mark()
        self.dovecot.deliver(self.user, octets, folder)
        return self.service.wait("read", A, since=before)


@pytest.fixture
def running(here: Here, dovecot: Dovecot, mailbox_user: str, protocol: str) -> Iterator[Running]:
    port = dovecot.imap_port if protocol == "IMAP" else dovecot.pop3_port
    here.put(A, basic(port, mailbox_user, type=protocol))
    with here.service() as service:
        service.looked(A)
        yield Running(here, dovecot, mailbox_user, service)


def test_p23_maximum_msg_size_and_big_messages(running: Running) -> None:
    dovecot, user, service = running.dovecot, running.user, running.service
    running.read(letter(1, 5000))
    assert not service.events("big")
    running.edit(maximum_msg_size="1k", after_capture="delete")
    running.read(letter(2, 5000))
    assert service.wait("big", A)["done"] == "header captured, left at the server"
    service.cycles(A)
    assert len(dovecot.raw(user)) == 2  # after-capture destroys nothing of which only the header was taken
    running.edit(big_messages="delete")
    running.read(letter(3, 5000))
    assert service.wait("big", A, count=2)["done"] == "header captured, deleted at the server"
    wait_for(lambda: len(dovecot.raw(user)) == 2, "the deletion")
    running.edit(big_messages="leave")
    dovecot.deliver(user, letter(4, 5000))
    assert service.wait("big", A, count=3)["done"] == "left at the server"
    assert [trouble["kind"] for trouble in running.here.status(A)["troubles"]] == ["big"]
    before = service.mark()
    running.edit(maximum_msg_size="1m", after_capture="keep")
    service.wait("read", A, since=before)
    wait_for(lambda: running.here.status(A)["troubles"] == [], "the message in trouble")
    sizes = sorted(message["size"] for message in running.here.messages())
    assert len(sizes) == 4
    assert [size > 4000 for size in sizes] == [False, False, True, True]


def test_maximum_msg_number(running: Running) -> None:
    running.edit(maximum_msg_number=1)
    before = running.service.mark()
    running.dovecot.seed(running.user, [letter(number) for number in range(3)])
    for count in (1, 2, 3):
        assert running.service.wait("read", A, since=before, count=count)["captured"] == 1
    running.edit(maximum_msg_number=0)
    assert running.read(letter(4))["captured"] == 1


def test_address(running: Running) -> None:
    running.read(letter(1))
    running.edit(address="support@example.org")
    running.read(letter(2))
    addresses = {message["identifier"]: message["address"] for message in running.here.messages()}
    assert sorted(addresses.values()) == sorted(["support@example.org", running.user])
    assert running.here.status(A)["address"] == "support@example.org"


def test_copies(running: Running) -> None:
    octets = b"To: a@example.org, b@example.org\r\nCc: c@example.org\r\nSubject: one\r\n\r\n"
    running.read(octets)
    running.edit(copy_message_to_recipients="true", copy_message_with_header="X-For", inbound_msg_copy_limit=2)
    running.read(octets.replace(b"one", b"two"))

    def found() -> dict[str, Record] | None:
        by_subject = {message["subject"]: message for message in running.here.messages() if not message.get("copy_of")}
        return by_subject if by_subject.get("two", {}).get("left_out") else None

    messages = wait_for(found, "the copies", timeout=20)
    assert messages["one"]["copies"] == []
    assert [copy["recipient"] for copy in messages["two"]["copies"]] == ["a@example.org", "b@example.org"]
    assert messages["two"]["left_out"] == ["c@example.org"]


def test_enable_debug_shows_no_secret(running: Running, protocol: str) -> None:
    service = running.service
    assert not service.events("protocol")
    running.edit(enable_debug="true")
    running.read(letter(1))
    lines = [str(record["line"]) for record in service.events("protocol", A)]
    assert any("***" in line for line in lines)
    assert all(f" {PASSWORD}" not in line for line in lines if not line.startswith("+"))
    if protocol == "POP3":
        running.edit(**{"mail.pop3.auth.mechanisms": "LOGIN", "mail.pop3.disablecapa": "true"})  # which leaves USER and PASS
        service.cycles(A, 2)
        assert "PASS ***" in [record["line"] for record in service.events("protocol", A)]
    running.edit(enable_debug="false")
    before = service.mark()
    running.read(letter(2))
    assert not service.events("protocol", since=before)


def test_first_read_and_folder_path(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    """``first-read`` acts on a folder that was never read, and on no other."""
    for folder in ("Second", "Third"):
        dovecot.doveadm("mailbox", "create", "-u", mailbox_user, folder)
        dovecot.seed(mailbox_user, [letter(1), letter(2)], folder)
    here.put(A, basic(dovecot.imap_port, mailbox_user))
    with here.service() as service:
        service.looked(A)
        running = Running(here, dovecot, mailbox_user, service)
        running.edit(first_read="new", folder_path="INBOX, Second")
        assert service.wait("first_read", A)["messages"] == 0
        assert running.read(letter(3), folder="Second")["captured"] == 1
        running.edit(first_read="all", folder_path="INBOX, Second, Third")
        service.wait("read", A, count=2)
        assert sorted(message["folder"] for message in here.messages()) == ["Second", "Third", "Third"]


def test_first_read_over_pop3(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    dovecot.seed(mailbox_user, [letter(1), letter(2)])
    here.put(A, basic(dovecot.pop3_port, mailbox_user, type="POP3", first_read="new"))
    with here.service() as service:
        service.looked(A)
        running = Running(here, dovecot, mailbox_user, service)
        assert running.read(letter(3))["captured"] == 1
        running.edit(first_read="all")  # the folder was read before
        assert running.read(letter(4))["captured"] == 1
    assert len(here.messages()) == 2


def test_after_capture_and_processed_folder_path(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    here.put(A, basic(dovecot.imap_port, mailbox_user))
    with here.service() as service:
        service.looked(A)
        running = Running(here, dovecot, mailbox_user, service)
        running.read(letter(1))
        running.edit(after_capture="move", processed_folder_path="Done")
        running.read(letter(2))
        wait_for(lambda: len(dovecot.raw(mailbox_user, "Done")) == 1, "the move")
        assert list(dovecot.raw(mailbox_user).values()) == [letter(1)]


def test_where_and_how_it_connects(running: Running, certificates: Certificates, protocol: str) -> None:
    """server, port, pop-connection-security, tls-ca-file, mailbox and password, one after the other."""
    dovecot, service = running.dovecot, running.service
    secure = dovecot.imaps_port if protocol == "IMAP" else dovecot.pop3s_port
    running.edit(port=secure, pop_connection_security="ssl-tls", tls_ca_file=certificates.ca_file, server="127.0.0.1")
    running.read(letter(1))
    here, user = running.here, running.user
    here.put(A, {"tls-ca-file": None})
    assert "certificate" in service.wait("retrying", A)["error"].lower()
    here.put(A, {"tls-ca-file": certificates.ca_file, "password": "wrong"})
    service.wait("needs_person", A)
    before = service.mark()
    here.put(A, {"password": PASSWORD, "mailbox": f"other.{user}"})
    dovecot.deliver(f"other.{user}", letter(2))
    assert service.wait("read", A, since=before)["captured"] == 1


def test_connect_timeout(here: Here, dovecot: Dovecot, mailbox_user: str, protocol: str) -> None:
    """A port that takes connections and never says that it did: nobody accepts there, and its queue is full."""
    with socket.socket() as silent, contextlib.ExitStack() as queue:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        for _ in range(4):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(silent.getsockname())
        here.put(A, basic(silent.getsockname()[1], mailbox_user, type=protocol, connect_timeout="1s"))
        with here.service() as service:
            assert "within 1 s" in service.wait("retrying", A)["error"]
            here.put(A, {"connect-timeout": "2s"})
            assert "within 2 s" in service.wait("retrying", A, count=2)["error"]


def test_the_type_itself(running: Running, protocol: str) -> None:
    """Another protocol is another source: what it shows is read."""
    running.read(letter(1))
    other = "POP3" if protocol == "IMAP" else "IMAP"
    port = running.dovecot.pop3_port if other == "POP3" else running.dovecot.imap_port
    before = running.service.mark()
    running.edit(type=other, port=port)
    assert running.service.wait("read", A, since=before)["captured"] == 1
