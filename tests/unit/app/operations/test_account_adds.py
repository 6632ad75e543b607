"""What an account adds to what is handed in: its signature, the envelope's sender, the reports that are asked for."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from fakes import HandClock, ScriptedServer, Traces, kit
from postroom.app.config import Live, load
from postroom.app.core import Core
from postroom.app.observing import Log
from postroom.app.operations.submissions import Hand, submit_draft, submit_raw
from postroom.app.serve import assembled
from postroom.clock import SystemClock
from postroom.drivers import Account, open_submitter
from postroom.errors import DraftRefused, KeyReused
from postroom.mime.raw import RawEnvelope
from postroom.outbound import Envelope, Recipient
from postroom.settings import Security, SmtpClient
from submission import BYE, LINES, SENDS, hello, sent

A = "smtp-client-a"
MESSAGE = b"From: a@example.org\r\nTo: b@example.net\r\nSubject: x\r\n\r\nhello\r\n"


@asynccontextmanager
async def running(folder: Path, *options: str, rest: str = "") -> AsyncIterator[Core]:
    """The parts of a program with one account."""
    file = folder / "postroom.ini"
    file.write_text("\n".join([f"[{A}]", "server = mail.example.org", *options, rest]))
    live = Live(load(file, {}), {})
    assert live.configuration.faulty == frozenset(), live.configuration.faults
    async with assembled(live, Log(live, SystemClock(), io.StringIO()), SystemClock(), environment={}) as service:
        yield service.core


async def handed_in(core: Core, ret: str = "") -> tuple[Envelope, bytes]:
    """What goes to the server of a message that is handed in as it is."""
    row, _ = await submit_raw(core, MESSAGE, RawEnvelope("a@example.org", (Recipient("b@example.net"),), ret=ret), Hand())
    content = await core.store.outbox.content(row.id)
    [outgoing] = await core.store.outbox.take(A, 10)
    return outgoing.envelope, b"".join(content.pieces())


async def test_what_leaves_is_signed(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    def record(name: bytes, timeout: int = 5) -> bytes:
        assert name == b"s7._domainkey.example.org."
        return b"v=DKIM1; k=rsa; p=" + public

    options = ("dkim-domain = example.org", "dkim-selector = s7", "dkim-key = key.pem")
    async with running(tmp_path, *options) as core:
        _, octets = await handed_in(core)
    assert dkim.verify(octets, dnsfunc=record)
    assert not dkim.verify(octets.replace(b"hello", b"hullo"), dnsfunc=record)


async def test_without_the_options_nothing_is_added(tmp_path: Path) -> None:
    async with running(tmp_path) as core:
        envelope, octets = await handed_in(core)
    assert (envelope.mail_from, envelope.recipients[0].notify, envelope.ret) == ("a@example.org", (), "")
    assert b"DKIM-Signature" not in octets


async def test_the_envelopes_sender(tmp_path: Path) -> None:
    async with running(tmp_path, "mail.smtp.from = bounces@example.org") as core:
        envelope, octets = await handed_in(core)
    assert envelope.mail_from == "bounces@example.org"
    assert b"From: a@example.org" in octets


async def test_which_reports_are_asked_for(tmp_path: Path) -> None:
    async with running(tmp_path, "mail.smtp.dsn.notify = SUCCESS, FAILURE", "mail.smtp.dsn.ret = hdrs") as core:
        envelope, _ = await handed_in(core)
        assert (envelope.recipients[0].notify, envelope.ret) == (("SUCCESS", "FAILURE"), "HDRS")
        envelope, _ = await handed_in(core, ret="FULL")
        assert envelope.ret == "FULL"  # what was said of one message wins


async def test_a_new_address_is_routed_by_what_runs(tmp_path: Path) -> None:
    waits = "[settings]\nrestart-changed-clients = false\n"
    async with running(tmp_path, "addresses = example.org", rest=waits) as core:
        text = core.live.configuration.file.read_text()
        core.live.configuration.file.write_text(text.replace("= example.org", "= example.com"))
        core.live.reload()
        await handed_in(core)
        core.live.restart(A)
        with pytest.raises(DraftRefused):
            await handed_in(core)


async def test_the_options_of_email_processing_act_immediately(tmp_path: Path) -> None:
    draft = {"to": ["b@example.net"], "subject": "x", "text": "Grüße\n"}

    async def sent_now() -> tuple[list[str], bytes]:
        row, _ = await submit_draft(core, draft, Hand())
        content = await core.store.outbox.content(row.id)
        return [recipient.address for recipient in row.recipients], b"".join(content.pieces())

    async with running(tmp_path) as core:
        text = core.live.configuration.file.read_text()
        with pytest.raises(DraftRefused):
            await sent_now()
        section = "[email-processing]\ndefault-from-address = info@example.org\nbcc-address = all@example.org\n"
        core.live.configuration.file.write_text(f"{text}\n{section}outbound-msg-charset = iso-8859-1\n")
        core.live.reload()
        recipients, octets = await sent_now()
    assert recipients == ["b@example.net", "all@example.org"]
    assert b"From: info@example.org" in octets
    assert b"all@example.org" not in octets
    assert b'charset="iso-8859-1"' in octets.lower() or b"charset=iso-8859-1" in octets.lower()


async def test_enable_debug_writes_the_conversation() -> None:
    for enable_debug in (True, False):
        async with ScriptedServer(hello() + SENDS + LINES + "S: 250 ok\n" + BYE) as server:
            client = SmtpClient(
                section=A, name="a", server="127.0.0.1", port=server.port, security=Security.NONE, enable_debug=enable_debug
            )
            hands = kit(HandClock())
            async with open_submitter(Account(client, None, {}), hands) as submitter:
                await sent(submitter)
        assert isinstance(hands.trace, Traces)
        assert (("C", "MAIL FROM:<a@b.c>") in hands.trace.lines) == enable_debug


@pytest.mark.parametrize("octets", [1, 100_000], ids=["small", "large"])
async def test_the_same_request_with_the_same_key_is_one_whatever_its_size(tmp_path: Path, octets: int) -> None:
    async with running(tmp_path) as core:
        draft = {"from": "a@example.org", "to": ["b@example.net"], "subject": "x", "text": "x" * octets}
        raw = MESSAGE + b"x\r\n" * octets
        for submit in (
            lambda hand, more="": submit_draft(core, {**draft, "text": draft["text"] + more}, hand),
            lambda hand, more="": submit_raw(core, raw + more.encode(), RawEnvelope(None, (Recipient("b@example.net"),)), hand),
        ):
            row, new = await submit(Hand(key=f"{submit}"))
            assert (new, await core.store.outbox.one(row.id)) == (True, row)
            assert await submit(Hand(key=f"{submit}")) == (row, False)
            for other in (Hand(key=f"{submit}", send_at=2e9), Hand(key=f"{submit}", client=A)):
                with pytest.raises(KeyReused):
                    await submit(other)
            with pytest.raises(KeyReused):
                await submit(Hand(key=f"{submit}"), "more")
            assert [(await submit(Hand()))[1] for _ in range(2)] == [True, True]  # without a key each is its own
