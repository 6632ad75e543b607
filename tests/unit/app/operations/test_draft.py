from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from postroom.app.operations.draft import (
    Answers,
    NewAuthority,
    OAuthAnswers,
    drafted,
    suggested_name,
)
from postroom.drivers.provider import Providers
from postroom.errors import ConfigError
from postroom.net.discovery import Found, FoundServer
from postroom.secret import Secret
from postroom.settings import Configuration, Security, parse_configuration

DIRECTORY = "11111111-1111-1111-1111-111111111111"
CLIENT = "00000000-0000-0000-0000-000000000000"


def server(host: str, kind: str = "imap", port: int = 993, security: Security = Security.SSL_TLS, user: str = "") -> FoundServer:
    return FoundServer(kind, host, port, security, user or "%EMAILADDRESS%", False, "")


GMAIL = Found(
    "support@example.com",
    provider="google",
    title="Google",
    servers=(server("imap.gmail.com"),),
    how="The mail of example.com goes to Google (MX smtp.google.com).",
)
MICROSOFT = Found(
    "orders@example.com",
    provider="microsoft",
    title="Microsoft",
    servers=(server("outlook.office365.com"),),
    how="The mail of example.com goes to Microsoft (MX example-com.mail.protection.outlook.com).",
)
GENERIC = Found("info@example.org", servers=(server("mail.example.org"),), how="example.org names its servers.")

GOOGLE_OAUTH = OAuthAnswers(client_id="1234-abcd.apps.googleusercontent.com", secret_name="google", secret="file:client_secret.txt")
DELEGATED = OAuthAnswers(client_id=CLIENT, directory_id=DIRECTORY)
APP_ONLY = replace(DELEGATED, grant_type="client_credentials", secret_name="microsoft", secret="file:client-secret.txt")
OWN = OAuthAnswers(
    authority="company",
    client_id="postroom",
    new_authority=NewAuthority(
        token_endpoint="https://login.example.org/token",
        authorization_endpoint="https://login.example.org/authorize",
        issuer="https://login.example.org",
    ),
)


def parsed(text: str) -> Configuration:
    return parse_configuration(text, Path("/etc/postroom.ini"), {"SECRET": "s"}, Providers(), lambda _path: b"x-1234567890\n")


# --- what is written --------------------------------------------------------------------------------------------------


def test_gmail() -> None:
    text = drafted(GMAIL, Answers(name="support", password="file:support-refresh-token.txt", oauth=GOOGLE_OAUTH))
    assert (
        text
        == """\
[secret-google]
# the client_secret of the application, in a file beside this one; env:NAME works too
password = file:client_secret.txt

# The mail of example.com goes to Google (MX smtp.google.com).
[pop-client-support]
type = IMAP
mailbox = support@example.com
# OAuth 2.0: an access token logs in, no password
mail.imap.auth.mechanisms = XOAUTH2
# any text that contains "google"
tenant-authority = google
# of the OAuth client (type Desktop) in the Google Cloud console
client-id = 1234-abcd.apps.googleusercontent.com
# names [secret-google]
secret = google
# the refresh token
password = file:support-refresh-token.txt
"""
    )


def test_microsoft_by_the_application_s_own_right() -> None:
    text = drafted(MICROSOFT, Answers(name="orders", oauth=APP_ONLY))
    assert (
        text
        == f"""\
[secret-microsoft]
# the value of the application's client secret (not its ID); env:NAME works too
password = file:client-secret.txt

# The mail of example.com goes to Microsoft (MX example-com.mail.protection.outlook.com).
[pop-client-orders]
type = IMAP
mailbox = orders@example.com
# OAuth 2.0: an access token logs in, no password
mail.imap.auth.mechanisms = XOAUTH2
tenant-authority = https://login.microsoftonline.com
# the application (client) ID, from its overview in the Entra admin center
client-id = {CLIENT}
# the directory (tenant) ID, on the same page
directory-id = {DIRECTORY}
# names [secret-microsoft]
secret = microsoft
# the application's own right, given by an administrator: nobody signs in, and no consent runs out
grant-type = client_credentials
"""
    )


def test_microsoft_by_a_person_s_consent() -> None:
    text = drafted(MICROSOFT, Answers(name="orders", password="file:orders-refresh-token.txt", oauth=DELEGATED))
    lines = text.split("\n")
    assert "grant-type = refresh_token" in lines
    assert "password = file:orders-refresh-token.txt" in lines
    assert not any(line.startswith(("secret", "[secret")) for line in lines)


