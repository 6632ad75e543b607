from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from postroom.drivers.provider import Authority, Place, Providers
from postroom.errors import ConfigError
from postroom.secret import Secret
from postroom.settings import AuthoritySection, GrantType, MailboxType, PopClient, Security

PROVIDERS = Providers()
MICROSOFT = "https://login.microsoftonline.com"
READ = "https://outlook.office.com/IMAP.AccessAsUser.All offline_access"


def client(mailbox: str = "a@example.org", **values: Any) -> PopClient:
    return PopClient(section="pop-client-a", name="a", type=MailboxType.IMAP, mailbox=mailbox, **values)


def oauth(mailbox: str = "a@example.org", **values: Any) -> PopClient:
    return client(mailbox, mechanisms=("XOAUTH2",), **values)


def section(name: str, **values: Any) -> dict[str, AuthoritySection]:
    return {name: AuthoritySection(name=name, token_endpoint=f"https://{name}.example/{{tenant}}/token".lower(), **values)}


def scope(authority: Authority, grant: GrantType = GrantType.REFRESH_TOKEN) -> str | None:
    return authority.scope(MailboxType.IMAP, grant)


def known_as(authority: Authority) -> str:
    return authority.provider.name if authority.provider is not None else ""


# --- authorities ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("google", "google"),
        ("GOOGLE", "google"),
        ("xgooglex", "google"),
        ("https://accounts.google.com", "google"),
        (MICROSOFT, "microsoft"),
        (MICROSOFT.upper(), "microsoft"),
        (f"{MICROSOFT}/tenant/v2.0", "microsoft"),
        ("login.microsoftonline.com", "microsoft"),
        ("https://login.microsoftonline.us", "microsoft"),
        ("https://login.chinacloudapi.cn", "microsoft"),
        ("http://login.microsoftonline.com", None),
        ("https://login.microsoftonline.com.evil.example", None),
        ("https://login.microsoftonline.com:444", None),
        ("https://a@login.microsoftonline.com", None),
        ("https://[", None),
        ("microsoft", None),
        ("local", None),
    ],
)
def test_a_built_in_authority_is_chosen(written: str, name: str | None) -> None:
    assert PROVIDERS.authority_name(written, ()) == name


def test_the_exact_name_of_a_section_comes_first() -> None:
    assert PROVIDERS.authority_name("my-google-test", ["My-Google-Test"]) == "My-Google-Test"
    assert PROVIDERS.authority_name("authority-local", ["local"]) == "local"
    assert PROVIDERS.authority_name("microsoft", ["Microsoft"]) == "microsoft"


def test_google_is_known() -> None:
    authority = PROVIDERS.authority_of(oauth(tenant_authority="xGOOGLEx"), {})
    assert (authority.name, authority.title) == ("google", "Google")
    assert (known_as(authority), authority.built_in) == ("google", True)
    assert authority.token_endpoint == "https://oauth2.googleapis.com/token"
    assert authority.authorization_endpoint == "https://accounts.google.com/o/oauth2/v2/auth"
    assert (authority.device_authorization_endpoint, authority.admin_consent_endpoint) == (None, None)
    assert authority.default_grant is GrantType.REFRESH_TOKEN
    assert scope(authority) == scope(authority, GrantType.SERVICE_ACCOUNT) == "https://mail.google.com/"


@pytest.mark.parametrize(
    ("written", "directory", "endpoint"),
    [
        (MICROSOFT, None, f"{MICROSOFT}/common/oauth2/v2.0/token"),
        (MICROSOFT, "example.org", f"{MICROSOFT}/example.org/oauth2/v2.0/token"),
        (f"{MICROSOFT}/organizations/", None, f"{MICROSOFT}/organizations/oauth2/v2.0/token"),
        (f"{MICROSOFT}/organizations", "1-2", f"{MICROSOFT}/1-2/oauth2/v2.0/token"),
        (MICROSOFT, "a/../b", f"{MICROSOFT}/a%2F..%2Fb/oauth2/v2.0/token"),
        ("https://login.microsoftonline.us", "t", "https://login.microsoftonline.us/t/oauth2/v2.0/token"),
    ],
)
def test_microsoft_is_asked_in_the_directory(written: str, directory: str | None, endpoint: str) -> None:
    found = PROVIDERS.authority_of(oauth(tenant_authority=written, directory_id=directory), {})
    assert (found.token_endpoint, known_as(found)) == (endpoint, "microsoft")
    assert found.authorization_endpoint == endpoint.replace("/token", "/authorize")
    assert found.device_authorization_endpoint == endpoint.replace("/token", "/devicecode")
    assert found.admin_consent_endpoint == endpoint.replace("/oauth2/v2.0/token", "/v2.0/adminconsent")


