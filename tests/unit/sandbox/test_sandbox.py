"""The sandbox as a whole: its files, its configuration, its end, and its process."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import signal
import smtplib
import socket
import ssl
import stat
import sys
import time
import warnings
from configparser import ConfigParser
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from click.testing import CliRunner

from postroom.sandbox import Sandbox
from postroom.sandbox.__main__ import main
from postroom.sandbox.configuration import section_names

if TYPE_CHECKING:
    from conftest import Application, Mail


async def test_configuration_opens_every_mailbox(sandbox: Sandbox, application: Application, mail: Mail, tmp_path: Path) -> None:
    text = sandbox.configuration(tmp_path / "data")
    ini = ConfigParser(interpolation=None)
    ini.read_string(text)
    assert ini["settings"]["data-directory"] == str(tmp_path / "data")
    assert ini["authority-google"]["token_endpoint"] == f"{sandbox.authority_url}/token"
    assert ini["authority-google"]["authorization_endpoint"] == f"{sandbox.authority_url}/authorize"
    assert ini["secret-sandbox"]["password"] == sandbox.client_secret
    assert ini["secret-sandbox"]["publishing-status"] == "internal"
    assert [name for name in ini.sections() if name.startswith("pop-client-")] == [
        "pop-client-sales",
        "pop-client-support",
    ]
    for name in ("pop-client-sales", "pop-client-support"):
        client = ini[name]
        assert client["mail.imap.auth.mechanisms"] == "XOAUTH2"
        assert (client["port"], client["secret"]) == (str(sandbox.imaps_port), "sandbox")
        status, tokens = await application.refresh(client["password"])
        assert status == 200
        user, token = client["mailbox"], tokens["access_token"]
        await mail.run(partial(mail.xoauth2, user=user, token=token))


async def test_configuration_sends_by_every_account(sandbox: Sandbox, application: Application, tmp_path: Path) -> None:
    ini = ConfigParser(interpolation=None)
    ini.read_string(sandbox.configuration(tmp_path / "data"))
    clients = {name: section for name, section in ini.items() if name.startswith("smtp-client")}
    assert list(clients) == ["smtp-client-sales", "smtp-client-support"]
    for client in clients.values():
        assert (client["port"], client["smtp-connection-security"]) == (str(sandbox.smtp_port), "start-tls")
        assert client["mail.smtp.auth.mechanisms"] == "XOAUTH2"
        assert client["addresses"] == client["user"]
        status, tokens = await application.refresh(client["password"])
        assert status == 200
        assert sandbox.authority.judge(client["user"], tokens["access_token"]).account == client["user"]


async def test_configuration_without_consent_says_how_to_get_it(sandbox: Sandbox, tmp_path: Path) -> None:
    text = sandbox.configuration(tmp_path / "data", consented=False)
    ini = ConfigParser(interpolation=None)
    ini.read_string(text)
    assert [name for name in ini.sections() if "password" in ini[name]] == ["secret-sandbox"]
    for name in ("sales", "support"):
        assert text.count(f'"postroom authorize {name}" asks, once for both sections') == 2
        assert ini[f"pop-client-{name}"]["mail.imap.auth.mechanisms"] == "XOAUTH2"


def test_section_names_stay_unique() -> None:
    accounts = ["a@example.test", "b@example.test", "a@example.com"]
    assert section_names(accounts) == ["a-example.test", "b", "a-example.com"]


async def test_key_is_private_and_the_directory_can_be_used_again(tmp_path: Path) -> None:
    for _ in range(2):
        async with Sandbox(tmp_path) as sandbox:
            assert sandbox.ca_file == tmp_path / "ca.pem"
            assert stat.S_IMODE((tmp_path / "server-key.pem").stat().st_mode) == 0o600
            assert "PRIVATE" not in sandbox.ca_file.read_text()


async def test_port_in_use_leaves_nothing_behind(sandbox: Sandbox, tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    used = sandbox.imap_port
    for second in (
        Sandbox(tmp_path, authority_port=used),
        Sandbox(tmp_path, imap_port=used),
        Sandbox(tmp_path, imaps_port=used),
        Sandbox(tmp_path, smtp_port=used),
        Sandbox(tmp_path, smtps_port=used),
    ):
        with pytest.raises(OSError, match="in use"):
            await second.__aenter__()
    assert asyncio.all_tasks() == before


@pytest.mark.filterwarnings("ignore:uvloop.install")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_closes_cleanly_under_open_connections(tmp_path: Path, loop: str) -> None:
    complaints: list[dict[str, object]] = []

    async def converse() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        async with aiohttp.ClientSession() as http:
            async with Sandbox(tmp_path) as sandbox:
                async with http.get(f"{sandbox.authority_url}/.well-known/openid-configuration") as response:
                    await response.read()  # the connection is kept alive
                reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.imap_port)
                await reader.readline()
                idle, idle_writer = await asyncio.open_connection("127.0.0.1", sandbox.imap_port)
                idle_writer.write(b"a LOGIN sales@example.test sandbox\r\nb SELECT INBOX\r\nc IDLE\r\n")
                while not (await idle.readline()).startswith(b"+"):
                    pass
                sending, sending_writer = await asyncio.open_connection("127.0.0.1", sandbox.smtp_port)
                await sending.readline()
            assert b"BYE" in await asyncio.wait_for(reader.read(), 5)
            assert b"BYE" in await asyncio.wait_for(idle.read(), 5)
            assert b"421" in await asyncio.wait_for(sending.read(), 5)
            for each in (writer, idle_writer, sending_writer):
                each.close()
                await each.wait_closed()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        if loop == "uvloop":
            uvloop = pytest.importorskip("uvloop")
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(converse())
        else:
            asyncio.run(converse())
        gc.collect()
    assert complaints == []


async def test_process_reports_delivers_and_stops(tmp_path: Path) -> None:
    begun = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error::ResourceWarning", "-m", "postroom.sandbox"),
        *("--directory", str(tmp_path), "--account", "desk@example.test", "--drop-every", "0.05", "--unconsented"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    lines = []
    while (line := (await process.stdout.readline()).decode().rstrip()) != "ready":
        assert line, await process.communicate()
        lines.append(line)
    assert time.monotonic() - begun < 10  # usually one second; the limit allows for a busy machine
    report = dict(re.split(" +", line, maxsplit=1) for line in lines)
    assert report["account"].startswith("desk@example.test")
    configuration = tmp_path / "postroom.ini"
    assert report["configuration"] == str(configuration)
    assert stat.S_IMODE(configuration.stat().st_mode) == 0o600
    assert report["authority"] in configuration.read_text()
    assert '"postroom authorize desk" asks' in configuration.read_text()
    assert (await process.stdout.readline()).startswith(b"delivered")
    await asyncio.to_thread(_send_outside, int(report["smtps"].partition(":")[2]), tmp_path / "ca.pem")
    while not (line := (await process.stdout.readline()).decode()).startswith("outside"):
        assert line.startswith("delivered")
    assert line.split() == ["outside", "desk@example.test", "to", "ann@example.org:", f"{tmp_path}/outside/000001.eml"]
    assert (tmp_path / "outside/000001.eml").read_bytes() == b"Subject: x\r\n\r\nhello\r\n"
    process.send_signal(signal.SIGTERM)
    _, errors = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, errors) == (0, b"")


def _send_outside(port: int, ca_file: Path) -> None:
    context = ssl.create_default_context(cafile=str(ca_file))
    with smtplib.SMTP_SSL("localhost", port, timeout=10, context=context) as client:
        client.login("desk@example.test", "sandbox")
        client.sendmail("desk@example.test", ["ann@example.org"], b"Subject: x\r\n\r\nhello\r\n")


def test_command_line_explains_itself_and_its_failures(tmp_path: Path) -> None:
    shown = CliRunner().invoke(main, ["--help"])
    assert shown.exit_code == 0
    for option in (
        "--directory",
        "--authority-port",
        "--imap-port",
        "--imaps-port",
        "--smtp-port",
        "--smtps-port",
        "--drop-every",
        "--unconsented",
    ):
        assert option in shown.output
    (tmp_path / "file").write_text("")
    refused = CliRunner().invoke(main, ["--directory", str(tmp_path / "file" / "below")])
    assert refused.exit_code == 1
    assert "Error:" in refused.output


def test_an_account_that_is_no_address_is_refused(tmp_path: Path) -> None:
    refused = CliRunner().invoke(main, ["--directory", str(tmp_path), "--account", "nonsense"])
    assert refused.exit_code == 2
    assert "--account" in refused.output
    assert "'nonsense' is no address" in refused.output
    assert not list(tmp_path.iterdir())


def test_a_taken_port_is_named_by_its_option(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = CliRunner().invoke(main, ["--directory", str(tmp_path), "--smtp-port", port])
    assert refused.exit_code == 2
    assert "'--smtp-port': port " + port in refused.output