def test_a_refresh_token_that_is_in_the_vault_is_not_written() -> None:
    text = drafted(MICROSOFT, Answers(name="orders", oauth=DELEGATED))
    assert "password =" not in text
    assert "# the refresh token is in the vault: postroom authorize orders gets it and renews it\n" in text


def test_a_shared_mailbox() -> None:
    text = drafted(MICROSOFT, Answers(name="orders", oauth=replace(DELEGATED, oauth_user="anna@example.com")))
    assert "mailbox = orders@example.com\n# the account that consents; its token opens this mailbox\noauth-user = anna@" in text


def test_a_service_account() -> None:
    oauth = OAuthAnswers(grant_type="service_account", secret_name="google", secret="file:key.json")
    text = drafted(GMAIL, Answers(name="support", oauth=oauth))
    assert "[secret-google]\n# the JSON key" in text
    assert "\nservice-account = file:key.json\n" in text
    assert "\ngrant-type = service_account\n" in text
    assert "client-id" not in text


def test_a_generic_password() -> None:
    assert (
        drafted(GENERIC, Answers(name="info", password="file:info-password.txt"))
        == """\
# example.org names its servers.
[pop-client-info]
type = IMAP
server = mail.example.org
mailbox = info@example.org
# the mailbox's password, in a file beside this one; env:NAME works too
password = file:info-password.txt
"""
    )


def test_a_server_with_ways_of_its_own() -> None:
    odd = server("mail.example.org", port=1143, security=Security.NONE, user="%EMAILLOCALPART%")
    text = drafted(replace(GENERIC, servers=(odd,)), Answers(name="info", password="env:SECRET"))
    assert "server = mail.example.org\nport = 1143\n# in clear: " in text
    assert "pop-connection-security = none\n# the user's name as the server wants it\nmailbox = info\n" in text
    start_tls = server("mail.example.org", port=143, security=Security.START_TLS)
    text = drafted(replace(GENERIC, servers=(start_tls,)), Answers(name="info", password="env:SECRET"))
    assert "server = mail.example.org\npop-connection-security = start-tls\nmailbox = info@example.org\n" in text


def test_an_authority_of_one_s_own() -> None:
    text = drafted(GENERIC, Answers(name="info", password="env:SECRET", oauth=OWN))
    assert text.startswith("[authority-company]\n# where tokens are asked for\ntoken_endpoint = https://login.example.org/token\n")
    assert "server = mail.example.org\n" in text
    assert "mail.imap.auth.mechanisms = OAUTHBEARER, XOAUTH2\n# names [authority-company]\ntenant-authority = company\n" in text


def test_an_application_that_is_there_already_is_named() -> None:
    text = drafted(GMAIL, Answers(name="sales", password="env:SECRET", oauth=replace(GOOGLE_OAUTH, secret="")))
    assert "\n[secret-" not in f"\n{text}"
    assert "secret = google\n" in text


@pytest.mark.parametrize(
    ("found", "answers"),
    [
        (GMAIL, Answers(name="a", password="env:SECRET", oauth=GOOGLE_OAUTH)),
        (GMAIL, Answers(name="a", password="file:x")),
        (MICROSOFT, Answers(name="a", password="file:x", oauth=DELEGATED)),
        (MICROSOFT, Answers(name="a", password="file:x", oauth=replace(DELEGATED, secret_name="m", secret="env:SECRET"))),
        (MICROSOFT, Answers(name="a", password="file:x", oauth=replace(DELEGATED, directory_id=""))),
        (GENERIC, Answers(name="a", password="file:x y.txt")),
        (GENERIC, Answers(name="a.b-c_d", password="env:SECRET", oauth=OWN)),
        (GENERIC, Answers(name="a", password="env:SECRET", oauth=replace(OWN, secret_name="own", secret="file:x"))),
        (
            replace(GENERIC, servers=(server("a.example", port=1, security=Security.START_TLS),)),
            Answers(name="a", password="file:x"),
        ),
    ],
)
def test_what_is_written_is_read_without_a_fault(found: Found, answers: Answers) -> None:
    configuration = parsed(drafted(found, answers))
    assert [str(fault) for fault in configuration.faults] == []
    (client,) = configuration.clients.values()
    place = Providers().place_of(client, configuration.authorities)
    assert (place.host, place.port, place.security) == (
        found.servers[0].host,
        found.servers[0].port,
        found.servers[0].security,
    )
    assert client.mailbox == found.address
    assert client.uses_oauth == (answers.oauth is not None)


