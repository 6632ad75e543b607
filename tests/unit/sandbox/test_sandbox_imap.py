"""The sandbox's IMAP server, seen by the standard library's client over real sockets."""

from __future__ import annotations

import asyncio
import imaplib
import json
import socket
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import pytest

from postroom.sandbox import MAIL_SCOPE, Sandbox

if TYPE_CHECKING:
    from conftest import Application, Mail, MovedClock

SALES, SUPPORT = "sales@example.test", "support@example.test"

MESSAGES = [
    b"Subject: plain\r\n\r\ntext\r\n",
    b"Subject: bare\n\nline feeds\n",
    b"Subject: octets\r\n\r\n\x00\xff\xfe without an end of line",
    b"Subject: only a header",
    b"no header, no structure",
    b"Content-Type: multipart/mixed; boundary=a\x00b\r\n\r\n--a\r\n",
    b"Message-ID: <a@[.b@c>\r\nIn-Reply-To: \xff\r\n\r\nx",
    b"",
]


async def test_refreshed_token_opens_the_mailbox(application: Application, mail: Mail, sandbox: Sandbox) -> None:
    await sandbox.deliver(SALES, MESSAGES[0])
    _, tokens = await application.refresh(sandbox.authority.issue_refresh_token(SALES))

    def work(client: imaplib.IMAP4) -> bytes:
        mail.xoauth2(client, SALES, tokens["access_token"])
        assert client.select("INBOX", readonly=True) == ("OK", [b"1"])
        return bytes(client.uid("FETCH", "1:*", "(BODY.PEEK[])")[1][0][1])

    assert await mail.run(work) == MESSAGES[0]
    assert mail.challenges == [b""]


async def test_bad_token_is_refused_with_a_reason(mail: Mail) -> None:
    def work(client: imaplib.IMAP4) -> None:
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            mail.xoauth2(client, SALES, "nonsense")

    await mail.run(work)
    assert json.loads(mail.challenges[1]) == {"status": "401", "schemes": "bearer", "scope": MAIL_SCOPE}


async def test_oauthbearer(mail: Mail, sandbox: Sandbox) -> None:
    token = sandbox.authority.issue(SALES).access_token

    def good(client: imaplib.IMAP4) -> None:
        mail.oauthbearer(client, SALES, token)
        assert client.select("INBOX")[0] == "OK"

    def nameless(client: imaplib.IMAP4) -> None:
        mail.oauthbearer(client, "", token)

    def bad(client: imaplib.IMAP4) -> None:
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            mail.oauthbearer(client, SALES, "nonsense")

    await mail.run(good)
    await mail.run(nameless)
    await mail.run(bad)
    assert json.loads(mail.challenges[1]) == {
        "status": "invalid_token",
        "scope": MAIL_SCOPE,
        "openid-configuration": f"{sandbox.authority_url}/.well-known/openid-configuration",
    }


async def test_token_of_another_scope_account_or_time(mail: Mail, sandbox: Sandbox, clock: MovedClock) -> None:
    async def status(token: str) -> str:
        def work(client: imaplib.IMAP4) -> None:
            with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
                mail.xoauth2(client, SALES, token)

        await mail.run(work)
        challenge = json.loads(mail.challenges[1])
        assert challenge["scope"] == MAIL_SCOPE
        return str(challenge["status"])

    assert await status(sandbox.authority.issue(SALES, "openid email").access_token) == "403"
    assert await status(sandbox.authority.issue(SUPPORT).access_token) == "401"
    token = sandbox.authority.issue(SALES).access_token
    clock.offset += 3600
    assert await status(token) == "401"


async def test_malformed_and_cancelled_exchanges(mail: Mail) -> None:
    def answer(message: bytes | None, _: bytes) -> bytes | None:
        return message

    def work(client: imaplib.IMAP4) -> None:
        for mechanism in ("XOAUTH2", "OAUTHBEARER"):
            for message in (b"nonsense", b"\xff" * 9, None):
                with pytest.raises(imaplib.IMAP4.error, match="BAD"):
                    client.authenticate(mechanism, partial(answer, message))
                client.noop()  # five BAD in a row would end the session

    await mail.run(work)


async def test_password_login_in_the_clear_and_after_starttls(sandbox: Sandbox) -> None:
    def work() -> None:
        context = ssl.create_default_context(cafile=str(sandbox.ca_file))
        with imaplib.IMAP4("localhost", sandbox.imap_port, timeout=10) as client:
            assert "STARTTLS" in client.capabilities
            client.starttls(context)
            assert "STARTTLS" not in client.capabilities
            assert client._simple_command("LOGIN", SALES, b'"wr\xf6ng"')[0] == "NO"  # imaplib itself sends ASCII only
            with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
                client.login("nobody@example.test", sandbox.password)
            with pytest.raises(imaplib.IMAP4.error, match="AUTHORIZATIONFAILED"):
                client.authenticate("PLAIN", lambda _: f"{SUPPORT}\0{SALES}\0{sandbox.password}".encode())
            client.login(SALES.upper(), sandbox.password)
            assert client.select("INBOX")[0] == "OK"

    await asyncio.to_thread(work)


