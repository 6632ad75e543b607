"""The SMTP listener: who may hand mail in, what is refused, and that 250 means kept."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest
from handing_in import ACCOUNTS, LETTER, OPEN, SENDERS, client, post

from postroom import events
from postroom.errors import StoreError, StoreFull
from postroom.mime.raw import RawEnvelope
from servers.certificates import Certificates

TRACE = b"Received: from localhost by localhost (Postroom) with "


async def talk(port: int, work: Callable[[smtplib.SMTP], object]) -> None:
    """What a program does with the standard library, in a thread."""

    def run() -> None:
        with smtplib.SMTP("127.0.0.1", port, timeout=10) as program:
            work(program)

    await asyncio.to_thread(run)


# --- a message


async def test_message_is_in_the_queue_of_its_account(tmp_path: Path) -> None:
    def work(program: smtplib.SMTP) -> None:
        message = EmailMessage()
        message["From"] = "Sales <sales@example.org>"
        message["To"] = "Ann <ann@example.net>"
        message["Bcc"] = "boss@example.org"
        message["Subject"] = "Grüße"
        message.set_content(".dot\n..\nÄpfel\n")
        assert program.send_message(message) == {}

    async with post(tmp_path, SENDERS + OPEN) as office:
        await talk(office.port, work)
        (row,) = await office.rows()
        octets = await office.octets(row)
    assert (row.client, row.owner, row.mail_from, row.subject) == (
        "smtp-client-sales",
        "smtp-listener",
        "sales@example.org",
        "Grüße",
    )
    assert [person.address for person in row.recipients] == ["ann@example.net", "boss@example.org"]
    assert octets.startswith(TRACE + b"ESMTP;\r\n\tTue, 14 Nov 2023 22:13:20 +0000\r\n")
    assert b"boss" not in octets
    assert b"\r\nMessage-ID: <" in octets
    assert b"\r\nDate: " in octets
    assert b"\r\n\r\n.dot\r\n..\r\n" in octets
    assert office.observer.of(events.HANDED_IN)[0]["id"] == row.id


async def test_octets_stay_as_they_are(tmp_path: Path) -> None:
    body = b"".join(b"." * count + b"x\r\n" for count in range(5)) + bytes(range(128, 256)) + b"\r\n..\r\n"
    letter = LETTER.replace(b"Subject", b"Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <a@example.org>\r\nSubject") + body
    async with post(tmp_path, SENDERS + OPEN) as office, client(office.port) as program:
        stuffed = (b"\r\n" + letter).replace(b"\r\n.", b"\r\n..")[2:]
        assert (await program.message(stuffed)).startswith("250 2.0.0 Queued as ")
        (row,) = await office.rows()
        assert (await office.octets(row)).partition(b"+0000\r\n")[2] == letter
        assert row.message_id == "<a@example.org>"


async def test_pieces_of_any_size_make_the_same_message(tmp_path: Path) -> None:
    stuffed = LETTER + b"..\r\n.\rx\r\n..\r\n..."[:4]
    async with post(tmp_path, SENDERS + OPEN) as office, client(office.port) as program:
        for step in (1, 2, 3, 5):
            await program.begin()
            whole = stuffed + b"end\r\n.\r\nNOOP\r\n"
            for at in range(0, len(whole), step):
                await program.send(whole[at : at + step])
                await asyncio.sleep(0)
            assert (await program.reply()).startswith("250 2.0.0")
            assert (await program.reply()).startswith("250 2.0.0 Here")
        texts = {(await office.octets(row)).partition(b"\r\n\r\n")[2] for row in await office.rows()}
    assert texts == {b"A text.\r\n.\r\nend\r\n"}


async def test_envelope_of_dsn_and_utf8(tmp_path: Path) -> None:
    async with post(tmp_path, SENDERS + OPEN) as office, client(office.port) as program:
        mail = "MAIL FROM:<sales@example.org> BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb SIZE=100 AUTH=<>"
        assert (await program.ask(mail.encode())).startswith("250 2.1.0")
        rcpt = "RCPT TO:<jörg@exämple.net> NOTIFY=success,FAILURE ORCPT=rfc822;J+2Bx@old.example.net"
        assert (await program.ask(rcpt.encode())).startswith("250 2.1.5")
        assert (await program.ask(b"RCPT TO:<@relay.example.net:ann@example.net>")).startswith("250 2.1.5")
        await program.ask(b"DATA")
        await program.send(LETTER + b".\r\n")
        assert (await program.reply()).startswith("250 2.0.0")
        (outgoing,) = await office.core.store.outbox.take("smtp-client-sales", 10)
        assert b" with UTF8SMTP;" in await office.octets((await office.rows())[0])
    envelope = outgoing.envelope
    assert (envelope.mail_from, envelope.ret, envelope.envid, envelope.smtputf8) == ("sales@example.org", "HDRS", "a+b", True)
    first, second = envelope.recipients
    assert first == ("jörg@xn--exmple-cua.net", ("SUCCESS", "FAILURE"), "rfc822;J+x@old.example.net")
    assert second == ("ann@example.net", (), "")


@pytest.mark.parametrize(
    ("sender", "author", "expected"),
    [
        pytest.param("sales@example.org", "other@nowhere.test", "sales@example.org", id="sender"),
        pytest.param("root@printer.local", "Scan <scan@example.com>", "scan@example.com", id="author-for-unknown-sender"),
        pytest.param("", "scan@desk.example.com", "", id="author-for-null-sender"),
    ],
)
async def test_account_is_the_senders_else_the_authors(tmp_path: Path, sender: str, author: str, expected: str) -> None:
    def work(program: smtplib.SMTP) -> None:
        program.sendmail(sender, ["ann@example.net"], f"From: {author}\r\nSubject: x\r\n\r\nx\r\n")

    async with post(tmp_path, SENDERS + OPEN) as office:
        await talk(office.port, work)
        (row,) = await office.rows()
    assert (row.client, row.mail_from) == ("smtp-client-sales", expected)


async def test_author_is_added_where_there_is_none(tmp_path: Path) -> None:
    async with post(tmp_path, SENDERS + OPEN) as office, client(office.port) as program:
        assert (await program.message(b"Subject: alarm\r\n\r\nhot\r\n")).startswith("250 2.0.0")
        assert b"\r\nFrom: sales@example.org\r\nSubject: alarm" in await office.octets((await office.rows())[0])


async def test_nobody_sends_for_it(tmp_path: Path) -> None:
    async with post(tmp_path, SENDERS + OPEN) as office, client(office.port) as program:
        await program.ask(b"MAIL FROM:<root@printer.local>")
        await program.ask(b"RCPT TO:<ann@example.net>")
        await program.ask(b"DATA")
        await program.send(b"From: me@elsewhere.test\r\n\r\nx\r\n.\r\n")
        reply = await program.reply()
        assert reply.startswith("553 5.7.1 No account sends for me@elsewhere.test")
        assert "addresses" in reply
        assert await office.rows() == []
        assert office.observer.of(events.LISTENER_REFUSED)[0]["peer"] == "127.0.0.1"


async def test_without_any_account_mail_is_refused_at_once(tmp_path: Path) -> None:
    async with post(tmp_path, OPEN) as office, client(office.port) as program:
        assert "section smtp-client" in await program.ask(b"MAIL FROM:<sales@example.org>")


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        pytest.param(StoreFull("no space"), "452 4.3.1", id="full"),
        pytest.param(StoreError("disk I/O error"), "451 4.3.0", id="store"),
        pytest.param(RuntimeError("secret words"), "451 4.3.0", id="unforeseen"),
    ],
)
async def test_what_is_not_kept_is_never_answered_250(tmp_path: Path, error: Exception, reply: str) -> None:
    async def submit(_octets: bytes, _envelope: RawEnvelope, _owner: str, _section: str) -> str:
        raise error

    async with post(tmp_path, SENDERS + OPEN, submit) as office, client(office.port) as program:
        answer = await program.message(LETTER)
        assert answer.startswith(reply)
        assert "secret" not in answer
        assert (await program.message(LETTER)).startswith(reply)  # the conversation goes on


# --- who is there


async def test_logins(tmp_path: Path) -> None:
    async with post(tmp_path, SENDERS + ACCOUNTS) as office:
        async with client(office.port, greet=False) as program:
            assert (await program.ask(b"MAIL FROM:<sales@example.org>")).startswith("503")
            assert "AUTH PLAIN LOGIN" in await program.ask(b"EHLO a")
            assert (await program.ask(b"MAIL FROM:<sales@example.org>")).startswith("530 5.7.0")
            assert (await program.plain("erp", "wrong")).startswith("535 5.7.8")
            assert (await program.plain("nobody", "käse und brot")).startswith("535 5.7.8")
            assert (await program.plain("ERP", "käse und brot")).startswith("235 2.7.0")
            assert (await program.ask(b"AUTH PLAIN")).startswith("503")
            assert (await program.message(LETTER)).startswith("250 2.0.0")
        await talk(office.port, lambda program: [program.login("printer", "1234"), program.sendmail("", ["a@example.net"], LETTER)])
        async with client(office.port) as program:
            assert await program.ask(b"auth login") == "334 VXNlcm5hbWU6"
            assert await program.ask(b"UHJpbnRlcg==") == "334 UGFzc3dvcmQ6"
            assert (await program.ask(b"MTIzNA==")).startswith("235")
        rows = await office.rows()
        assert [row.owner for row in rows] == ["smtp-listener-account-erp", "smtp-listener-account-Printer"]
        assert TRACE + b"ESMTPA;" in await office.octets(rows[0])
        assert b"erp" not in await office.octets(rows[0])
    assert "brot" not in str(office.observer.events)


async def test_malformed_logins_are_limited(tmp_path: Path) -> None:
    async with post(tmp_path, SENDERS + ACCOUNTS) as office:
        async with client(office.port) as program:
            assert (await program.ask(b"AUTH XOAUTH2 abc")).startswith("504 5.5.4")
            assert (await program.ask(b"AUTH PLAIN !!")).startswith("501 5.5.2")
            assert await program.ask(b"AUTH PLAIN") == "334 "
            assert (await program.ask(b"*")).startswith("501 5.7.0")
            assert (await program.ask(b"AUTH PLAIN AGVycAA=")).startswith("421 4.7.0")
            assert await program.ended() == b""
        async with client(office.port) as program:
            assert await program.ask(b"AUTH PLAIN") == "334 "
            await program.send(b"x" * 20000 + b"\r\n")
            assert (await program.reply()).startswith("500 5.5.6")
        async with client(office.port, greet=False) as program:
            await program.ask(b"HELO old")
            assert (await program.ask(b"AUTH PLAIN")).startswith("502")


async def test_guessing_from_one_address_waits(tmp_path: Path) -> None:
    async with post(tmp_path, SENDERS + ACCOUNTS) as office:
        for _ in range(5):
            async with client(office.port) as program:
                for _ in range(2):
                    assert (await program.plain("erp", "wrong")).startswith("535")
        async with client(office.port) as program:
            assert (await program.plain("erp", "käse und brot")).startswith("454 4.7.0")
            assert (await program.plain("printer", "1234")).startswith("235")
        office.clock.advance(61)
        async with client(office.port) as program:
            assert (await program.plain("erp", "käse und brot")).startswith("235")


async def test_starttls_comes_first(tmp_path: Path, certificates: Certificates) -> None:
    chain, key = certificates.issue("localhost")
    context = ssl.create_default_context(cafile=str(certificates.ca_file))
    secure = f"security = start-tls\ntls-certificate = {chain}\ntls-key = {key}\n"
    text = SENDERS + ACCOUNTS.replace("127.0.0.1:0\n", f"127.0.0.1:0\n{secure}")
    async with post(tmp_path, text) as office:
        async with client(office.port, greet=False) as program:
            offered = await program.ask(b"EHLO a")
            assert "STARTTLS" in offered
            assert "AUTH" not in offered
            assert (await program.plain("erp", "käse und brot")).startswith("530 5.7.0")
            assert (await program.ask(b"MAIL FROM:<sales@example.org>")).startswith("530 5.7.0")
            await program.start_tls(context)
            assert (await program.ask(b"MAIL FROM:<sales@example.org>")).startswith("503")  # the greeting counts no more
            offered = await program.ask(b"EHLO a")
            assert "STARTTLS" not in offered
            assert "AUTH PLAIN LOGIN" in offered
            assert (await program.ask(b"STARTTLS")).startswith("503")
            assert (await program.plain("erp", "käse und brot")).startswith("235")
            assert (await program.message(LETTER)).startswith("250")
        assert TRACE + b"ESMTPSA;" in await office.octets((await office.rows())[0])
        async with client(office.port) as program:
            await program.send(b"STARTTLS\r\nMAIL FROM:<sales@example.org>\r\n")
            assert (await program.reply()).startswith("554 5.5.1")
            assert await program.ended() == b""
        async with client(office.port) as program:
            assert (await program.ask(b"STARTTLS")).startswith("220")
            await program.send(b"EHLO in the clear\r\n")
            assert b"250" not in await program.ended()


async def test_tls_from_the_first_octet_and_a_renewed_certificate(tmp_path: Path, certificates: Certificates) -> None:
    chain, key = certificates.issue("localhost")
    context = ssl.create_default_context(cafile=str(certificates.ca_file))
    secure = f"security = ssl-tls\ntls-certificate = {chain}\ntls-key = {key}\n"
    async with post(tmp_path, SENDERS + ACCOUNTS.replace("127.0.0.1:0\n", f"127.0.0.1:0\n{secure}")) as office:
        async with client(office.port, tls=context) as program:
            assert (await program.plain("erp", "käse und brot")).startswith("235")
            assert (await program.message(LETTER)).startswith("250")
        renewed, its_key = certificates.issue("other.example.org")
        chain.write_bytes(renewed.read_bytes())
        key.write_bytes(its_key.read_bytes())
        office.listener.read_certificate()
        with pytest.raises(ssl.SSLCertVerificationError, match="localhost"):
            async with client(office.port, tls=context):
                pass


# --- limits


async def test_sizes(tmp_path: Path) -> None:
    text = SENDERS + OPEN.replace("[smtp-listener]", "[smtp-listener]\nmaximum-msg-size = 1000")
    async with post(tmp_path, text) as office, client(office.port, greet=False) as program:
        assert "SIZE 1000" in await program.ask(b"EHLO a")
        assert (await program.ask(b"MAIL FROM:<sales@example.org> SIZE=1001")).startswith("552 5.3.4")
        assert (await program.message(LETTER + b"x" * 72 * 13 + b"\r\n")).startswith("552 5.3.4")
        assert (await program.message(LETTER + b"x\r\n" * 10000)).startswith("552 5.3.4")
        fits = LETTER + b"..\r\n" * ((1000 - len(LETTER)) // 3)  # doubled dots do not count
        assert (await program.message(fits)).startswith("250 2.0.0")
        assert (await program.message(fits + b"..xx\r\n")).startswith("552 5.3.4")
        assert len(await office.rows()) == 1


async def test_recipients_are_limited(tmp_path: Path) -> None:
    async with post(tmp_path, SENDERS + OPEN) as office, client(office.port) as program:
        await program.ask(b"MAIL FROM:<sales@example.org>")
        await program.send(b"".join(b"RCPT TO:<u%d@example.net>\r\n" % number for number in range(1002)))
        replies = [await program.reply() for _ in range(1002)]
        assert [reply[:9] for reply in replies] == ["250 2.1.5"] * 1000 + ["452 4.5.3"] * 2
        await program.ask(b"DATA")
        await program.send(LETTER + b".\r\n")
        assert (await program.reply()).startswith("250")
        assert len((await office.rows())[0].recipients) == 1000


async def test_connections_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.app.listener.server.CONNECTIONS", 2)
    async with post(tmp_path, SENDERS + OPEN) as office, client(office.port), client(office.port):
        reader, writer = await asyncio.open_connection("127.0.0.1", office.port)
        assert (await reader.read()).startswith(b"421 4.3.2")
        writer.close()


async def test_memory_is_limited_over_all_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.app.listener.server.MEMORY", 0)
    text = SENDERS + OPEN.replace("[smtp-listener]", "[smtp-listener]\nmaximum-msg-size = 1m")  # room for two
    large = LETTER + b"x" * 70 + b"\r\n" + b"y" * 900 + b"\r\n"
    async with (
        post(tmp_path, text) as office,
        client(office.port) as first,
        client(office.port) as second,
        client(office.port) as third,
    ):
        for program in (first, second, third):
            await program.begin()
        filling = (b"z" * 70 + b"\r\n") * 13500
        await first.send(large + filling)
        await second.send(large + filling)
        await third.send(large + filling + b".\r\n")
        replies = [await third.reply()]
        await first.send(b".\r\n")
        await second.send(b".\r\n")
        replies += [await first.reply(), await second.reply()]
        assert sorted(reply[:9] for reply in replies) == ["250 2.0.0", "250 2.0.0", "452 4.3.1"]
        assert (await third.message(large)).startswith("250")


async def test_silence_ends_a_conversation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.app.listener.conversation.SILENCE", 0.05)
    async with post(tmp_path, SENDERS + OPEN) as office:
        async with client(office.port, greet=False) as program:
            assert (await program.ended()).startswith(b"421 4.4.2")
        async with client(office.port) as program:
            await program.begin()
            await program.send(LETTER)
            assert (await program.ended()).startswith(b"421 4.4.2")
        assert await office.rows() == []


# --- what no sound program says


@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\n.\r", b"\r.\r\n", b"\r\n.\r\r\n"], ids=repr
)
async def test_no_message_is_smuggled_in_another(tmp_path: Path, end: bytes) -> None:
    second = b"MAIL FROM:<sales@example.org>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\n" + LETTER
    async with post(tmp_path, SENDERS + OPEN) as office, client(office.port) as program:
        assert (await program.message(LETTER.removesuffix(b"\r\n") + end + second)).startswith("550 5.6.0")
        assert (await program.ask(b"NOOP")).startswith("250")
        assert await office.rows() == []


async def test_lone_line_feeds_of_old_programs_become_line_ends(tmp_path: Path) -> None:
    async with post(tmp_path, SENDERS + OPEN) as office, client(office.port) as program:
        assert (await program.message(LETTER.replace(b"\r\n", b"\n") + b"more\r\n")).startswith("250")
        octets = await office.octets((await office.rows())[0])
    assert b"\r\n\r\nA text.\r\nmore\r\n" in octets
    assert octets.count(b"\n") == octets.count(b"\r\n")


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nEHLO a\r\n", id="browser"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", id="tls"),
        pytest.param(b"EHLO a\nMAIL FROM:<sales@example.org>\n", id="lf"),
        pytest.param(b"EHLO a\rMAIL FROM:<sales@example.org>\r\n", id="cr"),
        pytest.param(b"EHLO a\0b\r\n", id="nul"),
        pytest.param(b"x" * 100_000, id="endless"),
        pytest.param(b"EHLO a\r\n" + b"WHAT\r\n" * 20, id="junk"),
    ],
)
async def test_who_speaks_no_smtp_is_left(tmp_path: Path, octets: bytes) -> None:
    transaction = b"EHLO a\r\nMAIL FROM:<sales@example.org>\r\nRCPT TO:<ann@example.net>\r\nDATA\r\n" + LETTER + b".\r\n"
    async with post(tmp_path, SENDERS + OPEN) as office:
        async with client(office.port, greet=False) as program:
            await program.send(octets + transaction)
            answered = await program.ended()
            assert b"354" not in answered
        assert await office.rows() == []


async def test_order_of_commands_and_their_syntax(tmp_path: Path) -> None:
    said = [
        (b"RCPT TO:<ann@example.net>", "503 5.5.1"),
        (b"DATA", "503 5.5.1"),
        (b"MAIL", "501 5.5.4"),
        (b"MAIL FROM:<a b@example.org>", "501 5.5.4"),
        (b"MAIL FROM:<sales@example.org> FOO=1", "555 5.5.4"),
        (b"MAIL FROM:<sales@example.org> SIZE=x", "501 5.5.4"),
        (b"MAIL FROM:<sales@example.org> SIZE=1 SIZE=1", "501 5.5.4"),
        (b"MAIL FROM:<sales@example.org> BODY=BINARYMIME", "501 5.5.4"),
        (b"MAIL FROM:<sales@example.org> RET=ALL", "501 5.5.4"),
        (b"MAIL FROM:<sales@example.org> ENVID=a+0D+0Ab", "501 5.5.4"),
        (b"MAIL FROM:<sales@example.org> SMTPUTF8=1", "501 5.5.4"),
        (b"MAIL FROM:<sales>", "553 5.1.7"),
        ("MAIL FROM:<sälés@example.org>".encode(), "550 5.6.7"),
        (b"MAIL FROM:<s\xe4les@example.org> SMTPUTF8", "553 5.1.7"),
        (b"mail from: sales@example.org", "250 2.1.0"),
        (b"MAIL FROM:<sales@example.org>", "503 5.5.1"),
        (b"DATA", "554 5.5.1"),
        (b"RCPT TO:<>", "553 5.1.3"),
        (b"RCPT TO:<ann>", "553 5.1.3"),
        ("RCPT TO:<jörg@example.net>".encode(), "553 5.6.7"),
        (b"RCPT TO:<ann@example.net> NOTIFY=NEVER,DELAY", "501 5.5.4"),
        (b"RCPT TO:<ann@example.net> ORCPT=x", "501 5.5.4"),
        (b'RCPT TO:<"a b"@example.net>', "250 2.1.5"),
        (b"DATA now", "501 5.5.4"),
        (b"VRFY ann", "252 2.0.0"),
        (b"EXPN staff", "502 5.5.1"),
        (b"HELP", "214 2.0.0"),
        (b"RSET", "250 2.0.0"),
        (b"RCPT TO:<ann@example.net>", "503 5.5.1"),
        (b"STARTTLS", "503 5.5.1"),
        (b"AUTH PLAIN", "502 5.5.1"),
        (b"QUIT", "221 2.0.0"),
    ]
    async with post(tmp_path, SENDERS + OPEN) as office, client(office.port) as program:
        assert [(line, (await program.ask(line))[:9]) for line, _ in said] == said
        assert await program.ended() == b""


async def test_group_of_commands_is_answered_in_order(tmp_path: Path) -> None:
    async with post(tmp_path, SENDERS + OPEN) as office, client(office.port) as program:
        group = b"MAIL FROM:<sales@example.org>\r\nRCPT TO:<>\r\nRCPT TO:<ann@example.net>\r\nDATA\r\n"
        await program.send(group)
        assert [(await program.reply())[:3] for _ in range(4)] == ["250", "553", "250", "354"]
        await program.send(LETTER + b".\r\n" + group)
        assert [(await program.reply())[:3] for _ in range(5)] == ["250", "250", "553", "250", "354"]


@pytest.mark.parametrize("whole", [LETTER, LETTER + b".", LETTER + b".\r"], ids=["text", "dot", "dot-cr"])
async def test_message_cut_before_its_end_is_not_kept(tmp_path: Path, whole: bytes) -> None:
    async with post(tmp_path, SENDERS + OPEN) as office:
        async with client(office.port) as program:
            await program.begin()
            await program.send(whole)
            program.cut()
        async with client(office.port) as program:
            assert (await program.ask(b"NOOP")).startswith("250")
        assert await office.rows() == []


async def test_message_that_goes_round_and_faulty_ones(tmp_path: Path) -> None:
    async with post(tmp_path, SENDERS + OPEN) as office, client(office.port) as program:
        assert (await program.message(b"Received: x\r\n" * 101 + LETTER)).startswith("554 5.4.6")
        assert "998" in (reply := await program.message(LETTER + b"x" * 1200 + b"\r\n"))
        assert reply.startswith("550 5.6.0")
        assert (await program.message(LETTER + b"a\0b\r\n")).startswith("550 5.6.0")
        assert await office.rows() == []


# --- the end


async def test_end_answers_what_is_being_kept_and_sends_the_others_away(tmp_path: Path) -> None:
    keeping, go = asyncio.Event(), asyncio.Event()

    async def submit(_octets: bytes, _envelope: RawEnvelope, _owner: str, _section: str) -> str:
        keeping.set()
        await go.wait()
        return "id"

    async with (
        post(tmp_path, SENDERS + OPEN, submit) as office,
        client(office.port) as busy,
        client(office.port) as idle,
        client(office.port) as half,
    ):
        await half.begin()
        await half.send(LETTER)
        await busy.begin()
        await busy.send(LETTER + b".\r\n")
        await keeping.wait()
        ending = asyncio.create_task(office.listener.__aexit__())
        assert (await idle.ended()).startswith(b"421 4.3.2")
        assert (await half.ended()).startswith(b"421 4.3.2")
        go.set()
        assert await busy.reply() == "250 2.0.0 Queued as id"
        assert (await busy.ended()).startswith(b"421 4.3.2")
        await ending
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", office.port)