def test_the_refresh_token_grant_is_what_is_read() -> None:
    (client,) = parsed(drafted(GMAIL, Answers(name="a", password="env:SECRET", oauth=GOOGLE_OAUTH))).clients.values()
    assert client.password == Secret("s")
    assert client.secret == "google"


# --- what sends ---------------------------------------------------------------------------------------------------------

SUBMISSION = server("smtp.example.org", "smtp", 587, Security.START_TLS)
PAIR = replace(GENERIC, servers=(*GENERIC.servers, SUBMISSION))


def pair(found: Found, host: str) -> Found:
    return replace(found, servers=(*found.servers, server(host, "smtp", 587, Security.START_TLS)))


GMAIL_PAIR, MICROSOFT_PAIR = pair(GMAIL, "smtp.gmail.com"), pair(MICROSOFT, "smtp.office365.com")


def test_a_pair_with_one_consent() -> None:
    text = drafted(GMAIL_PAIR, Answers(name="support", sends=True, oauth=GOOGLE_OAUTH, first_read="new"))
    assert text.endswith(
        """\
first-read = new

# Sends for the same account; one consent serves both.
[smtp-client-support]
user = support@example.com
enable-authentication = true
mail.smtp.auth.mechanisms = XOAUTH2
tenant-authority = google
client-id = 1234-abcd.apps.googleusercontent.com
secret = google
# whatever is from this address leaves by this account
addresses = support@example.com
"""
    )


def test_a_pair_with_one_password() -> None:
    text = drafted(PAIR, Answers(name="info", sends=True, password="file:info-password.txt"))
    assert text.endswith(
        """\
password = file:info-password.txt

# Sends for the same account.
[smtp-client-info]
server = smtp.example.org
user = info@example.org
enable-authentication = true
password = file:info-password.txt
# whatever is from this address leaves by this account
addresses = info@example.org
"""
    )


def test_how_the_server_was_found_is_said_once() -> None:
    for how, said in ((PAIR.how, 1), ("The SRV record names smtp.example.org.", 2)):
        found = replace(PAIR, servers=(*GENERIC.servers, replace(SUBMISSION, how=how)))
        text = drafted(found, Answers(name="info", sends=True, password="file:x"))
        assert text.count(f"# {PAIR.how}\n") == 1
        assert len({PAIR.how, how} & {line.removeprefix("# ") for line in text.splitlines()}) == said


def test_a_server_in_clear_is_told_to_be_one() -> None:
    found = replace(GENERIC, servers=(*GENERIC.servers, server("s.example", "smtp", 2525, Security.NONE)))
    text = drafted(found, Answers(name="info", sends=True, password="file:x"))
    assert "\nserver = s.example\nport = 2525\n# in clear: " in text
    assert "\nsmtp-connection-security = none\nuser = " in text


def test_a_shared_mailbox_sends_as_who_consents() -> None:
    oauth = replace(DELEGATED, oauth_user="anna@example.com")
    (sender,) = parsed(drafted(MICROSOFT_PAIR, Answers(name="orders", sends=True, oauth=oauth))).senders.values()
    assert (sender.user, sender.addresses) == ("anna@example.com", ("orders@example.com",))


def test_a_name_of_its_own_at_the_server_that_takes_mail() -> None:
    found = replace(PAIR, servers=(*GENERIC.servers, replace(SUBMISSION, user="%EMAILLOCALPART%")))
    (sender,) = parsed(drafted(found, Answers(name="info", sends=True, password="file:x"))).senders.values()
    assert sender.user == "info"


