"""POP3 against Dovecot and Courier from the command line: what they do on their own that a reader must outlast."""

from __future__ import annotations

import hashlib
import poplib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Here, basic, letter

from servers.certificates import Certificates
from servers.courier import Courier
from servers.dovecot import Dovecot
from servers.dovecot_config import PASSWORD, pop3_settings

A = "pop-client-a"
MEMORY = 92_000_000  # octets at the most, whatever a message weighs; the API of a service has 12 MB of them (decision 0021)


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


@pytest.fixture(scope="module")
def own(real_servers: None, certificates: Certificates) -> Iterator[Dovecot]:
    """A Dovecot whose settings the tests change."""
    with Dovecot(certificates=certificates) as running:
        yield running


@pytest.fixture(scope="module")
def courier(real_servers: None, certificates: Certificates) -> Iterator[Courier]:
    with Courier(certificates=certificates) as running:
        yield running


def pop(port: int, user: str, **more: object) -> dict[str, object]:
    return basic(port, user, type="POP3", **more)


def digests(here: Here) -> list[str]:
    return sorted(message["digest"] for message in here.messages())


def of(letters: list[bytes]) -> list[str]:
    return sorted(hashlib.sha256(octets).hexdigest() for octets in letters)


# --- Dovecot ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("security", ["none", "start-tls", "ssl-tls"])
def test_check_takes_every_step(here: Here, dovecot: Dovecot, mailbox_user: str, security: str) -> None:
    dovecot.seed(mailbox_user, [letter(number) for number in range(3)])
    port = dovecot.pop3s_port if security == "ssl-tls" else dovecot.pop3_port
    here.put(A, pop(port, mailbox_user, pop_connection_security=security, tls_ca_file=dovecot.ca_file))
    finding = here.check()[A]
    steps = {step["step"]: step["words"] for step in finding["steps"]}
    assert finding["ok"]
    assert list(steps) == ["dns", "tcp", "tls", "capabilities", "login", "maildrop", "first-read"]
    assert ("TLSv1" in steps["tls"]) is (security != "none")
    assert steps["maildrop"].startswith("3 messages, ")
    assert steps["maildrop"].endswith("; with UIDL, TOP, PIPELINING")
    assert "takes 3 messages" in steps["first-read"]
    assert steps["maildrop"] in finding["words"]
    assert here.read()[A]["captured"] == 3
    assert "first-read" not in {step["step"] for step in here.check()[A]["steps"]}
    assert len(dovecot.raw(mailbox_user)) == 3


def test_check_stops_at_a_wrong_password(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    here.put(A, pop(dovecot.pop3_port, mailbox_user, password="wrong"))
    finding = here.check()[A]
    assert not finding["ok"]
    assert finding["steps"][-1]["step"] == "login"
    assert "AUTH" in finding["words"]


def test_p25_a_locked_maildrop_is_waited_for(here: Here, own: Dovecot, mailbox_user: str) -> None:
    own.restart(pop3=pop3_settings(lock_session=True))
    own.deliver(mailbox_user, letter(1))
    here.put(A, pop(own.pop3_port, mailbox_user))
    other = poplib.POP3(own.host, own.pop3_port, timeout=20)
    other.user(mailbox_user)
    other.pass_(PASSWORD)
    report = here.read(status=None)[A]
    assert "[IN-USE]" in str(report)
    with here.service() as service:
        assert "[IN-USE]" in service.wait("retrying", A)["error"]
        assert here.status(A)["health"] == "retrying"
        other.quit()
        assert service.wait("read", A, timeout=60)["captured"] == 1
        # no session of ours is there between the cycles: another client finds the maildrop free
        service.cycles(A, 2)


@pytest.mark.parametrize("after_capture", ["keep", "delete"])
def test_p25_unique_ids_that_changed_capture_nothing_twice(here: Here, own: Dovecot, mailbox_user: str, after_capture: str) -> None:
    own.restart(pop3=pop3_settings())
    letters = [letter(number) for number in range(50)]
    own.seed(mailbox_user, letters)
    here.put(A, pop(own.pop3_port, mailbox_user))
    assert here.read()[A]["captured"] == 50
    assert here.read()[A]["captured"] == 0  # these outlasted a session
    own.restart(pop3=pop3_settings(uidl_format="%g"))
    letters.append(letter(50))
    own.deliver(mailbox_user, letters[-1])
    here.put(A, {"after-capture": after_capture})
    report = here.read()[A]
    assert (report["captured"], report["matched"]) == (1, 50)
    assert here.read()[A]["captured"] == 0
    assert digests(here) == of(letters)
    left = 51 if after_capture == "keep" else 50  # what was captured before stays as it was decided then
    assert len(own.raw(mailbox_user)) == left


def test_a_thousand_messages(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    letters = [letter(number, 4000) for number in range(1000)]
    dovecot.seed(mailbox_user, letters)
    here.put(A, pop(dovecot.pop3_port, mailbox_user, after_capture="delete"))
    assert here.read()[A]["captured"] == 1000
    assert digests(here) == of(letters)
    assert dovecot.raw(mailbox_user) == {}


def test_p23_a_message_of_40_megabytes_in_bounded_memory(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    letters = [letter(1), letter(2, 40_000_000), letter(3)]
    dovecot.seed(mailbox_user, letters)
    here.put(A, pop(dovecot.pop3_port, mailbox_user, maximum_msg_size="100m"))
    with here.service() as service:
        assert service.wait("read", A, timeout=60)["captured"] == 3
        [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{service.process.pid}/status").read_text())
    assert digests(here) == of(letters)
    assert int(peak) * 1024 < MEMORY


# --- Courier ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("security", ["none", "ssl-tls"])
def test_courier(here: Here, courier: Courier, certificates: Certificates, mailbox_user: str, security: str) -> None:
    letters = [letter(1), letter(2, 400_000), b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n", b"Subject: \xe9\r\n\r\n\xff\0\r\n"]
    courier.seed(mailbox_user, letters)
    port = courier.pop3s_port if security == "ssl-tls" else courier.pop3_port
    here.put(A, pop(port, mailbox_user, pop_connection_security=security, tls_ca_file=certificates.ca_file))
    finding = here.check()[A]
    assert finding["ok"], finding
    assert "4 messages" in finding["words"]
    assert here.read()[A]["captured"] == 4
    assert digests(here) == of(letters)
    letters.append(letter(5))
    courier.deliver(mailbox_user, letters[-1])
    here.put(A, {"after-capture": "delete"})
    assert here.read()[A]["captured"] == 1
    assert here.read()[A]["captured"] == 0
    assert digests(here) == of(letters)
    with courier.imap(mailbox_user) as connection:
        assert connection.select("INBOX", readonly=True)[1] == [b"4"]
