"""What each option of an smtp-client changes of how its server is reached, and how it logs in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fakes import HandClock, kit
from postroom.drivers import Account, application_of, credentials_of, place_of, token_request
from postroom.drivers.provider import Providers
from postroom.net.credentials import PasswordCredentials, TokenCredentials
from postroom.net.grants import Application, ClientCredentials, External, OwnerPassword, RefreshToken
from postroom.secret import Secret
from postroom.settings import AuthoritySection, GrantType, ProxySettings, SecretSection, Security, ServerType, SmtpClient

PROVIDERS = Providers()
SECRET = SecretSection(name="smtp", password=Secret("sesame"))
AUTHORITY = AuthoritySection(name="local", token_endpoint="https://sso.example.org/{tenant}")


def account(secret: SecretSection | None = None, proxy: ProxySettings | None = None, **options: object) -> Account:
    """An account at Google, unless the options say otherwise."""
    values: dict[str, object] = {
        "user": "a@gmail.com",
        "mechanisms": ("XOAUTH2",),
        "client_id": "client",
        "tenant_authority": "google",
        "password": Secret("1//refresh"),
        **options,
    }
    return Account(SmtpClient(section="smtp-client-a", name="a", **values), secret, {"local": AUTHORITY}, None, proxy)  # type: ignore[arg-type]


def place(name: str) -> Callable[[Account], object]:
    return lambda account: getattr(place_of(account, PROVIDERS), name)


def asked(name: str) -> Callable[[Account], object]:
    return lambda account: getattr(token_request(account, PROVIDERS), name)


def user(account: Account) -> object:
    return credentials_of(account, kit(HandClock())).user


OWNED = {"tenant_authority": "local", "grant_type": GrantType.PASSWORD}
GRANTED = {"tenant_authority": "local", "grant_type": GrantType.CLIENT_CREDENTIALS}


@pytest.mark.parametrize(("options", "look", "found"), [
    ({}, place("host"), "smtp.gmail.com"),
    ({"tenant_authority": "https://login.microsoftonline.com"}, place("host"), "smtp.office365.com"),
    ({"server": "mail.example.org"}, place("host"), "mail.example.org"),
    ({"server_type": ServerType.SMTP}, place("port"), 587),
    ({"security": Security.SSL_TLS}, place("port"), 465),
    ({"security": Security.NONE}, place("port"), 25),
    ({"port": 2525}, place("port"), 2525),
    ({"security": Security.SSL_TLS}, place("security"), Security.SSL_TLS),
    ({"tls_ca_file": Path("/ca.pem")}, place("ca_file"), Path("/ca.pem")),
    ({"connect_timeout": 7.0}, place("connect_timeout"), 7.0),
    ({"protocol_timeout": 7.0}, place("protocol_timeout"), 7.0),
    ({"ehlo_name": "mail.example.org"}, place("presents"), "mail.example.org"),
    ({"user": "b@example.org"}, user, "b@example.org"),
    ({}, asked("way"), RefreshToken(Secret("1//refresh"))),
    ({"password": Secret("other")}, asked("way"), RefreshToken(Secret("other"))),
    (OWNED, asked("way"), OwnerPassword("a@gmail.com", Secret("1//refresh"))),
    (GRANTED, asked("way"), ClientCredentials()),
    (GRANTED, asked("application"), Application("client", Secret("1//refresh"))),
    ({"client_id": "other"}, asked("application"), Application("other", None)),
    ({"tenant_authority": "local"}, asked("token_endpoint"), "https://sso.example.org/common"),
    ({"tenant_authority": "local", "directory_id": "mine"}, asked("token_endpoint"), "https://sso.example.org/mine"),
    ({}, asked("scope"), "https://mail.google.com/"),
    ({"scope": "mail"}, asked("scope"), "mail"),
    ({"token_expiry_margin_time": 7.0}, asked("margin"), 7.0),
    ({"grant_type": GrantType.EXTERNAL, "token_command": ("token",)}, asked("token_endpoint"), "token-command token"),
    ({"grant_type": GrantType.EXTERNAL, "token_url": "https://t.example/"}, asked("token_endpoint"), "https://t.example/"),
])  # fmt: skip
def test_an_option_changes_what_is_reached_and_asked(
    options: dict[str, object], look: Callable[[Account], object], found: object
) -> None:
    assert look(account(**options)) == found


def test_the_secret_proves_the_application() -> None:
    assert application_of(account(SECRET), GrantType.REFRESH_TOKEN) == Application("client", Secret("sesame"), None, None)


def test_an_external_token_is_asked_for_in_the_accounts_name() -> None:
    way = token_request(account(grant_type=GrantType.EXTERNAL, token_command=("token",)), PROVIDERS).way
    assert way == External(("token",), None, {"POSTROOM_MAILBOX": "a@gmail.com", "POSTROOM_OAUTH_USER": "a@gmail.com"})


def test_the_mechanisms_choose_between_token_and_password() -> None:
    hands = kit(HandClock())
    assert isinstance(credentials_of(account(), hands), TokenCredentials)
    assert isinstance(credentials_of(account(mechanisms=("PLAIN",)), hands), PasswordCredentials)


def test_a_proxy_leads_to_the_server_and_to_the_authority() -> None:
    proxy = ProxySettings(use_proxy=True, host="proxy.example.org")
    assert place_of(account(proxy=proxy), PROVIDERS).via == token_request(account(proxy=proxy), PROVIDERS).via == proxy
