"""From a mailbox's settings to how it is opened: which grant, where, in which words, proved by what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import HandClock, kit
from postroom.drivers import Mailbox, application_of, credentials_of, token_request, wanted
from postroom.drivers.provider import Providers
from postroom.errors import ConfigError
from postroom.net.credentials import PasswordCredentials, TokenCredentials
from postroom.net.grants import Application, ClientCredentials, External, OwnerPassword, RefreshToken, ServiceAccount
from postroom.net.tokens import Consented, TokenRequest
from postroom.secret import Secret
from postroom.settings import AuthoritySection, GrantType, MailboxType, PopClient, ProxySettings, SecretSection, ServiceAccountKey

PROVIDERS = Providers()
MICROSOFT = "https://login.microsoftonline.com"
READ = "https://outlook.office.com/IMAP.AccessAsUser.All offline_access"
PASSWORD = Secret("pw")
KEY = ServiceAccountKey("robot@project.example", Secret("pem"), "key-1", "https://robots.example/token")


def mailbox(secret: SecretSection | None = None, authorities: dict[str, AuthoritySection] | None = None, **options: Any) -> Mailbox:
    """A mailbox at Microsoft, unless the options say otherwise."""
    values = {
        "type": MailboxType.IMAP,
        "mailbox": "a@example.org",
        "client_id": "client",
        "mechanisms": ("XOAUTH2",),
        "password": PASSWORD,
        **options,
    }
    client = PopClient(section="pop-client-a", name="a", **values)
    return Mailbox(client, secret, authorities or {})


def asked(
    secret: SecretSection | None = None, authorities: dict[str, AuthoritySection] | None = None, **options: Any
) -> TokenRequest:
    return token_request(mailbox(secret, authorities, **options), PROVIDERS)


SECRET = SecretSection(name="app", password=Secret("sesame"))
COMMON = f"{MICROSOFT}/common/oauth2/v2.0/token"
CONSENTED = Consented("pop-client-a", "a@example.org", PASSWORD, COMMON, READ)


# --- which grant ------------------------------------------------------------------------------------------------------


def test_at_microsoft_the_familys_default_is_the_password() -> None:
    request = asked()
    assert request.way == OwnerPassword("a@example.org", PASSWORD)
    assert request.token_endpoint == f"{MICROSOFT}/organizations/oauth2/v2.0/token"
    assert request.scope == "https://outlook.office.com/.default"
    assert request.consented == CONSENTED  # which comes before it
    assert (request.authority, request.client, request.margin) == ("microsoft", "pop-client-a", 300)


def test_without_grant_and_password_only_a_consent_opens_it() -> None:
    request = asked(password=None)
    assert request.way == RefreshToken(None)
    assert (request.token_endpoint, request.scope) == (COMMON, READ)
    assert request.consented is not None
    assert request.consented.configured is None


def test_a_refresh_token_is_what_is_configured() -> None:
    request = asked(SECRET, grant_type=GrantType.REFRESH_TOKEN)
    assert request.way == RefreshToken(PASSWORD)
    assert (request.token_endpoint, request.scope) == (COMMON, READ)
    assert request.consented == CONSENTED
    assert request.application == Application("client", Secret("sesame"))


def test_at_google_a_refresh_token_is_the_default() -> None:
    request = asked(SECRET, tenant_authority="google")
    assert request.way == RefreshToken(PASSWORD)
    assert request.token_endpoint == "https://oauth2.googleapis.com/token"
    assert request.scope == "https://mail.google.com/"
    assert request.authority == "google"
    assert request.consented is not None
    assert request.consented.token_endpoint == request.token_endpoint


@pytest.mark.parametrize("grant", [GrantType.PASSWORD, GrantType.CLIENT_CREDENTIALS, GrantType.SERVICE_ACCOUNT, GrantType.EXTERNAL])
def test_a_grant_that_is_written_is_not_overruled_by_a_consent(grant: GrantType) -> None:
    secret = SecretSection(name="app", password=Secret("s"), service_account=KEY)
    assert asked(secret, grant_type=grant, token_command=("x",)).consented is None


def test_an_application_asks_in_its_directory() -> None:
    request = asked(SECRET, grant_type=GrantType.CLIENT_CREDENTIALS, directory_id="example.org", password=None)
    assert request.way == ClientCredentials()
    assert request.token_endpoint == f"{MICROSOFT}/example.org/oauth2/v2.0/token"
    assert request.scope == "https://outlook.office365.com/.default"
    assert request.application == Application("client", Secret("sesame"))


def test_the_password_grant_asks_for_the_account_that_signs_in() -> None:
    request = asked(grant_type=GrantType.PASSWORD, oauth_user="b@example.org")
    assert request.way == OwnerPassword("b@example.org", PASSWORD)


def test_a_service_account_acts_for_the_mailbox_at_its_keys_address() -> None:
    secret = SecretSection(name="robot", service_account=KEY)
    request = asked(secret, tenant_authority="google", grant_type=GrantType.SERVICE_ACCOUNT, client_id=None, password=None)
    assert request.way == ServiceAccount(KEY, "a@example.org")
    assert (request.token_endpoint, request.scope) == ("https://robots.example/token", "https://mail.google.com/")
    assert request.application == Application("robot@project.example")


def test_a_section_that_stands_in_for_google_is_asked_by_service_accounts_too() -> None:
    secret = SecretSection(name="robot", service_account=KEY)
    sections = {"google": AuthoritySection(name="google", token_endpoint="https://local.example/token", tls_ca_file=Path("/ca"))}
    request = asked(secret, sections, tenant_authority="google", grant_type=GrantType.SERVICE_ACCOUNT)
    assert (request.token_endpoint, request.ca_file) == ("https://local.example/token", Path("/ca"))


def test_an_external_token_is_asked_for_with_the_mailbox_in_its_surroundings() -> None:
    environment = {"POSTROOM_MAILBOX": "a@example.org", "POSTROOM_OAUTH_USER": "b@example.org"}
    request = asked(grant_type=GrantType.EXTERNAL, token_command=("get", "it"), client_id=None, oauth_user="b@example.org")
    assert request.way == External(("get", "it"), None, environment)
    assert request.token_endpoint == "token-command get"
    request = asked(grant_type=GrantType.EXTERNAL, token_url="https://t.example", client_id=None)
    assert request.way == External(None, "https://t.example", {**environment, "POSTROOM_OAUTH_USER": "a@example.org"})
    assert request.token_endpoint == "https://t.example"


# --- where and for what -----------------------------------------------------------------------------------------------


def test_a_clients_own_scope_wins_everywhere() -> None:
    request = asked(scope="a b")
    assert request.scope == "a b"
    assert request.consented is not None
    assert request.consented.scope == "a b"


def test_an_authority_of_the_configuration_is_told_by_its_issuer() -> None:
    section = AuthoritySection(name="local", token_endpoint="https://local.example/token", issuer="https://local.example")
    request = asked(None, {"local": section}, tenant_authority="local")
    assert (request.title, request.authority, request.scope) == ("https://local.example", "", None)
    assert request.way == RefreshToken(PASSWORD)


def test_a_shared_mailbox_is_opened_by_the_account_that_consents() -> None:
    request = asked(grant_type=GrantType.REFRESH_TOKEN, oauth_user="b@example.org")
    assert request.consented is not None
    assert request.consented.login == "b@example.org"


def test_over_pop3_another_right_is_asked_for() -> None:
    request = asked(type=MailboxType.POP3, grant_type=GrantType.REFRESH_TOKEN)
    assert request.scope == "https://outlook.office.com/POP.AccessAsUser.All offline_access"
    assert request.consented is not None
    assert request.consented.scope == request.scope


def test_recent_is_a_mode_and_no_account() -> None:
    box = mailbox(
        type=MailboxType.POP3, mailbox="Recent:a@gmail.com", tenant_authority="google", grant_type=GrantType.REFRESH_TOKEN
    )
    assert (box.client.account, box.client.token_user, box.client.serves) == ("a@gmail.com", "a@gmail.com", "a@gmail.com")
    assert credentials_of(box, kit(HandClock())).user == "Recent:a@gmail.com"
    assert PROVIDERS.place_of(box.client, {}).manners.hides_retrieved is False
    normal = mailbox(type=MailboxType.POP3, mailbox="a@gmail.com", tenant_authority="google")
    assert PROVIDERS.place_of(normal.client, {}).manners.hides_retrieved is True
    imap = mailbox(mailbox="recent:a@gmail.com", tenant_authority="google")
    assert imap.client.account == "recent:a@gmail.com"


# --- what proves the application --------------------------------------------------------------------------------------


def test_the_applications_secret_may_stand_as_password() -> None:
    request = asked(grant_type=GrantType.CLIENT_CREDENTIALS, directory_id="d")
    assert request.application == Application("client", PASSWORD)
    assert asked(SECRET, grant_type=GrantType.CLIENT_CREDENTIALS).application == Application("client", Secret("sesame"))


@pytest.mark.parametrize("grant", [GrantType.REFRESH_TOKEN, GrantType.PASSWORD, None])
def test_the_mailboxs_own_secret_never_proves_the_application(grant: GrantType | None) -> None:
    assert asked(grant_type=grant).application == Application("client")


def test_a_certificate_proves_it() -> None:
    secret = SecretSection(name="app", certificate="cert", private_key=Secret("key"))
    assert application_of(mailbox(secret), GrantType.REFRESH_TOKEN) == Application("client", None, "cert", Secret("key"))


# --- what is missing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "options", "option"),
    [
        (None, {"client_id": None}, "client-id"),
        (None, {"grant_type": GrantType.PASSWORD, "password": None}, "password"),
        (None, {"grant_type": GrantType.SERVICE_ACCOUNT}, "secret"),
        (SECRET, {"grant_type": GrantType.SERVICE_ACCOUNT}, "secret"),
        (None, {"tenant_authority": "nowhere"}, "tenant-authority"),
    ],
)
def test_what_is_missing_is_a_fault_of_the_configuration(
    secret: SecretSection | None, options: dict[str, Any], option: str
) -> None:
    with pytest.raises(ConfigError, match=r"\[pop-client-a\]") as caught:
        asked(secret, **options)
    assert caught.value.option == option


# --- credentials ------------------------------------------------------------------------------------------------------


def test_a_mechanism_of_oauth_makes_the_difference() -> None:
    hands = kit(HandClock())
    assert isinstance(credentials_of(mailbox(), hands), TokenCredentials)
    basic = credentials_of(mailbox(mechanisms=(), server="mail.example.org"), hands)
    assert isinstance(basic, PasswordCredentials)
    assert basic.user == "a@example.org"


def test_the_login_is_the_mailboxs_whoever_consented() -> None:
    assert credentials_of(mailbox(oauth_user="b@example.org"), kit(HandClock())).user == "a@example.org"


@pytest.mark.parametrize(
    ("options", "delegated", "application", "readable"),
    [
        ({}, "IMAP.AccessAsUser.All", "IMAP.AccessAsApp", True),
        ({"tenant_authority": "google"}, "", "", False),
        ({"tenant_authority": "local"}, "", "", False),
    ],
)
def test_what_a_token_must_say(options: dict[str, Any], delegated: str, application: str, readable: bool) -> None:
    sections = {"local": AuthoritySection(name="local", token_endpoint="https://local.example/token")}
    box = mailbox(None, sections, oauth_user="b@example.org", **options)
    found = wanted(box.client, PROVIDERS.authority_of(box.client, sections))
    assert (found.account, found.delegated, found.application) == ("b@example.org", delegated, application)
    assert ("https://outlook.office.com" in found.audiences) is readable


def test_tokens_are_asked_for_through_the_mailboxs_proxy() -> None:
    via = ProxySettings(use_proxy=True, host="proxy.example")
    request = token_request(replace(mailbox(), proxy=via), PROVIDERS)
    assert request.via is via
    assert asked().via is None