def test_without_tenant_authority_it_is_microsoft() -> None:
    authority = PROVIDERS.authority_of(oauth(), {})
    assert scope(authority) == READ
    assert scope(authority, GrantType.CLIENT_CREDENTIALS) == "https://outlook.office365.com/.default"
    assert scope(authority, GrantType.PASSWORD) == "https://outlook.office.com/.default"
    assert scope(authority, GrantType.SERVICE_ACCOUNT) is None
    assert authority.default_grant is GrantType.PASSWORD  # as the family does


@pytest.mark.parametrize(
    ("written", "directory", "asked"),
    [(MICROSOFT, None, "organizations"), (MICROSOFT, "d", "d"), (f"{MICROSOFT}/t", None, "t")],
)
def test_a_password_is_asked_for_in_no_common_directory(written: str, directory: str | None, asked: str) -> None:
    client = oauth(tenant_authority=written, directory_id=directory)
    authority = PROVIDERS.authority_of(client, {}, GrantType.PASSWORD)
    assert authority.token_endpoint == f"{MICROSOFT}/{asked}/oauth2/v2.0/token"


@pytest.mark.parametrize(
    ("written", "resource"),
    [
        ("https://login.microsoftonline.us", "https://outlook.office365.us"),
        ("https://login.chinacloudapi.cn", "https://partner.outlook.cn"),
        ("login.partner.microsoftonline.cn", "https://partner.outlook.cn"),
    ],
)
def test_a_national_cloud_has_scopes_of_its_own(written: str, resource: str) -> None:
    authority = PROVIDERS.authority_of(oauth(tenant_authority=written), {})
    assert scope(authority) == f"{resource}/IMAP.AccessAsUser.All offline_access"
    assert scope(authority, GrantType.CLIENT_CREDENTIALS) == f"{resource}/.default"


def test_a_section_of_its_own_is_an_authority() -> None:
    sections = section("Local", tls_ca_file=Path("/ca.pem"), issuer="https://local.example")
    authority = PROVIDERS.authority_of(oauth(tenant_authority="LOCAL", directory_id="t"), sections)
    assert (authority.title, scope(authority), authority.ca_file) == ("Local", None, Path("/ca.pem"))
    assert authority.token_endpoint == "https://local.example/t/token"
    assert (authority.issuer, known_as(authority), authority.built_in) == ("https://local.example", "", False)
    assert (authority.authorization_endpoint, authority.device_authorization_endpoint) == (None, None)
    assert authority.default_grant is GrantType.REFRESH_TOKEN


@pytest.mark.parametrize(("name", "written"), [("Google", "a google"), ("microsoft", MICROSOFT)])
def test_a_section_stands_in_for_a_built_in_authority(name: str, written: str) -> None:
    authority = PROVIDERS.authority_of(oauth(tenant_authority=written), section(name))
    assert authority.token_endpoint == f"https://{name.lower()}.example/common/token"
    assert scope(authority) == scope(PROVIDERS.authority_of(oauth(tenant_authority=written), {}))
    assert (known_as(authority), authority.built_in) == (name.lower(), False)


def test_an_unknown_authority_is_an_error() -> None:
    with pytest.raises(ConfigError, match="tenant-authority"):
        PROVIDERS.authority_of(oauth(tenant_authority="https://login.example.org"), {})


# --- places -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "host"),
    [
        (client("a@gmail.com"), "imap.gmail.com"),
        (client("A@GoogleMail.com"), "imap.gmail.com"),
        (client("a@hotmail.com"), "outlook.office365.com"),
        (client("a@yahoo.com"), "imap.mail.yahoo.com"),
        (client("a@me.com"), "imap.mail.me.com"),
        (client("a@fastmail.com"), "imap.fastmail.com"),
        (client("a@aol.com"), "imap.aol.com"),
        (client("a@gmail.com", server="mail.example.org"), "mail.example.org"),
        (client("a@example.org", tenant_authority="google"), None),
        (client("gmail.com.example.org"), None),
        (oauth(), "outlook.office365.com"),
        (oauth(tenant_authority="google"), "imap.gmail.com"),
        (oauth(tenant_authority="https://login.microsoftonline.us"), "outlook.office365.us"),
        (oauth(tenant_authority="local"), None),
        (oauth("a@gmail.com", tenant_authority="local"), "imap.gmail.com"),
    ],
)
def test_a_server_is_known_by_authority_or_address(what: PopClient, host: str | None) -> None:
    assert PROVIDERS.server_of(what, ["local"]) == host


