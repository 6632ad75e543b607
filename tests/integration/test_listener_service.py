"""The listener within the service: off by default, and its faults touch nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import socket
import ssl
from pathlib import Path

import pytest
from handing_in import LETTER
from running import Here, Service

from postroom.clock import SystemClock
from postroom.store import opened
from postroom.store.outbox_rows import Asked
from servers.certificates import Certificates
from servers.waiting import wait_for

ACCOUNT = {"server": "127.0.0.1", "port": 1, "smtp-connection-security": "none", "addresses": "example.org"}


@pytest.fixture
def here(tmp_path: Path) -> Here:
    """A folder whose service has an account that mail could leave by; its server does not answer."""
    made = Here(tmp_path)
    made.put("smtp-client-out", ACCOUNT)
    return made


def listening(service: Service) -> int:
    """The port of the listener."""
    return int(service.wait("listening")["address"].rpartition(":")[2])


def hand_in(port: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as program:
        program.sendmail("sales@example.org", ["ann@example.net"], LETTER)


async def owners(here: Here) -> list[str]:
    """Who handed in what is in the queue, the oldest first."""
    with opened(here.data, SystemClock(), f"file:{here.data / 'vault.key'}", {}) as store:
        return [row.owner for row in await store.outbox.page(Asked(), 100)][::-1]


def test_it_is_off_by_default_and_follows_the_file_at_a_start(here: Here, certificates: Certificates) -> None:
    with here.service() as service:
        assert service.events("listening") == []
        here.put("smtp-listener", {"listen": "127.0.0.1:0", "allow-without-login": "true"})
    with here.service() as service:
        hand_in(listening(service))
    chain, key = certificates.issue("localhost")
    here.put("smtp-listener-account-erp", {"password": "emmental"})
    secure = {"security": "start-tls", "tls-certificate": chain, "tls-key": key}
    here.put("smtp-listener", {"allow-without-login": "false", "maximum-msg-size": "1m", **secure})
    with here.service() as service:
        port = listening(service)
        assert service.events("listening")[0]["security"] == "start-tls"
        with pytest.raises(smtplib.SMTPSenderRefused, match="STARTTLS"):
            hand_in(port)
        context = ssl.create_default_context(cafile=str(certificates.ca_file))
        with smtplib.SMTP("localhost", port, timeout=10) as program:
            program.starttls(context=context)
            program.login("erp", "emmental")
            assert program.esmtp_features["size"] == str(1024 * 1024)
            program.sendmail("sales@example.org", ["ann@example.net"], LETTER)
        renewed, its_key = certificates.issue("mail.example.org")
        key.write_bytes(its_key.read_bytes())  # which does not belong to the certificate that is there
        service.wait("certificate_unusable")
        assert _shown_name(port, context) == "localhost"
        chain.write_bytes(renewed.read_bytes())
        wait_for(lambda: _shown_name(port, context) == "mail.example.org", "the renewed certificate")
    assert asyncio.run(owners(here)) == ["smtp-listener", "smtp-listener-account-erp"]
    assert "emmental" not in service.log.read_text()


def _shown_name(port: int, context: ssl.SSLContext) -> str:
    """For whom the certificate is that the listener shows."""
    for name in ("localhost", "mail.example.org"):
        with smtplib.SMTP("127.0.0.1", port, timeout=10) as program:
            program._host = name  # type: ignore[attr-defined]
            with contextlib.suppress(ssl.SSLCertVerificationError):
                program.starttls(context=context)
                return name
    return ""


def test_port_that_is_taken_is_told_of_and_tried_again(here: Here) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        here.put("smtp-listener", {"listen": f"127.0.0.1:{port}", "allow-without-login": "true"})
        with here.service() as service:
            failed = service.wait("listener_failed")
            assert str(port) in failed["error"]
            assert "set another port as listen" in failed["remedy"]
            assert service.process.poll() is None
            taken.close()
            service.reload()
            assert listening(service) == port
            hand_in(port)
    assert asyncio.run(owners(here)) == ["smtp-listener"]