@pytest.mark.parametrize(
    ("found", "answers"),
    [
        (GMAIL_PAIR, Answers(name="a", sends=True, password="env:SECRET", oauth=GOOGLE_OAUTH)),
        (
            GMAIL_PAIR,
            Answers(name="a", sends=True, oauth=OAuthAnswers(grant_type="service_account", secret_name="g", secret="file:k")),
        ),
        (MICROSOFT_PAIR, Answers(name="a", sends=True, oauth=DELEGATED)),
        (MICROSOFT_PAIR, Answers(name="a", sends=True, oauth=APP_ONLY)),
        (GMAIL_PAIR, Answers(name="a", sends=True, password="file:x")),
        (PAIR, Answers(name="a", sends=True, password="env:SECRET", oauth=OWN)),
        (pair(GENERIC, "smtp.example.net"), Answers(name="a", sends=True, password="file:x")),
        (
            replace(GENERIC, servers=(*GENERIC.servers, server("s.example", "smtp", 465, Security.SSL_TLS))),
            Answers(name="a", sends=True, password="file:x"),
        ),
    ],
    ids=["google", "service account", "person", "application", "password at google", "own", "password", "tls at once"],
)
def test_what_sends_is_read_without_a_fault(found: Found, answers: Answers) -> None:
    key = b'{"type": "service_account", "client_email": "a@b.test", "private_key": "k", "token_uri": "https://b.test/t"}'
    configuration = parse_configuration(
        drafted(found, answers),
        Path("/etc/postroom.ini"),
        {"SECRET": "s"},
        Providers(),
        lambda path: key if path.name == "k" else b"x-1\n",
    )
    assert [str(fault) for fault in configuration.faults] == []
    (client,), (sender,) = configuration.clients.values(), configuration.senders.values()
    place, wanted = Providers().place_of(sender, configuration.authorities), found.servers[-1]
    assert (place.host, place.port, place.security) == (wanted.host, wanted.port, wanted.security)
    assert sender.authenticates
    of_both = ("client_id", "grant_type", "password", "tenant_authority", "directory_id", "uses_oauth", "account")
    assert [getattr(client, name) for name in of_both] == [getattr(sender, name) for name in of_both]
    assert configuration.route(found.address.upper()) == "smtp-client-a"
    assert configuration.route("other@example.net") is None


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "answers", "words"),
    [
        (MICROSOFT, Answers(name="a", oauth=replace(DELEGATED, grant_type="password")), "grant-type = password is not written"),
        (MICROSOFT, Answers(name="a", oauth=replace(APP_ONLY, directory_id="")), "directory-id is missing"),
        (MICROSOFT, Answers(name="a", oauth=replace(APP_ONLY, secret_name="", secret="")), "secret is missing"),
        (MICROSOFT, Answers(name="a", oauth=replace(APP_ONLY, grant_type="service_account")), "service_account is not written"),
        (replace(MICROSOFT, personal=True), Answers(name="a", oauth=APP_ONLY), "client_credentials is not written for this"),
        (MICROSOFT, Answers(name="a", password="file:x"), "Microsoft takes no password for mail"),
        (GMAIL, Answers(name="a", oauth=replace(GOOGLE_OAUTH, grant_type="client_credentials")), "is not written for this mailbox"),
        (GMAIL, Answers(name="a", oauth=replace(GOOGLE_OAUTH, secret_name="")), "secret is missing"),
        (GMAIL, Answers(name="a", oauth=replace(GOOGLE_OAUTH, client_id="")), "client-id is missing"),
        (GMAIL, Answers(name="a", oauth=replace(GOOGLE_OAUTH, client_id="a b")), "client-id has white space in it"),
        (GENERIC, Answers(name="a", oauth=replace(OWN, authority="")), "tenant-authority is missing"),
        (GENERIC, Answers(name="a"), "the mailbox's password is missing"),
        (GENERIC, Answers(name="a]\n[b", password="file:x"), "is no name for a section"),
        (GENERIC, Answers(name="", password="file:x"), "is no name for a section"),
        (GENERIC, Answers(name="a", password="file:x\nserver = y"), "a secret is not written into the file"),
        (replace(GENERIC, address="a\nb@example.org"), Answers(name="a", password="file:x"), "a line break"),
        (GENERIC, Answers(name="a", sends=True, password="file:x"), "no server that takes mail was found"),
        (replace(GENERIC, servers=()), Answers(name="a", password="file:x"), "no server was found, and this version reads"),
    ],
)
def test_what_cannot_be_written(found: Found, answers: Answers, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        drafted(found, answers)
    assert words in str(caught.value)


def test_a_secret_is_never_written() -> None:
    for answers in (
        Answers(name="a", password="correct horse"),
        Answers(name="a", password="file:x", oauth=replace(OWN, secret_name="own", secret="GOCSPX-battery")),
    ):
        with pytest.raises(ConfigError) as caught:
            drafted(GENERIC, answers)
        told = str(caught.value) + repr(caught.value) + caught.value.value
        assert "horse" not in told
        assert "battery" not in told


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("support@example.com", "support"),
        ("Anna.Müller+x@example.com", "anna.m-ller-x"),
        ("--@example.com", "mailbox"),
        ("a_b-@example.com", "a_b"),
    ],
)
def test_a_name_is_suggested(address: str, name: str) -> None:
    assert suggested_name(address) == name
