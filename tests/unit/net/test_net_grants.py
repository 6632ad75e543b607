"""Ways to a token: which chain each is, what each asks for, and programs that print one."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fakes import START
from postroom.errors import ConfigError, Fate, TokenUnavailable
from postroom.net.grants import (
    Application,
    ClientCredentials,
    External,
    OwnerPassword,
    RefreshToken,
    ServiceAccount,
    Way,
    form_of,
    recognised_by,
)
from postroom.secret import Secret
from postroom.settings import ServiceAccountKey
from postroom.wire import oauth
from postroom.wire.jwt import claims_of

PEM = Secret(
    rsa.generate_private_key(65537, 2048)
    .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    .decode()
)
ACCOUNT = ServiceAccountKey("robot@project.example", PEM, "key-1", "https://oauth2.googleapis.com/token")
APPLICATION = Application("client", Secret("sesame"))
PROOF = {"client_id": "client", "client_secret": "sesame"}
ENDPOINT = "https://authority.example/token"


def form(way: Way, application: Application = APPLICATION, scope: str | None = "s") -> oauth.Form:
    return form_of(way, Secret("current"), application, ENDPOINT, scope, START)


# --- chains -----------------------------------------------------------------------------------------------------------

DIFFERENT: list[Way] = [
    RefreshToken(Secret("a")),
    RefreshToken(Secret("b")),
    ClientCredentials(),
    OwnerPassword("a", Secret("p")),
    OwnerPassword("a", Secret("q")),
    OwnerPassword("b", Secret("p")),
    ServiceAccount(ACCOUNT, "a"),
    ServiceAccount(ACCOUNT, "b"),
    ServiceAccount(replace(ACCOUNT, private_key_id="key-2"), "a"),
    ServiceAccount(replace(ACCOUNT, client_email="other@project.example"), "a"),
    External(("a",), None),
    External(("a", "b"), None),
    External(("a",), None, {"POSTROOM_MAILBOX": "box"}),
    External(None, "https://a"),
    External(None, "https://b"),
]


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(range(len(DIFFERENT)), 2)))
def test_ways_that_give_different_tokens_are_different_chains(one: int, other: int) -> None:
    assert recognised_by(DIFFERENT[one]) != recognised_by(DIFFERENT[other])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (RefreshToken(Secret("a")), RefreshToken(Secret("a"))),
        (ClientCredentials(), ClientCredentials()),
        (OwnerPassword("A@Example.org", Secret("p")), OwnerPassword("a@example.ORG", Secret("p"))),
        (ServiceAccount(ACCOUNT, "a"), ServiceAccount(replace(ACCOUNT, private_key=Secret("same key, other text")), "a")),
    ],
)
def test_ways_that_give_the_same_token_are_one_chain(one: Way, other: Way) -> None:
    assert recognised_by(one) == recognised_by(other)


def test_a_chain_of_refresh_tokens_is_found_by_the_token_alone() -> None:
    """As before there were other ways: a vault that was made then goes on."""
    assert recognised_by(RefreshToken(Secret("a"))) == ("", ("a",))


@pytest.mark.parametrize("way", DIFFERENT, ids=lambda way: type(way).__name__)
def test_a_way_prints_no_secret(way: Way) -> None:
    assert "PRIVATE KEY" not in repr(way)
    assert "Secret" not in repr(way)


# --- forms ------------------------------------------------------------------------------------------------------------


def test_a_refresh_token_asks_with_the_present_one() -> None:
    asked = {"grant_type": "refresh_token", "refresh_token": "current", "scope": "s", **PROOF}
    assert form(RefreshToken(Secret("configured"))) == form(RefreshToken(None)) == asked


def test_an_application_asks_in_its_own_right() -> None:
    assert form(ClientCredentials()) == {"grant_type": "client_credentials", "scope": "s", **PROOF}
    assert form(ClientCredentials(), scope=None) == {"grant_type": "client_credentials", **PROOF}


def test_an_owner_asks_with_name_and_password() -> None:
    asked = {"grant_type": "password", "username": "a@b", "password": "p w", "scope": "s", "client_id": "client"}
    assert form(OwnerPassword("a@b", Secret("p w")), Application("client")) == asked


def test_a_service_account_asks_with_its_assertion_alone() -> None:
    asked = form(ServiceAccount(ACCOUNT, "a@example.org"), Application("robot@project.example"))
    claims = claims_of(Secret(asked.pop("assertion")))
    assert asked == {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}
    assert claims is not None
    assert (claims["iss"], claims["sub"], claims["aud"], claims["scope"]) == (
        "robot@project.example",
        "a@example.org",
        ENDPOINT,
        "s",
    )


def test_a_service_account_with_a_torn_key_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match="service-account"):
        form(ServiceAccount(replace(ACCOUNT, private_key=Secret("torn")), "a"))


def test_an_external_token_is_not_asked_for_here() -> None:
    with pytest.raises(AssertionError):
        form(External(("a",), None))


# --- applications -----------------------------------------------------------------------------------------------------


def test_an_application_proves_itself_by_what_it_has() -> None:
    assert Application("client").proof(ENDPOINT, START) == {"client_id": "client"}
    assert APPLICATION.proof(ENDPOINT, START) == PROOF
    with pytest.raises(ConfigError, match="certificate"):
        Application("client", Secret("sesame"), "torn", PEM).proof(ENDPOINT, START)  # the certificate comes before the secret


def test_half_a_pair_proves_nothing() -> None:
    assert Application("client", Secret("sesame"), "certificate", None).proof(ENDPOINT, START) == PROOF
    assert Application("client", None, None, PEM).proof(ENDPOINT, START) == {"client_id": "client"}


def test_another_proof_is_told_by_its_texts() -> None:
    texts = {
        Application("client").texts,
        APPLICATION.texts,
        Application("client", None, "certificate", PEM).texts,
        Application("client", Secret("sesame"), "certificate", PEM).texts,
    }
    assert len(texts) == 4
    assert "PRIVATE KEY" not in str(texts)


# --- programs ---------------------------------------------------------------------------------------------------------


def program(text: str, **environment: str) -> External:
    return External((sys.executable, "-S", "-E", "-c", text), None, environment)


async def failed(way: External, timeout: float = 30) -> TokenUnavailable:
    with pytest.raises(TokenUnavailable) as caught:
        await way.run(timeout)
    assert caught.value.fate is Fate.RETRY
    assert "Run the command by hand" in caught.value.remedy
    return caught.value


async def test_what_a_program_prints_comes_back() -> None:
    printed = await program('print(\'{"access_token": "abc", "expires_in": 60}\')').run(30)
    assert json.loads(printed) == {"access_token": "abc", "expires_in": 60}
    assert await program("print('abc')").run(30) == b"abc\n"


async def test_a_program_is_told_for_whom_and_keeps_its_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_OUTSIDE", "outside")
    names = ("POSTROOM_MAILBOX", "POSTROOM_OAUTH_USER", "FROM_OUTSIDE")
    way = program(f"import os; print(*(os.environ[name] for name in {names}))", POSTROOM_MAILBOX="box", POSTROOM_OAUTH_USER="user")
    assert (await way.run(30)).split() == [b"box", b"user", b"outside"]


async def test_no_shell_reads_its_arguments() -> None:
    way = External((sys.executable, "-S", "-E", "-c", "import sys; print(sys.argv[1])", "$(echo x) ; `y`"), None)
    assert await way.run(30) == b"$(echo x) ; `y`\n"


async def test_a_program_has_nothing_to_read() -> None:
    assert await program("import sys; print(repr(sys.stdin.read()))").run(30) == b"''\n"


async def test_a_program_that_fails_is_told_with_the_first_line_of_its_errors() -> None:
    text = "import sys; print('TOKEN'); print('no session\\nsecond', file=sys.stderr); sys.exit(3)"
    error = await failed(program(text))
    assert error.detail == f"token-command {sys.executable} ended with status 3: no session"


async def test_a_program_that_was_killed_is_told() -> None:
    error = await failed(program("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))
    assert error.detail == f"token-command {sys.executable} ended with status -9"


@pytest.mark.parametrize("text", ["", "print()", "print('x' * 70_000)"])
async def test_a_program_that_prints_no_token_is_told(text: str) -> None:
    error = await failed(program(text))
    assert error.detail == f"token-command {sys.executable} printed no token"


async def test_a_program_without_end_of_errors_is_cut() -> None:
    error = await failed(program("import sys; sys.exit('x' * 100_000)"))
    assert len(error.detail) < 400


@pytest.mark.parametrize(
    ("path", "words"), [("/nowhere/at-all", "No such file or directory"), ("/etc/passwd", "Permission denied")]
)
async def test_a_program_that_cannot_be_started_is_told(path: str, words: str) -> None:
    assert (await failed(External((path,), None))).detail == f"token-command {path}: {words}"


async def test_a_program_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only time that passes tells that it hangs; a twentieth of a second is enough."""
    started: list[asyncio.subprocess.Process] = []
    real = asyncio.create_subprocess_exec

    async def start(*command: str, **how: Any) -> asyncio.subprocess.Process:
        started.append(await real(*command, **how))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    error = await failed(program("import signal; signal.pause()"), timeout=0.05)
    assert error.detail == f"token-command {sys.executable} printed nothing within 0.05 s"
    (process,) = started
    assert await asyncio.wait_for(process.wait(), 10) == -signal.SIGKILL
