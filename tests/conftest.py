"""What all tests may ask for. Unit tests ask for nothing here and start nothing."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from servers.authority import Authority
from servers.browser import Browser
from servers.certificates import Certificates
from servers.deviant import Deviant
from servers.dovecot import Dovecot
from servers.dovecot_config import DOMAIN
from servers.install import complaints
from servers.postfix import Postfix
from servers.smtp_faults import SmtpFaults

_users = itertools.count(1)


@pytest.fixture(scope="session")
def real_servers() -> None:
    """The programs of the real servers are installed; else the test is skipped, and fails where CI is set."""
    lines = complaints()
    if lines and os.environ.get("CI"):
        pytest.fail("; ".join(lines))
    if lines:
        pytest.skip("; ".join(lines))


@pytest.fixture(scope="session")
def certificates() -> Iterator[Certificates]:
    """The certification authority whose certificates all test servers show."""
    with Certificates() as made:
        yield made


@pytest.fixture(scope="session")
def authority(real_servers: None, certificates: Certificates) -> Iterator[Authority]:
    """The OAuth 2.0 authority that Dovecot asks; orders given to it hold until the end of the test."""
    with Authority(certificates=certificates) as running:
        yield running


@pytest.fixture(scope="session")
def dovecot(authority: Authority, certificates: Certificates) -> Iterator[Dovecot]:
    """A Dovecot for passwords and OAuth 2.0. A test that changes its configuration starts one of its own."""
    with Dovecot(authority.tokens, certificates=certificates, sasl=True) as running:
        yield running


@pytest.fixture(scope="session")
def root() -> None:
    """The rights that a Postfix needs; else the test is skipped, and fails where CI is set."""
    if os.geteuid() == 0:
        return
    if os.environ.get("CI"):
        pytest.fail("Postfix needs root")
    pytest.skip("Postfix needs root")


@pytest.fixture(scope="session")
def postfix(dovecot: Dovecot, certificates: Certificates, root: None) -> Iterator[Postfix]:
    """A Postfix whose users are that Dovecot's and which delivers there. A test that wants other options starts its own."""
    with Postfix(dovecot, certificates=certificates) as running:
        yield running


@pytest.fixture(scope="session")
def smtp_faults(authority: Authority, dovecot: Dovecot, certificates: Certificates) -> Iterator[SmtpFaults]:
    """An SMTP server that does wrong as it is told; orders given to it hold until the end of the test."""
    with SmtpFaults(tokens=authority.tokens, certificates=certificates, dovecot=dovecot) as running:
        yield running
        assert running.log_text() == ""


@pytest.fixture(scope="session")
def deviant() -> Iterator[Deviant]:
    """An authority with the providers' own ways; orders given to it hold until the end of the test."""
    with Deviant() as running:
        yield running


@pytest.fixture(scope="session")
def browser(real_servers: None) -> Iterator[Browser]:
    """A person's browser, for the consent pages of the authority."""
    with Browser() as running:
        yield running


@pytest.fixture
def mailbox_user() -> str:
    """A user whom no other test knows; the mailbox is empty."""
    return f"user{next(_users)}@{DOMAIN}"


@pytest.fixture(autouse=True)
def _settled_servers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Take back a test's orders to the shared servers."""
    yield
    for name in {"authority", "deviant", "smtp_faults"} & set(request.fixturenames):
        request.getfixturevalue(name).reset()
