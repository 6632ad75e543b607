"""What is known of the providers' ways to send."""

from __future__ import annotations

from typing import Any

import pytest

from postroom.drivers import Account, token_request, wanted
from postroom.drivers.provider import Providers
from postroom.secret import Secret
from postroom.settings import GrantType, Security, ServerType, SmtpClient

PROVIDERS = Providers()
DOMAINS = {
    "google": "gmail.com",
    "microsoft": "outlook.com",
    "yahoo": "yahoo.com",
    "aol": "aol.com",
    "icloud": "icloud.com",
    "fastmail": "fastmail.com",
}


def client(user: str = "a@example.org", **values: Any) -> SmtpClient:
    return SmtpClient(section="smtp-client-a", name="a", user=user, **values)


def oauth(authority: str, **values: Any) -> SmtpClient:
    return client(mechanisms=("XOAUTH2",), tenant_authority=authority, client_id="x", password=Secret("p"), **values)


@pytest.mark.parametrize(
    ("provider", "host"),
    [
        ("google", "smtp.gmail.com"),
        ("microsoft", "smtp.office365.com"),
        ("yahoo", "smtp.mail.yahoo.com"),
        ("aol", "smtp.aol.com"),
        ("icloud", "smtp.mail.me.com"),
        ("fastmail", "smtp.fastmail.com"),
    ],
)
def test_where_a_provider_takes_mail(provider: str, host: str) -> None:
    place = PROVIDERS.place_of(client(f"a@{DOMAINS[provider]}"), {})
    assert (place.host, place.port, place.security, place.provider) == (host, 587, Security.START_TLS, provider)


@pytest.mark.parametrize(("security", "port"), [(Security.SSL_TLS, 465), (Security.START_TLS, 587), (Security.NONE, 25)])
def test_a_port_follows_from_the_security(security: Security, port: int) -> None:
    assert PROVIDERS.place_of(client(server="h.example", security=security), {}).port == port


@pytest.mark.parametrize(
    ("tenant", "host", "scope"),
    [
        ("google", "smtp.gmail.com", "https://mail.google.com/"),
        ("https://login.microsoftonline.com", "smtp.office365.com", "https://outlook.office.com/SMTP.Send offline_access"),
        ("https://login.microsoftonline.us", "smtp.office365.us", "https://outlook.office365.us/SMTP.Send offline_access"),
        ("https://login.chinacloudapi.cn", "smtp.partner.outlook.cn", "https://partner.outlook.cn/SMTP.Send offline_access"),
    ],
)
def test_each_cloud_has_its_host_and_its_scope(tenant: str, host: str, scope: str) -> None:
    account = Account(oauth(tenant, grant_type=GrantType.REFRESH_TOKEN), None, {})
    assert PROVIDERS.place_of(account.client, {}).host == host
    assert token_request(account, PROVIDERS).scope == scope


@pytest.mark.parametrize(
    ("grant", "scope"),
    [
        (GrantType.CLIENT_CREDENTIALS, "https://outlook.office365.com/.default"),
        (GrantType.PASSWORD, "https://outlook.office.com/.default"),
    ],
)
def test_microsofts_scope_goes_by_the_grant(grant: GrantType, scope: str) -> None:
    account = Account(oauth("https://login.microsoftonline.com", grant_type=grant), None, {})
    assert token_request(account, PROVIDERS).scope == scope


def test_what_a_token_must_allow_to_send() -> None:
    authority = PROVIDERS.authority_of(oauth("https://login.microsoftonline.com"), {})
    told = wanted(oauth("https://login.microsoftonline.com"), authority)
    assert (told.delegated, told.application) == ("SMTP.Send", "SMTP.SendAsApp")


def test_limits_and_copies() -> None:
    microsoft = PROVIDERS.limits_of(client("a@outlook.com"), {})
    assert (microsoft.connections, microsoft.messages_a_minute) == (3, 30)
    assert PROVIDERS.place_of(client("a@gmail.com"), {}).limits.recipients == 100
    assert PROVIDERS.limits_of(client(), {}).recipients is None
    files = {name: PROVIDERS.provider_of_mailbox(f"a@{domain}") for name, domain in DOMAINS.items()}
    assert [name for name, known in files.items() if known is not None and ServerType.SMTP.value in known.files_sent] == [
        "google",
        "microsoft",
    ]


def test_a_server_for_sending_tells_its_provider() -> None:
    known = PROVIDERS.provider_of(client(server="smtp.office365.com"), {})
    assert known is not None
    assert known.name == "microsoft"
