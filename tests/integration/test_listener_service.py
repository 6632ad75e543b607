"""The listener within the service: it follows the configuration, and its faults touch nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import socket
from pathlib import Path

import pytest
from handing_in import LETTER
from running import Here, Service

from postroom.clock import SystemClock
from postroom.store import opened
from postroom.store.outbox_rows import Asked
from servers.waiting import answers, free_ports, wait_for

ACCOUNT = {"server": "127.0.0.1", "port": 1, "smtp-connection-security": "none", "addresses": "example.org"}


@pytest.fixture
def here(tmp_path: Path) -> Here:
    """A folder whose service has an account that mail could leave by; its server does not answer."""
    made = Here(tmp_path)
    made.put("smtp-client-out", ACCOUNT)
    return made


def listening(service: Service, since: int = 0) -> int:
    """The port of the listener that was started last."""
    return int(service.wait("listening", since=since)["address"].rpartition(":")[2])


def hand_in(port: int, name: str = "", password: str = "") -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as program:
        if name:
            program.login(name, password)
        program.sendmail("sales@example.org", ["ann@example.net"], LETTER)


async def owners(here: Here) -> list[str]:
    """Who handed in what is in the queue, the oldest first."""
    with opened(here.data, SystemClock(), f"file:{here.data / 'vault.key'}", {}) as store:
        return [row.owner for row in await store.outbox.page(Asked(), 100)][::-1]


def test_it_is_off_until_it_is_asked_for_and_follows_the_file(here: Here) -> None:
    port, other = free_ports(2)
    with here.service() as service:
        assert service.events("listening") == []
        here.put("smtp-listener", {"listen": f"127.0.0.1:{port}", "allow-without-login": "true"})
        assert listening(service) == port
        hand_in(port)
        before = service.mark()
        here.put("smtp-listener-account-erp", {"password": "emmental"})
        here.put("smtp-listener", {"listen": f"127.0.0.1:{other}", "allow-without-login": "false", "maximum-msg-size": "1m"})
        wait_for(lambda: answers("127.0.0.1", other), "the listener at its new port")
        assert not answers("127.0.0.1", port)
        with pytest.raises(smtplib.SMTPSenderRefused, match="login"):
            hand_in(other)
        hand_in(other, "erp", "emmental")
        with smtplib.SMTP("127.0.0.1", other, timeout=10) as program:
            program.ehlo()
            assert program.esmtp_features["size"] == str(1024 * 1024)
        assert service.events("listening", since=before)
        here.change({"smtp-listener": None})
        wait_for(lambda: not answers("127.0.0.1", other), "the end of the listener")
    assert asyncio.run(owners(here)) == ["smtp-listener", "smtp-listener-account-erp"]
    assert "emmental" not in service.log.read_text()


def test_port_that_is_taken_is_told_of_and_tried_again(here: Here) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        here.put("smtp-listener", {"listen": f"127.0.0.1:{port}", "allow-without-login": "true"})
        with here.service() as service:
            failed = service.wait("listener_failed")
            assert str(port) in failed["error"]
            assert "set listen" in failed["remedy"]
            assert service.process.poll() is None
            taken.close()
            service.reload()
            assert listening(service) == port
            hand_in(port)
    assert asyncio.run(owners(here)) == ["smtp-listener"]