@pytest.mark.parametrize(
    ("security", "written", "port"),
    [
        (Security.SSL_TLS, None, 993),
        (Security.START_TLS, None, 143),
        (Security.NONE, None, 143),
        (Security.SSL_TLS, 10993, 10993),
    ],
)
def test_a_port_follows_from_the_security(security: Security, written: int | None, port: int) -> None:
    place = PROVIDERS.place_of(client(server="h.example", port=written, security=security, tls_ca_file=Path("/ca")), {})
    assert place == Place("h.example", port, security, Path("/ca"), 30, 60)


def test_an_unknown_place_is_an_error() -> None:
    with pytest.raises(ConfigError, match="server is not written"):
        PROVIDERS.place_of(client(), {})


def test_the_home_of_an_address_is_an_authority() -> None:
    assert PROVIDERS.authority_of_mailbox("a@gmail.com") == "google"
    assert PROVIDERS.authority_of_mailbox("a@live.com") == "microsoft"
    assert PROVIDERS.authority_of_mailbox("a@yahoo.com") is None
    assert PROVIDERS.authority_of_mailbox("a") is None


# --- passwords --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "written", "sent"),
    [
        (client("a@gmail.com"), "abcd efgh ijkl mnop", "abcdefghijklmnop"),
        (client("a@gmail.com"), "abcd\xa0efgh\xa0ijkl\xa0mnop", "abcdefghijklmnop"),
        (client("a@example.org", server="imap.gmail.com"), "abcd efgh ijkl mnop", "abcdefghijklmnop"),
        (client("a@gmail.com"), "a pass phrase", "a pass phrase"),
        (client("a@gmail.com", server="mail.example.org"), "abcd efgh ijkl mnop", "abcd efgh ijkl mnop"),
        (client("a@yahoo.com"), "abcd efgh ijkl mnop", "abcd efgh ijkl mnop"),
    ],
)
def test_blanks_between_googles_groups_do_not_count(what: PopClient, written: str, sent: str) -> None:
    values = {field: getattr(what, field) for field in ("mailbox", "server")}
    assert PROVIDERS.basic_password(client(**values, password=Secret(written))) == Secret(sent)


def test_a_missing_password_is_an_error() -> None:
    with pytest.raises(ConfigError):
        PROVIDERS.basic_password(client())


# --- from an address --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "name", "personal"),
    [
        ("smtp.google.com", "google", False),
        ("ALT1.ASPMX.L.GOOGLE.COM.", "google", False),
        ("aspmx2.googlemail.com", "google", False),
        ("example-com.mail.protection.outlook.com", "microsoft", False),
        ("example-com.j-v1.mx.microsoft", "microsoft", False),
        ("hotmail-de.olc.protection.outlook.com", "microsoft", True),
        ("mta5.am0.yahoodns.net", "yahoo", True),
        ("mx-aol.mail.gm0.yahoodns.net", "aol", True),
        ("in2-smtp.messagingengine.com", "fastmail", False),
        ("mx01.mail.icloud.com", "icloud", False),
        ("google.com", "google", False),
        ("notgoogle.com", None, False),
        ("google.com.example", None, False),
        ("microsoft", None, False),
        ("", None, False),
    ],
)
def test_mx_hosts_belong_to_providers(host: str, name: str | None, personal: bool) -> None:
    provider = PROVIDERS.provider_of_mx(host)
    assert (provider.name if provider else None) == name
    assert provider is None or provider.is_personal_mx(host) == personal


def test_a_provider_is_known_by_its_accounts_and_by_its_server() -> None:
    google = PROVIDERS.provider_of_mailbox("A@GMAIL.com")
    assert google is not None
    assert (google.name, google.imap) == ("google", "imap.gmail.com")
    assert PROVIDERS.provider_of_server("IMAP.gmail.com") is google
    assert PROVIDERS.provider_of_mailbox("a@example.org") is None
    assert PROVIDERS.provider_of_server("imap.example.org") is None
