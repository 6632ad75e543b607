"""The rules for clients with OAuth: each with what it lets pass and what it does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from postroom.drivers.provider import Providers
from postroom.settings import Configuration, Fault, GrantType, Severity, parse_configuration

PROVIDERS = Providers()
FILES = {
    "cert.pem": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "key.pem": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    "robot.json": json.dumps(
        {"type": "service_account", "client_email": "r@p", "private_key": "pem", "token_uri": "https://oauth2.googleapis.com/token"}
    ).encode(),
}
MICROSOFT = {"mailbox": "m@example.org", "client-id": "1-1", "grant-type": "refresh_token"}
GOOGLE = {"mailbox": "g@example.org", "tenant-authority": "google", "client-id": "1.apps", "secret": "app"}
APPLICATION = {**MICROSOFT, "grant-type": "client_credentials", "directory-id": "example.org", "secret": "app"}
EXTERNAL = {"mailbox": "m@example.org", "grant-type": "external", "token-command": "get-token"}
ROBOT = {"mailbox": "g@example.org", "tenant-authority": "google", "grant-type": "service_account", "secret": "robot"}
SECRETS = """
[secret-app]
password = client secret
[secret-pair]
certificate = cert.pem
private-key = key.pem
[secret-half]
certificate = cert.pem
[secret-key]
private-key = key.pem
[secret-robot]
service-account = robot.json
[secret-empty]
password =
[authority-local]
token_endpoint = https://sso.example.org/token
"""


def read(path: Path) -> bytes:
    if path.name not in FILES:
        raise FileNotFoundError(2, "No such file or directory")
    return FILES[path.name]


def parse(options: Mapping[str, str | None], **changes: str | None) -> Configuration:
    """One client; an option that is None is left out."""
    written = {"type": "IMAP", "mail.imap.auth.mechanisms": "XOAUTH2", **options}
    written |= {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name} = {value}" for name, value in written.items() if value is not None]
    return parse_configuration("\n".join(["[pop-client-a]", *lines, SECRETS]), Path("/srv/p.ini"), {}, PROVIDERS, read)


def told(options: Mapping[str, str | None], **changes: str | None) -> list[tuple[str, Severity]]:
    return [(fault.option, fault.severity) for fault in parse(options, **changes).faults]


def only(options: Mapping[str, str | None], **changes: str | None) -> Fault:
    (fault,) = parse(options, **changes).faults
    assert fault.section == "pop-client-a"
    assert fault.valid or fault.remedy
    return fault


def sound(options: Mapping[str, str | None], **changes: str | None) -> None:
    configuration = parse(options, **changes)
    assert configuration.faults == ()
    assert list(configuration.clients) == ["pop-client-a"]


def kept_down(options: Mapping[str, str | None], option: str, **changes: str | None) -> Fault:
    fault = only(options, **changes)
    assert (fault.option, fault.severity) == (option, Severity.FAULT)
    return fault


def warned(options: Mapping[str, str | None], option: str, **changes: str | None) -> Fault:
    fault = only(options, **changes)
    assert (fault.option, fault.severity) == (option, Severity.WARNING)
    return fault


# --- what is sound ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        MICROSOFT,
        {**MICROSOFT, "password": "refresh token"},
        {**MICROSOFT, "secret": "app"},
        {**MICROSOFT, "secret": "pair"},
        GOOGLE,
        {**GOOGLE, "grant-type": "refresh_token"},
        APPLICATION,
        {**APPLICATION, "secret": "pair"},
        {**APPLICATION, "secret": None, "password": "client secret"},
        ROBOT,
        EXTERNAL,
        {**EXTERNAL, "token-command": None, "token-url": "http://127.0.0.1:1/token"},
        {**EXTERNAL, "tenant-authority": "google"},
        {"mailbox": "m@gmail.com", "tenant-authority": "local", "client-id": "c"},
        {
            "mailbox": "m@gmail.com",
            "tenant-authority": "local",
            "client-id": "c",
            "grant-type": "client_credentials",
            "secret": "app",
        },
        {**ROBOT, "mailbox": "m@gmail.com", "tenant-authority": "local"},
    ],
    ids=repr,
)
def test_every_way_has_a_sound_section(options: Mapping[str, str | None]) -> None:
    sound(options)


# --- client-id --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [MICROSOFT, GOOGLE, APPLICATION])
def test_an_application_has_an_id(options: Mapping[str, str | None]) -> None:
    assert "required" in kept_down(options, "client-id", client_id=None).problem


@pytest.mark.parametrize("options", [ROBOT, EXTERNAL])
def test_who_brings_an_identity_needs_no_id(options: Mapping[str, str | None]) -> None:
    assert parse(options).clients["pop-client-a"].client_id is None


# --- tenant-authority -------------------------------------------------------------------------------------------------


def test_an_authority_must_be_known() -> None:
    fault = kept_down(GOOGLE, "tenant-authority", tenant_authority="https://sso.example.net")
    assert "local" in fault.valid
    assert fault.value == "https://sso.example.net"


@pytest.mark.parametrize(
    ("options", "mailbox", "given"),
    [(GOOGLE, "m@outlook.com", "Google"), (MICROSOFT, "m@gmail.com", "Microsoft")],
)
def test_an_authority_that_is_not_the_mailboxs_is_a_warning(options: Mapping[str, str | None], mailbox: str, given: str) -> None:
    fault = warned(options, "tenant-authority", mailbox=mailbox)
    assert f"its tokens come from {given}" in fault.problem


# --- grant-type -------------------------------------------------------------------------------------------------------


def test_microsoft_without_a_grant_is_a_warning_that_says_what_to_write() -> None:
    fault = warned(MICROSOFT, "grant-type", grant_type=None, password="pw")
    assert "multi-factor" in fault.problem
    assert "postroom authorize pop-client-a" in fault.remedy
    assert parse(MICROSOFT, grant_type=None).clients["pop-client-a"].grant_type is None


def test_the_password_grant_is_a_warning_where_it_exists() -> None:
    assert "legacy" in warned(MICROSOFT, "grant-type", grant_type="password", password="pw").problem
    local = {"mailbox": "m@gmail.com", "tenant-authority": "local", "client-id": "c"}
    assert "legacy" in warned(local, "grant-type", grant_type="password", password="pw").problem


@pytest.mark.parametrize("grant", ["client_credentials", "password"])
def test_google_knows_no_such_grant(grant: str) -> None:
    configuration = parse(GOOGLE, grant_type=grant, password="pw")
    faults = [fault for fault in configuration.faults if fault.severity is Severity.FAULT]
    assert [(fault.option, fault.valid) for fault in faults] == [("grant-type", "refresh_token, service_account, external")]
    assert configuration.clients == {}


def test_microsoft_knows_no_service_accounts() -> None:
    fault = kept_down(ROBOT, "grant-type", tenant_authority=None)
    assert "service_account" not in fault.valid
    assert "client_credentials" in fault.problem


@pytest.mark.parametrize("grant", [grant.value for grant in GrantType if grant is not GrantType.PASSWORD])
def test_only_the_password_grant_needs_a_password(grant: str) -> None:
    options = {"mailbox": "m@gmail.com", "tenant-authority": "local", "client-id": "c", "secret": "app"}
    more = {"token_command": "x"} if grant == "external" else {"secret": "robot"} if grant == "service_account" else {}
    sound(options, grant_type=grant, **more)


# --- directory-id -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("directory", "authority_"),
    [
        (None, None),
        (None, "https://login.microsoftonline.com"),
        (None, "https://login.microsoftonline.com/"),
        (None, "https://login.microsoftonline.com/common"),
        (None, "https://login.microsoftonline.com/Organizations/"),
        ("common", None),
        ("consumers", None),
        ("COMMON", "https://login.microsoftonline.com/example.org"),
    ],
)
def test_an_applications_own_token_is_one_directorys(directory: str | None, authority_: str | None) -> None:
    assert "none is named" in kept_down(APPLICATION, "directory-id", directory_id=directory, tenant_authority=authority_).problem


@pytest.mark.parametrize(
    ("directory", "authority_"),
    [("1-2-3", None), (None, "https://login.microsoftonline.com/example.org"), (None, "https://login.microsoftonline.us/1-2-3/")],
)
def test_a_directory_may_be_named_in_either_place(directory: str | None, authority_: str | None) -> None:
    sound(APPLICATION, directory_id=directory, tenant_authority=authority_)


# --- token-command, token-url -----------------------------------------------------------------------------------------


def test_an_external_token_comes_from_one_place() -> None:
    assert "neither is written" in kept_down(EXTERNAL, "grant-type", token_command=None).problem
    assert "both are written" in kept_down(EXTERNAL, "grant-type", token_url="https://t.example").problem


@pytest.mark.parametrize("name", ["token_command", "token_url"])
def test_an_external_token_is_asked_for_by_its_grant_alone(name: str) -> None:
    fault = warned(MICROSOFT, name.replace("_", "-"), **{name: "https://t.example"})
    assert fault.remedy == "Add the line: grant-type = external"


# --- scope ------------------------------------------------------------------------------------------------------------

OUTLOOK = "https://outlook.office.com"


@pytest.mark.parametrize(
    "scope",
    [
        f"{OUTLOOK}/IMAP.AccessAsUser.All offline_access",
        f"openid {OUTLOOK}/IMAP.AccessAsUser.All {OUTLOOK}/SMTP.Send email",
        f"{OUTLOOK}/.default",
        f"{OUTLOOK}/IMAP.AccessAsUser.All https://OUTLOOK.office.com/SMTP.Send",
        "offline_access",
    ],
)
def test_scopes_of_one_resource_are_sound(scope: str) -> None:
    sound(MICROSOFT, scope=scope)


def test_scopes_of_two_resources_are_a_fault_at_microsoft() -> None:
    scope = f"{OUTLOOK}/IMAP.AccessAsUser.All https://graph.microsoft.com/Mail.Read offline_access"
    fault = kept_down(MICROSOFT, "scope", scope=scope)
    assert "https://graph.microsoft.com, https://outlook.office.com" in fault.problem
    sound(GOOGLE, scope="https://mail.google.com/ https://www.googleapis.com/auth/userinfo.email")


# --- secret -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "holds"),
    [(GOOGLE, "client_secret"), (ROBOT, "service-account"), (APPLICATION, "client_secret or certificate")],
)
def test_what_must_prove_itself_names_its_secret(options: Mapping[str, str | None], holds: str) -> None:
    assert holds in kept_down(options, "secret", secret=None).valid


def test_a_public_client_at_microsoft_has_no_secret() -> None:
    sound(MICROSOFT, secret=None)


@pytest.mark.parametrize(
    ("options", "name", "problem", "remedy"),
    [
        (GOOGLE, "empty", "has no password", "client_secret as password in [secret-empty]"),
        (GOOGLE, "robot", "has no password", "client_secret"),
        (APPLICATION, "half", "has a certificate or a private-key, and needs both", "[secret-half]"),
        (APPLICATION, "key", "has a certificate or a private-key, and needs both", "[secret-key]"),
        (ROBOT, "app", "has no service-account", "JSON file as service-account"),
        (ROBOT, "half", "has no service-account", "JSON file as service-account"),
    ],
)
def test_a_secret_holds_what_its_grant_needs(options: Mapping[str, str | None], name: str, problem: str, remedy: str) -> None:
    fault = kept_down(options, "secret", secret=name)
    lines = ["[pop-client-a]", "type", "mechanisms", *options, *SECRETS.split("\n")]
    assert fault.problem == f"[secret-{name}] (line {lines.index(f'[secret-{name}]') + 1}) {problem}"
    assert remedy in fault.remedy


def test_a_secret_that_is_not_there_is_a_fault() -> None:
    fault = kept_down(GOOGLE, "secret", secret="ap")
    assert (fault.value, fault.remedy) == ("ap", "")
    assert "app" in fault.valid


@pytest.mark.parametrize("value", ["GOCSPX-x", "Zk9" * 10])
def test_a_client_secret_in_its_place_is_not_shown(value: str) -> None:
    fault = kept_down(GOOGLE, "secret", secret=value)
    assert fault.value == "***"
    assert value not in str(fault)
    assert "belongs into such a section" in fault.remedy


def test_a_secret_with_a_fault_of_its_own_keeps_its_client_down() -> None:
    configuration = parse_configuration(
        "[pop-client-a]\ntype = IMAP\nmailbox = g@example.org\nmail.imap.auth.mechanisms = XOAUTH2\ntenant-authority = google\n"
        "grant-type = service_account\nsecret = r\n[secret-r]\nservice-account = none.json\n",
        Path("/srv/p.ini"),
        {},
        PROVIDERS,
        read,
    )
    (fault,) = configuration.faults
    assert (fault.section, fault.option) == ("secret-r", "service-account")
    assert "pop-client-a" in configuration.faulty


# --- mechanisms -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("written_", "other"), [("XOAUTH2, PLAIN", "PLAIN"), ("LOGIN XOAUTH2", "LOGIN")])
def test_a_password_mechanism_beside_oauth_is_a_warning(written_: str, other: str) -> None:
    fault = warned({**MICROSOFT, "mail.imap.auth.mechanisms": written_}, "mail.imap.auth.mechanisms")
    assert fault.problem.startswith(other)


def test_both_mechanisms_of_oauth_go_together() -> None:
    sound({**MICROSOFT, "mail.imap.auth.mechanisms": "XOAUTH2 OAUTHBEARER"})


# --- a value that is wrong is told once -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        (MICROSOFT, "grant_type", "implicit"),
        (GOOGLE, "secret", "two words"),
        (APPLICATION, "directory_id", "two words"),
        (EXTERNAL, "token_command", "'"),
        (GOOGLE, "tenant_authority", "goo gle"),
        (GOOGLE, "client_id", "two words"),
    ],
)
def test_what_is_wrong_is_told_once(options: Mapping[str, str | None], name: str, value: str) -> None:
    assert told(options, **{name: value}) == [(name.replace("_", "-"), Severity.FAULT)]
