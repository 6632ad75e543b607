"""The sandbox's SMTP server, seen by the standard library's client over real sockets."""

from __future__ import annotations

import asyncio
import base64
import json
import smtplib
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import pytest

from postroom.sandbox import MAIL_SCOPE, Sandbox

T = TypeVar("T")
SALES, SUPPORT = "sales@example.test", "support@example.test"
LETTER = b"From: sales@example.test\r\nTo: support@example.test\r\nSubject: hello\r\n\r\n.dots\r\n..\r\nend\r\n"


async def talk(sandbox: Sandbox, work: Callable[[smtplib.SMTP], T], *, implicit: bool = False) -> T:
    """What a client does after STARTTLS and EHLO, in a thread."""

    def run() -> T:
        context = ssl.create_default_context(cafile=str(sandbox.ca_file))
        if implicit:
            with smtplib.SMTP_SSL("localhost", sandbox.smtps_port, timeout=10, context=context) as client:
                client.ehlo("client.example.test")
                return work(client)
        with smtplib.SMTP("localhost", sandbox.smtp_port, timeout=10) as client:
            client.starttls(context=context)
            client.ehlo("client.example.test")
            return work(client)

    return await asyncio.to_thread(run)


def xoauth2(client: smtplib.SMTP, user: str, token: str, *, initial: bool = True) -> tuple[int, bytes]:
    message = f"user={user}\x01auth=Bearer {token}\x01\x01"
    return auth(client, "XOAUTH2", message, initial=initial)


def auth(client: smtplib.SMTP, mechanism: str, message: str, *, initial: bool = True) -> tuple[int, bytes]:
    encoded = base64.b64encode(message.encode()).decode()
    if initial:
        return client.docmd("AUTH", f"{mechanism} {encoded}")
    assert client.docmd("AUTH", mechanism) == (334, b"")
    return client.docmd(encoded)


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "tls"])
@pytest.mark.parametrize("initial", [False, True], ids=["challenged", "initial"])
async def test_token_sends_and_the_mail_is_in_the_mailbox_before_the_answer(
    sandbox: Sandbox, implicit: bool, initial: bool
) -> None:
    token = sandbox.authority.issue(SALES).access_token

    def work(client: smtplib.SMTP) -> None:
        assert xoauth2(client, SALES, token, initial=initial)[0] == 235
        assert client.sendmail(SALES, [SUPPORT], LETTER) == {}

    await talk(sandbox, work, implicit=implicit)
    (held,) = await sandbox.listing(SUPPORT)
    assert held.octets.endswith(LETTER)
    assert held.octets.startswith(b"Return-Path: <sales@example.test>\r\nReceived: ")
    assert sandbox.outside == []


async def test_oauthbearer_and_password_send_too(sandbox: Sandbox) -> None:
    token = sandbox.authority.issue(SALES).access_token
    bearer = f"n,a={SALES},\x01host=localhost\x01port=587\x01auth=Bearer {token}\x01\x01"

    def work(how: Callable[[smtplib.SMTP], object], client: smtplib.SMTP) -> None:
        how(client)
        client.sendmail(SALES, [SUPPORT], LETTER)

    await talk(sandbox, partial(work, lambda client: auth(client, "oauthbearer", bearer)))
    await talk(sandbox, partial(work, lambda client: client.login(SALES.upper(), sandbox.password)))
    assert len(await sandbox.listing(SUPPORT)) == 2


async def test_bad_token_is_refused_with_the_reason_that_google_gives(sandbox: Sandbox) -> None:
    narrow = sandbox.authority.issue(SALES, "openid email").access_token

    def refused(token: str, client: smtplib.SMTP) -> dict[str, str]:
        code, challenge = xoauth2(client, SALES, token)
        assert code == 334
        assert client.docmd("")[0] == 535
        with pytest.raises(smtplib.SMTPSenderRefused) as error:
            client.sendmail(SALES, [SUPPORT], LETTER)
        assert error.value.smtp_code == 530
        return dict(json.loads(base64.b64decode(challenge)))

    assert await talk(sandbox, partial(refused, "nonsense")) == {"status": "401", "schemes": "bearer", "scope": MAIL_SCOPE}
    assert (await talk(sandbox, partial(refused, narrow)))["status"] == "403"
    assert await sandbox.listing(SUPPORT) == []


