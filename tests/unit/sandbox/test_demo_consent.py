"""The demo's consents: what it takes for evidence, and what it says when there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from postroom.sandbox import Sandbox
from postroom.sandbox.certificates import write_private
from postroom.sandbox.demo_consent import Person, consent, hidden_fields, in_clear
from postroom.sandbox.demo_record import Broken, Record, Witness
from postroom.sandbox.demo_service import ask

if TYPE_CHECKING:
    from conftest import Application

SALES = "sales@example.test"


@pytest.fixture
def record() -> Record:
    return Record()


@pytest.fixture
async def sandbox(tmp_path: Path, record: Record) -> AsyncIterator[Sandbox]:
    sandbox = Sandbox(tmp_path / "sandbox")
    sandbox.authority.store = Witness(sandbox.authority.store, record)
    async with sandbox:
        yield sandbox


def written(sandbox: Sandbox, text: str = "") -> Path:
    file = sandbox.directory / "postroom.ini"
    write_private(file, (text or sandbox.configuration(sandbox.directory / "data", consented=False)).encode())
    return file


async def redeemed(application: Application, verifier: str, **fields: str) -> str:
    """The refresh token that comes of a consent."""
    _, location, _ = await application.answer({**application.authorization(**fields), "account": SALES, "decision": "allow"})
    status, tokens = await application.redeem(parse_qs(urlsplit(location).query)["code"][0], code_verifier=verifier)
    assert status == 200, tokens
    return str(tokens["refresh_token"])


async def test_the_real_command_is_answered_and_seen(sandbox: Sandbox, record: Record) -> None:
    file = written(sandbox)
    await consent(file, "sales", SALES, sandbox.authority_url, record)
    checks = await ask(file, "check", "sales", "--json")
    assert [(found["client"], found["ok"]) for found in checks] == [("pop-client-sales", True), ("smtp-client-sales", True)]
    assert list(record.consents) == [SALES]
    assert (record.consents[SALES].challenge, record.consents[SALES].lifetime) == ("S256", 3600)
    assert in_clear(sandbox.directory, record) == []
    assert sandbox.authority.store.refresh(record.consents[SALES].refresh_token.reveal()) is not None


async def test_only_an_exchanged_code_is_a_consent(sandbox: Sandbox, record: Record, application: Application) -> None:
    issued = sandbox.authority.issue(SALES)
    assert (await application.refresh(issued.refresh_token))[0] == 200
    assert (await application.redeem("strange"))[0] == 400
    _, location, _ = await application.answer({**application.authorization(), "account": SALES, "decision": "allow"})
    code = parse_qs(urlsplit(location).query)["code"][0]
    assert (await application.redeem(code, code_verifier="x" * 43))[0] == 400
    assert record.consents == {}
    refresh_token = await redeemed(application, application.verifier)
    assert record.consents[SALES].refresh_token.reveal() == refresh_token
    assert (await application.refresh(refresh_token))[0] == 200
    assert record.consents[SALES].refresh_token.reveal() == refresh_token


async def test_a_code_without_pkce_is_told_apart(sandbox: Sandbox, record: Record, application: Application) -> None:
    await redeemed(application, "", code_challenge="", code_challenge_method="")
    assert record.consents[SALES].challenge == ""


async def test_a_token_in_a_file_is_found(sandbox: Sandbox, record: Record, application: Application, tmp_path: Path) -> None:
    refresh_token = await redeemed(application, application.verifier)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "note").write_text(f"token = {refresh_token}\n")
    assert in_clear(tmp_path, record) == [tmp_path / "below" / "note"]


async def test_a_person_heeds_the_address_alone(sandbox: Sandbox) -> None:
    person = Person(SALES, sandbox.authority_url)
    for line in ("", "Open this address in a browser:", "  http://127.0.0.1:9/authorize?x=1", sandbox.authority_url):
        await person.hears(line)


async def test_a_page_that_refuses_is_told_of(sandbox: Sandbox) -> None:
    address = f"{sandbox.authority_url}/authorize?{urlencode({'client_id': 'strange', 'response_type': 'code'})}"
    with pytest.raises(Broken, match=f"{SALES} could not consent: 400") as caught:
        await Person(SALES, sandbox.authority_url).hears(f"  {address}")
    assert address in caught.value.remedy


async def test_a_person_who_fails_ends_the_command(sandbox: Sandbox, record: Record) -> None:
    text = sandbox.configuration(sandbox.directory / "data", consented=False).replace("= sandbox-client", "= strange")
    with pytest.raises(Broken, match="could not consent"):
        await consent(written(sandbox, text), "pop-client-sales", SALES, sandbox.authority_url, record)
    assert record.consents == {}


async def test_a_command_that_fails_says_why_and_what_to_do(sandbox: Sandbox, record: Record) -> None:
    text = sandbox.configuration(sandbox.directory / "data", consented=False)
    wrong = text.replace(f"password = {sandbox.client_secret}", "password = wrong")
    with pytest.raises(Broken, match=r"postroom authorize pop-client-sales .* ended with status 1: .*invalid_client") as caught:
        await consent(written(sandbox, wrong), "pop-client-sales", SALES, sandbox.authority_url, record)
    assert caught.value.remedy
    with pytest.raises(Broken, match="ended with status 2") as caught:
        await ask(written(sandbox, text), "authorize", "nobody")
    assert "nobody" in caught.value.remedy


def test_hidden_fields_are_read_as_a_browser_reads_them() -> None:
    page = (
        f'<form><input type="hidden" name="state" value="{escape("a & <b>")}"><input type="radio" name="account" value="x"></form>'
    )
    assert hidden_fields(page) == {"state": "a & <b>"}
