"""Many mailboxes with IDLE over TLS in one process, one server among them that hangs. What happened is asserted, never how fast."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from running import PATIENCE, Here, basic, letter

from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.idling import HIBERNATING, hibernation, hung_server
from servers.proxy import FaultProxy
from servers.waiting import wait_for

MANY = 40
HUNG = 12


@pytest.fixture(scope="module")
def hibernating(real_servers: None, certificates: Certificates) -> Iterator[Dovecot]:
    with Dovecot(certificates=certificates, extra=hibernation(), imap=HIBERNATING) as dovecot:
        yield dovecot


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def over_tls(dovecot: Dovecot, user: str, **more: object) -> dict[str, object]:
    """A mailbox that is reached over TLS."""
    return {**basic(dovecot.imaps_port, user), "pop-connection-security": "ssl-tls", "tls-ca-file": dovecot.ca_file, **more}


def test_a_hung_server_among_many_mailboxes_delays_none(here: Here, hibernating: Dovecot) -> None:
    users = [f"idling{number}@example.test" for number in range(MANY)]
    sections = [f"pop-client-idling{number}" for number in range(MANY)]
    for user in users:
        hibernating.seed_unseen(user, letter(1))
    with hung_server() as port:
        hung = {f"pop-client-hung{number}": basic(port, f"hung{number}@example.test", server="127.0.0.1") for number in range(HUNG)}
        ours = {section: over_tls(hibernating, user) for section, user in zip(sections, users, strict=True)}
        here.change({**hung, **ours})  # those that hang come first
        with here.service() as service:
            for section in sections:
                service.wait("read", section)
            mark = service.mark()
            for number in (0, MANY // 2, MANY - 1):
                hibernating.deliver(users[number], letter(2 + number))
                service.wait("read", sections[number], since=mark)
            assert service.complaints() == []  # none failed, and those that hang are still within their time-outs
            assert service.events("connected", "pop-client-hung0") == []
            text = service.get("/metrics")
            assert f'postroom_connections{{server="{hibernating.host}"}} {MANY}.0' in text
            assert f'postroom_connections{{server="127.0.0.1"}} {HUNG}.0' in text
    assert len(here.messages()) == MANY + 3


def test_p11_a_connection_that_died_silently_is_noticed_and_made_anew(here: Here, hibernating: Dovecot) -> None:
    """Half-open: octets go nowhere and nobody is told (a router forgot the connection)."""
    user, section = "halfopen@example.test", "pop-client-a"
    hibernating.seed_unseen(user, letter(1))
    with FaultProxy("127.0.0.1", hibernating.imap_port) as proxy:
        here.put(section, {**basic(proxy.port, user), "cycle-time": "1s", "protocol-timeout": "1s"})
        with here.service() as service:
            service.wait("read", section)
            service.cycles(section, 1)
            mark = service.mark()
            proxy.cut_all("stall")
            hibernating.deliver(user, letter(2))
            told = service.wait("retrying", section, since=mark)
            assert "within 1 s" in str(told["error"])
            service.wait("read", section, since=mark)
            service.wait("recovered", section, since=mark)
    assert len(here.messages()) == 2


def test_p12_a_service_that_is_gone_is_no_working_mailbox(here: Here, hibernating: Dovecot) -> None:
    """The last thing that it reported was that all is well; the age of that tells otherwise."""
    user, section = "gone@example.test", "pop-client-a"
    hibernating.seed_unseen(user, letter(1))
    here.put(section, {**basic(hibernating.imap_port, user), "cycle-time": "1s", "protocol-timeout": "1s", "connect-timeout": "1s"})
    with here.service() as service:
        service.cycles(section, 1)
        assert here.status(section)["health"] == "working"
        assert here.command("status").status == 0
        service.kill()
    here.put(section, {"cycle-time": "1h"})
    assert here.status(section)["health"] == "working"  # an hour's pause explains it
    here.put(section, {"cycle-time": "1s"})
    # Two cycles and two time-outs of a second each are patience enough.
    wait_for(lambda: here.status(section)["health"] == "stale", "a stale mailbox", timeout=PATIENCE)
    assert here.command("status", status=1).status == 1