async def test_octets_stay_unchanged(mail: Mail, sandbox: Sandbox) -> None:
    when = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    uids = [await sandbox.deliver(SALES, octets, when) for octets in MESSAGES]
    assert uids == sorted(set(uids))
    assert [held.octets for held in await sandbox.listing(SALES)] == MESSAGES

    def work(client: imaplib.IMAP4) -> None:
        client.login(SALES, sandbox.password)
        client.select("INBOX")
        for uid, octets in zip(uids, MESSAGES, strict=True):
            _, data = client.uid("FETCH", str(uid), "(RFC822.SIZE INTERNALDATE BODY.PEEK[])")
            shown = b"".join(b"".join(item) if isinstance(item, tuple) else item for item in data)
            assert b"RFC822.SIZE %d " % len(octets) in shown
            assert b'"03-Feb-2026 04:05:06 +0000"' in shown
            assert octets in shown
        client.uid("STORE", str(uids[0]), "+FLAGS", r"(\Seen)")

    await mail.run(work)
    held = (await sandbox.listing(SALES))[0]
    assert (held.uid, held.when, held.flags) == (uids[0], when, frozenset({"\\Seen"}))


async def test_idle_is_told_of_delivered_mail(mail: Mail, sandbox: Sandbox) -> None:
    loop = asyncio.get_running_loop()
    idling, told = asyncio.Event(), asyncio.Event()

    def work(client: imaplib.IMAP4) -> None:
        client.login(SALES, sandbox.password)
        client.select("INBOX")
        client.send(b"i IDLE\r\n")
        assert client.readline().startswith(b"+")
        loop.call_soon_threadsafe(idling.set)
        for count in (1, 2, 3):
            while client.readline() != b"* %d EXISTS\r\n" % count:
                pass
            loop.call_soon_threadsafe(told.set)
        client.send(b"DONE\r\n")
        while not client.readline().startswith(b"i OK"):
            pass

    session = asyncio.create_task(mail.run(work))
    await asyncio.wait_for(idling.wait(), 10)
    for _ in range(3):
        told.clear()
        await sandbox.deliver(SALES, MESSAGES[0])
        await asyncio.wait_for(told.wait(), 2)
    await session


async def test_idle_is_told_of_what_came_before_it(mail: Mail, sandbox: Sandbox) -> None:
    loop = asyncio.get_running_loop()
    selected, delivered = asyncio.Event(), asyncio.Event()

    def work(client: imaplib.IMAP4) -> None:
        client.login(SALES, sandbox.password)
        client.select("INBOX")
        loop.call_soon_threadsafe(selected.set)
        asyncio.run_coroutine_threadsafe(delivered.wait(), loop).result(10)
        client.send(b"i IDLE\r\n")
        while client.readline() != b"* 1 EXISTS\r\n":
            pass
        client.send(b"DONE\r\n")
        while not client.readline().startswith(b"i OK"):
            pass

    session = asyncio.create_task(mail.run(work))
    await asyncio.wait_for(selected.wait(), 10)
    await sandbox.deliver(SALES, MESSAGES[0])
    delivered.set()
    await asyncio.wait_for(session, 10)


async def test_folders_can_be_made_and_moved_into(mail: Mail, sandbox: Sandbox) -> None:
    uid = await sandbox.deliver(SALES, MESSAGES[0])

    def work(client: imaplib.IMAP4) -> None:
        client.login(SALES, sandbox.password)
        client.create("Done")
        assert client.create("Done")[0] == "NO"
        client.select("INBOX")
        assert client.uid("MOVE", str(uid), "Done")[0] == "OK"

    await mail.run(work)
    assert await sandbox.listing(SALES) == []
    assert [held.octets for held in await sandbox.listing(SALES, "Done")] == [MESSAGES[0]]


async def test_unknown_account(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="no account"):
        await sandbox.deliver("nobody@example.test", MESSAGES[0])


async def test_a_line_of_nonsense_ends_only_its_own_session(sandbox: Sandbox) -> None:
    def work() -> bytes:
        with socket.create_connection(("127.0.0.1", sandbox.imap_port), timeout=10) as line:
            line.sendall(b"a" * (3 << 20) + b"\r\n")
            received = b""
            while chunk := line.recv(4096):
                received += chunk
            return received

    with suppress(ConnectionError):  # a reset may overtake the farewell
        assert b"BYE" in await asyncio.to_thread(work)
    assert await sandbox.listing(SALES) == []