async def test_malformed_cancelled_and_wrong_logins(sandbox: Sandbox) -> None:
    def work(client: smtplib.SMTP) -> None:
        for mechanism in ("XOAUTH2", "OAUTHBEARER"):
            assert auth(client, mechanism, "nonsense")[0] == 501
            assert client.docmd("AUTH", f"{mechanism} !!")[0] == 501
            assert client.docmd("AUTH", mechanism)[0] == 334
            assert client.docmd("*")[0] == 501
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login(SALES, "wrong")
        assert client.docmd("AUTH", "LOGIN")[0] == 504

    await talk(sandbox, work)


async def test_nothing_before_tls_and_login(sandbox: Sandbox) -> None:
    def work() -> None:
        with smtplib.SMTP("localhost", sandbox.smtp_port, timeout=10) as client:
            client.ehlo()
            assert (client.has_extn("starttls"), client.has_extn("auth")) == (True, False)
            assert client.docmd("AUTH", "PLAIN")[0] == 538
            assert client.mail(SALES)[0] == 530

    await asyncio.to_thread(work)

    def after(client: smtplib.SMTP) -> dict[str, str]:
        return client.esmtp_features

    offered = await talk(sandbox, after)
    assert set(offered["auth"].split()) == {"PLAIN", "XOAUTH2", "OAUTHBEARER"}
    assert {"size", "8bitmime", "smtputf8"} <= set(offered)
    assert "starttls" not in offered


async def test_mail_for_others_stays_here_and_can_be_looked_at(sandbox: Sandbox) -> None:
    def work(client: smtplib.SMTP) -> None:
        client.login(SALES, sandbox.password)
        client.sendmail(SALES, ["ann@example.org", SUPPORT, SUPPORT.upper(), "ben@example.net"], LETTER)
        client.sendmail("", ["ann@example.org"], LETTER)

    await talk(sandbox, work)
    assert len(await sandbox.listing(SUPPORT)) == 1
    assert [(sent.mail_from, sent.recipients, sent.octets) for sent in sandbox.outside] == [
        (SALES, ("ann@example.org", "ben@example.net"), LETTER),
        ("", ("ann@example.org",), LETTER),
    ]


async def test_foreign_sender_too_many_recipients_and_sizes_are_refused(sandbox: Sandbox) -> None:
    def work(client: smtplib.SMTP) -> None:
        client.login(SALES, sandbox.password)
        assert client.mail(SUPPORT)[0] == 553
        assert client.docmd(f"MAIL FROM:<{SALES}> SIZE=99999999")[0] == 552
        assert client.mail(SALES)[0] == 250
        assert [client.rcpt(f"u{number}@example.org")[0] for number in range(101)] == [250] * 100 + [452]
        assert client.docmd("RCPT TO:<nonsense>")[0] == 553
        client.rset()
        client.send("MAIL FROM:<sälés@example.test>\r\n".encode())
        assert client.getreply()[0] == 550

    await talk(sandbox, work)


async def test_utf8_addresses(sandbox: Sandbox) -> None:
    def work(client: smtplib.SMTP) -> None:
        client.login(SALES, sandbox.password)
        client.sendmail(SALES, ["jörg@example.org"], LETTER, ["SMTPUTF8", "BODY=8BITMIME"])

    await talk(sandbox, work)
    assert [sent.recipients for sent in sandbox.outside] == [("jörg@example.org",)]


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r"], ids=repr)
async def test_no_message_is_smuggled_in_another(sandbox: Sandbox, end: bytes) -> None:
    second = b"MAIL FROM:<sales@example.test>\r\nRCPT TO:<support@example.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx"

    def work(client: smtplib.SMTP) -> None:
        client.login(SALES, sandbox.password)
        client.mail(SALES)
        client.rcpt(SUPPORT)
        assert client.docmd("DATA")[0] == 354
        client.send(b"Subject: first\r\n\r\ntext" + end + second + b"\r\n.\r\n")
        assert client.getreply()[0] == 550
        assert client.noop()[0] == 250

    await talk(sandbox, work)
    assert await sandbox.listing(SUPPORT) == []


async def test_what_follows_starttls_in_the_clear_is_not_taken_as_protected(sandbox: Sandbox) -> None:
    def work() -> list[bytes]:
        context = ssl.create_default_context(cafile=str(sandbox.ca_file))
        with socket.create_connection(("localhost", sandbox.smtp_port), timeout=10) as plain:
            assert plain.recv(999).startswith(b"220")
            plain.sendall(b"EHLO a\r\nSTARTTLS\r\nNOOP injected\r\n")
            answered = b""
            while b"220 Ready" not in answered:
                answered += plain.recv(999)
            with context.wrap_socket(plain, server_hostname="localhost") as protected:
                protected.sendall(b"QUIT\r\n")
                return [protected.recv(999)]

    assert await asyncio.to_thread(work) == [b"221 Bye\r\n"]
