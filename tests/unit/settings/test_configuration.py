from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.drivers.provider import Providers
from postroom.model import Disposition
from postroom.secret import Secret
from postroom.settings import Configuration, Fault, MailboxType, Security, Severity, parse_configuration

PROVIDERS = Providers()
FILE = Path("/srv/mail/postroom.ini")
DATA = Path(__file__).parents[2] / "data"

BASIC = """\
[pop-client-a]
type = imap
server = mail.example.org
mailbox = a@example.org
password = pass word
"""

GOOGLE = """\
[pop-client-g]
type = IMAP
mailbox = g@gmail.com
mail.imap.auth.mechanisms = XOAUTH2
tenant-authority = GOOGLE
client-id = 1.apps.example
secret = Gmail
password = 1//refresh
[secret-gmail]
password = client secret
"""

MICROSOFT = """\
[pop-client-m]
type = IMAP
mailbox = m@example.org
mail.imap.auth.mechanisms = XOAUTH2
client-id = 11111111
grant-type = refresh_token
password = 0.refresh
"""


def nothing(path: Path) -> bytes:
    raise FileNotFoundError(2, "No such file or directory")


def parse(text: str, environment: Mapping[str, str] | None = None, file: Path = FILE) -> Configuration:
    return parse_configuration(text, file, environment or {}, PROVIDERS, nothing)


def faults(configuration: Configuration) -> list[Fault]:
    return [fault for fault in configuration.faults if fault.severity is Severity.FAULT]


def warnings(configuration: Configuration) -> list[Fault]:
    return [fault for fault in configuration.faults if fault.severity is Severity.WARNING]


def only_fault(text: str) -> Fault:
    """The one fault of a text, which must keep its section down."""
    configuration = parse(text)
    (fault,) = configuration.faults
    assert fault.severity is Severity.FAULT
    assert fault.section in configuration.faulty
    assert fault.section not in configuration.clients
    return fault


def only_warning(text: str) -> Fault:
    """The one warning of a text, which keeps nothing down."""
    configuration = parse(text)
    (fault,) = configuration.faults
    assert fault.severity is Severity.WARNING
    assert configuration.faulty == frozenset()
    return fault


def line_of(text: str, begin: str) -> int:
    return next(number for number, line in enumerate(text.split("\n"), 1) if line.startswith(begin))


# --- what is sound ----------------------------------------------------------------------------------------------------


def test_a_client_with_a_password() -> None:
    configuration = parse(BASIC)
    client = configuration.clients["pop-client-a"]
    assert configuration.faults == ()
    assert (client.section, client.name, client.type) == ("pop-client-a", "a", MailboxType.IMAP)
    assert (client.server, client.port, client.mailbox) == ("mail.example.org", None, "a@example.org")
    assert client.password == Secret("pass word")
    assert (client.folder_path, client.security) == (("INBOX",), Security.SSL_TLS)
    assert (client.cycle_time, client.connect_timeout, client.protocol_timeout) == (60, 30, 60)
    assert (client.token_expiry_margin_time, client.maximum_msg_number) == (300, 0)
    assert (client.after_capture, client.enable_client, client.enable_debug) == (Disposition.KEEP, True, False)
    assert client.tenant_authority == "https://login.microsoftonline.com"
    assert not client.uses_oauth


def test_a_client_with_oauth_names_its_secret_as_the_section_does() -> None:
    configuration = parse(GOOGLE)
    client = configuration.clients["pop-client-g"]
    assert configuration.faults == ()
    assert client.uses_oauth
    assert client.secret is not None
    assert configuration.secrets[client.secret].password == Secret("client secret")


def test_oauthbearer_switches_oauth_on() -> None:
    assert parse(GOOGLE.replace("XOAUTH2", "oauthbearer")).clients["pop-client-g"].uses_oauth


def test_a_section_with_the_bare_name_is_a_client() -> None:
    assert parse(BASIC.replace("pop-client-a", "pop-client")).clients["pop-client"].name == "pop-client"


def test_names_are_read_in_any_case() -> None:
    text = BASIC.replace("pop-client-a", "Pop-Client-a").replace("mailbox", "MailBox")
    assert parse(text).clients["Pop-Client-a"].mailbox == "a@example.org"


def test_an_authority_is_read_by_its_metadata_names() -> None:
    configuration = parse("[authority-Local]\ntoken_endpoint = http://127.0.0.1:1/t\nissuer = https://sso.example.org\n")
    assert configuration.authorities["Local"].token_endpoint == "http://127.0.0.1:1/t"
    assert configuration.authorities["Local"].issuer == "https://sso.example.org"


def test_shared_values_stand_behind_a_sections_own() -> None:
    shared = "[defaults-pop-client]\ncycle-time = 5m\nport = 1143\ntype = IMAP\npassword = env:P\n"
    own = "[pop-client-a]\nserver = h.example\nmailbox = a\nport = 143\n"
    configuration = parse(shared + own, {"P": "from outside"})
    client = configuration.clients["pop-client-a"]
    assert configuration.faults == ()
    assert (client.cycle_time, client.port, client.password) == (300, 143, Secret("from outside"))


def test_an_empty_value_is_none_and_hides_a_shared_one() -> None:
    text = "[defaults-pop-client]\ncycle-time = 5m\n" + BASIC + "cycle-time =\n"
    assert parse(text).clients["pop-client-a"].cycle_time == 60


@pytest.mark.parametrize(
    ("file", "directory"),
    [("/srv/mail/postroom.ini", "/srv/mail/data"), ("/etc/postroom/postroom.ini", "/var/lib/postroom")],
)
def test_the_data_directory_is_beside_the_file_or_the_systems(file: str, directory: str) -> None:
    settings = parse("", file=Path(file)).settings
    assert settings.data_directory == Path(directory)
    assert settings.vault_key == Path(directory) / "vault.key"


def test_settings_are_read() -> None:
    text = "[settings]\ndata-directory = here\n[web]\nlisten = localhost:0\n[log]\nlevel = DEBUG\nformat = text\n"
    configuration = parse(text)
    assert configuration.settings.data_directory == Path("/srv/mail/here")
    assert configuration.settings.vault_key == Path("/srv/mail/here/vault.key")
    assert (configuration.web.host, configuration.web.port) == ("localhost", 0)
    assert (configuration.log.level, configuration.log.format) == ("debug", "text")
    assert parse("[settings]\nvault-key = env:KEY\n").settings.vault_key == "env:KEY"


def test_files_that_values_name_are_remembered() -> None:
    configuration = parse_configuration(
        BASIC.replace("pass word", "file:token"), FILE, {}, PROVIDERS, {Path("/srv/mail/token"): b"t\n"}.__getitem__
    )
    assert configuration.clients["pop-client-a"].password == Secret("t")
    assert configuration.named_files == {Path("/srv/mail/token")}


# --- faults of one section --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "option", "problem"),
    [
        ("cycle-time = 0s", "cycle-time", "is less than 1 s"),
        ("cycle-time = -00:01:00", "cycle-time", "is negative"),
        ("maximum-msg-number = -1", "maximum-msg-number", "is less than 0"),
        ("port = 0", "port", "is less than 1"),
        ("enable-client = on", "enable-client", "is neither true nor false"),
        ("pop-connection-security = tls", "pop-connection-security", "is none of the valid values"),
        (
            "mail.imap.auth.mechanisms = NTLM",
            "mail.imap.auth.mechanisms",
            "names NTLM, which this version does not have",
        ),
        ("after-capture = shred", "after-capture", "is none of the valid values"),
    ],
)
def test_a_wrong_value_names_line_value_and_what_is_valid(line: str, option: str, problem: str) -> None:
    fault = only_fault(BASIC + line + "\n")
    assert (fault.file, fault.line, fault.section) == (str(FILE), 6, "pop-client-a")
    assert (fault.option, fault.value, fault.problem) == (option, line.partition(" = ")[2], problem)
    assert fault.valid


@pytest.mark.parametrize("written", ["EWS", "GRAPH", "GMAIL", "maildir"])
def test_a_type_that_is_not_read_yet_is_a_fault(written: str) -> None:
    fault = only_fault(BASIC.replace("imap", written))
    assert (fault.option, fault.value, fault.valid) == ("type", written, "IMAP, POP3, in any case")
    assert "it reads IMAP and POP3" in fault.problem


@pytest.mark.parametrize("name", ["type", "mailbox", "server", "password"])
def test_what_must_be_written_is_missed_at_the_sections_head(name: str) -> None:
    text = "\n".join(line for line in BASIC.split("\n") if not line.startswith(name))
    fault = only_fault("\n" + text)
    assert (fault.line, fault.option, fault.value) == (2, name, "")
    assert "required" in fault.problem


def test_a_missing_variable_is_a_fault_of_its_section_alone() -> None:
    configuration = parse(BASIC.replace("pass word", "env:NONE") + MICROSOFT)
    (fault,) = faults(configuration)
    assert (fault.value, fault.option, fault.line) == ("***", "password", 5)
    assert "NONE" in fault.problem
    assert list(configuration.clients) == ["pop-client-m"]
    assert configuration.sections == ("pop-client-a", "pop-client-m")


def test_several_faults_of_one_section_are_told_at_once() -> None:
    configuration = parse(MICROSOFT.replace("client-id", "clientid") + "port = x\n")
    assert [(fault.option, fault.severity.value) for fault in configuration.faults] == [
        ("client-id", "fault"),
        ("clientid", "warning"),
        ("port", "fault"),
    ]


@pytest.mark.parametrize("name", ["client-id", "secret"])
def test_google_needs_two_things(name: str) -> None:
    text = "\n".join(line for line in GOOGLE.split("\n") if not (line.startswith(name) and "client secret" not in line))
    fault = only_fault(text)
    assert (fault.option, fault.section) == (name, "pop-client-g")


@pytest.mark.parametrize("text", [GOOGLE.replace("password = 1//refresh\n", ""), MICROSOFT.replace("password = 0.refresh\n", "")])
def test_a_refresh_token_need_not_be_written(text: str) -> None:
    """``postroom authorize`` puts it into the vault."""
    configuration = parse(text)
    assert configuration.faults == ()
    (client,) = configuration.clients.values()
    assert client.password is None


def test_the_password_grant_needs_its_password() -> None:
    text = MICROSOFT.replace("= refresh_token", "= password").replace("password = 0.refresh\n", "")
    (fault,) = faults(parse(text))
    assert (fault.option, fault.section, fault.value) == ("password", "pop-client-m", "")
    assert "required" in fault.problem


def test_a_secret_with_white_space_is_a_fault() -> None:
    fault = only_fault(GOOGLE.replace("secret = Gmail", "secret = my gmail"))
    assert (fault.option, fault.value, fault.problem) == ("secret", "my gmail", "has white space in it")


def test_a_secret_without_section_is_a_fault() -> None:
    fault = only_fault(GOOGLE.replace("secret = Gmail", "secret = gmial"))
    assert (fault.option, fault.value, fault.valid) == ("secret", "gmial", "gmail")


def test_a_client_secret_in_the_wrong_place_is_not_shown() -> None:
    fault = only_fault(GOOGLE.replace("secret = Gmail", "secret = GOCSPX-abcdefghijklmnop"))
    assert fault.value == "***"
    assert "GOCSPX-abc" not in str(fault)


def test_a_secret_whose_section_has_no_password_is_a_fault() -> None:
    fault = only_fault(GOOGLE.replace("password = client secret", "password ="))
    assert (fault.option, fault.section) == ("secret", "pop-client-g")
    assert "[secret-gmail] (line 9) has no password" in fault.problem


def test_a_client_goes_down_with_the_secret_that_it_needs() -> None:
    configuration = parse(GOOGLE.replace("client secret", "env:NONE") + BASIC)
    (fault,) = faults(configuration)
    assert fault.section == "secret-gmail"
    assert configuration.faulty == {"secret-gmail", "pop-client-g"}
    assert configuration.faults_of("pop-client-g") == (fault,)
    assert list(configuration.clients) == ["pop-client-a"]
    assert configuration.secrets == {}


def test_a_client_goes_down_with_the_authority_that_it_needs() -> None:
    authority = "[authority-google]\ntoken_endpoint = http://sso.example.org/token\n"
    configuration = parse(GOOGLE + authority + MICROSOFT)
    (fault,) = faults(configuration)
    assert (fault.section, fault.line) == ("authority-google", 12)
    assert configuration.faults_of("pop-client-g") == (fault,)
    assert list(configuration.clients) == ["pop-client-m"]


def test_an_unknown_authority_is_a_fault() -> None:
    fault = only_fault(GOOGLE.replace("GOOGLE", "https://login.example.org"))
    assert (fault.option, fault.value) == ("tenant-authority", "https://login.example.org")


def test_microsoft_without_grant_type_is_a_warning() -> None:
    """The family's default, the password grant, holds; it seldom works."""
    fault = only_warning(MICROSOFT.replace("grant-type = refresh_token\n", ""))
    assert (fault.option, fault.line, fault.value) == ("grant-type", 1, "")
    assert "password grant" in fault.problem
    assert "client_credentials" in fault.remedy
    assert "postroom authorize pop-client-m" in fault.remedy


@pytest.mark.parametrize("written", ["implicit", "refresh-token", "authorization_code"])
def test_a_grant_that_is_none_is_a_fault(written: str) -> None:
    fault = only_fault(MICROSOFT.replace("= refresh_token", f"= {written}"))
    assert (fault.option, fault.value) == ("grant-type", written)
    assert fault.valid == "refresh_token, client_credentials, password, service_account, external"


def test_move_needs_a_folder_that_is_not_read() -> None:
    assert only_fault(BASIC + "after-capture = move\n").option == "processed-folder-path"
    read = BASIC + "after-capture = move\nprocessed-folder-path = Done\n"
    assert parse(read).faults == ()
    fault = only_fault(read + "folder-path = INBOX, Done\n")
    assert (fault.option, fault.value) == ("processed-folder-path", "Done")
    other = BASIC.replace("pop-client-a", "pop-client-b").replace("a@", "A@") + "folder-path = Done\n"
    (fault,) = parse(read + other).faults
    assert (fault.section, fault.option) == ("pop-client-a", "processed-folder-path")
    assert "[pop-client-b]" in fault.problem


def test_a_folder_is_read_by_one_section() -> None:
    second = BASIC.replace("pop-client-a", "pop-client-b").replace("mail.", "MAIL.")
    fault = only_fault(BASIC + second)
    assert (fault.section, fault.option, fault.line) == ("pop-client-b", "folder-path", 6)
    assert "[pop-client-a] (line 1) reads INBOX" in fault.problem
    assert parse(BASIC + second + "folder-path = Other\n").faults == ()
    assert parse(BASIC + second + "enable-client = false\n").faults == ()
    assert parse(BASIC + second.replace("a@example", "b@example")).faults == ()


def test_a_section_of_a_wrong_type_takes_no_folder_from_another() -> None:
    second = BASIC.replace("pop-client-a", "pop-client-b")
    assert list(parse(BASIC.replace("imap", "EWS") + second).clients) == ["pop-client-b"]


def test_the_same_mailbox_is_seen_through_a_providers_default_server() -> None:
    second = GOOGLE.replace("pop-client-g", "pop-client-h").partition("[secret")[0] + "server = imap.gmail.com\n"
    assert "[pop-client-g]" in only_fault(GOOGLE + second).problem


def test_a_fault_of_a_shared_value_keeps_those_down_that_take_it() -> None:
    shared = "[defaults-pop-client]\ncycle-time = often\n"
    other = BASIC.replace("pop-client-a", "pop-client-b").replace("a@", "b@") + "cycle-time = 1m\n"
    configuration = parse(shared + BASIC + other)
    (fault,) = configuration.faults
    assert (fault.section, fault.line) == ("defaults-pop-client", 2)
    assert configuration.faults_of("pop-client-a") == (fault,)
    assert list(configuration.clients) == ["pop-client-b"]


def test_a_torn_line_of_the_shared_values_keeps_all_down() -> None:
    configuration = parse("[defaults-pop-client]\nenable-client false\n" + BASIC)
    assert configuration.faulty == {"defaults-pop-client", "pop-client-a"}


# --- faults of the whole ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["type = IMAP\n" + BASIC, "[settings]\nvault-key = here\n", "[settings]\nvault-key\n"])
def test_a_fault_of_the_whole(text: str) -> None:
    configuration = parse(text)
    assert configuration.whole
    assert [fault.whole for fault in configuration.faults] == [True]


def test_a_fault_of_the_log_is_not_one_of_the_whole() -> None:
    configuration = parse("[log]\nlevel = loud\n")
    assert not configuration.whole
    assert configuration.faulty == {"log"}
    assert configuration.log.level == "info"


# --- warnings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "problem", "remedy"),
    [
        ("cycletime = 1m", "nothing reads an option of this name here", "The nearest known name is cycle-time."),
        ("cycletimes = 1m", "nothing reads an option of this name here", "The nearest known name is cycle-time."),
        ("mail.imap.fetchsize = 5", "accepted, without effect", "Messages are written to the disk as they come."),
        ("mail.imap.statuscachetimeout = 5", "accepted, without effect", ""),
        (
            "mail.pop3.auth.mechanisms = XOAUTH2",
            "accepted, without effect",
            "In this section the option is mail.imap.auth.mechanisms.",
        ),
    ],
)
def test_an_option_that_does_not_act_is_a_warning(line: str, problem: str, remedy: str) -> None:
    fault = only_warning(BASIC + line + "\n")
    assert (fault.line, fault.problem, fault.remedy) == (6, problem, remedy)
    assert fault.value == line.partition(" = ")[2]


def test_the_value_of_a_misspelt_secret_is_not_shown() -> None:
    assert only_warning(BASIC + "pasword = hunter2\n").value == "***"


@pytest.mark.parametrize(
    ("name", "problem", "remedy"),
    [
        ("webhook-a", "the section is known, but without effect in this version", ""),
        ("stream-x", "the section is known, but without effect in this version", ""),
        ("setings", "nothing reads a section of this name", "The nearest known section is settings."),
        ("pop-cleint-x", "nothing reads a section of this name", "The nearest known section is pop-client."),
    ],
)
def test_a_section_that_does_not_act_is_a_warning(name: str, problem: str, remedy: str) -> None:
    fault = only_warning(f"{BASIC}[{name}]\nx = 1\n")
    assert (fault.line, fault.section, fault.problem, fault.remedy) == (6, name, problem, remedy)


def test_a_forgotten_mechanism_is_a_warning_with_the_line_to_add() -> None:
    text = GOOGLE.replace("mail.imap.auth.mechanisms = XOAUTH2\n", "")
    fault = only_warning(text)
    assert (fault.section, fault.line) == ("pop-client-g", 1)
    assert fault.remedy == "Add the line: mail.imap.auth.mechanisms = XOAUTH2"
    assert not parse(text).clients["pop-client-g"].uses_oauth


def test_without_oauth_its_options_are_ignored() -> None:
    ignored = "client-id = a b\nsecret = no such\ngrant-type = implicit\nscope = x\ntoken-expiry-margin-time = soon\n"
    configuration = parse(BASIC + ignored + "tenant-authority = nowhere\ndirectory-id = x\n")
    assert faults(configuration) == []
    assert [fault.option for fault in warnings(configuration)] == [
        "client-id",
        "secret",
        "grant-type",
        "token-expiry-margin-time",
    ]
    assert "pop-client-a" in configuration.clients


def test_a_connection_in_clear_is_a_warning_unless_it_stays_here() -> None:
    fault = only_warning(BASIC + "pop-connection-security = none\n")
    assert (fault.line, fault.option) == (6, "pop-connection-security")
    assert parse(BASIC.replace("mail.example.org", "localhost") + "pop-connection-security = none\n").faults == ()


def test_an_authority_that_is_not_the_mailboxs_is_a_warning() -> None:
    text = GOOGLE.replace("tenant-authority = GOOGLE\n", "grant-type = refresh_token\nserver = imap.gmail.com\n")
    assert only_warning(text).option == "tenant-authority"


def test_a_password_mechanism_beside_oauth_is_a_warning() -> None:
    assert only_warning(GOOGLE.replace("XOAUTH2", "XOAUTH2, PLAIN")).option == "mail.imap.auth.mechanisms"


# --- how it is told ---------------------------------------------------------------------------------------------------


def test_a_fault_reads_as_one_text() -> None:
    assert str(only_fault(BASIC + "port = 70000\n")) == (
        "/srv/mail/postroom.ini:6: [pop-client-a] port = '70000': is more than 65535. Valid: 1..65535."
    )
    assert str(only_warning(BASIC + "[setings]\n")).startswith(
        "/srv/mail/postroom.ini:6: warning: [setings] nothing reads a section of this name."
    )
    missing = str(only_fault(BASIC.replace("server = mail.example.org\n", "")))
    assert missing.startswith("/srv/mail/postroom.ini:1: [pop-client-a] server: the option is required here")


def test_a_fault_becomes_an_error() -> None:
    error = only_fault(BASIC + "port = 70000\n").error()
    assert (error.place, error.option, error.value, error.valid) == (
        "/srv/mail/postroom.ini:6",
        "port",
        "70000",
        "1..65535",
    )


def test_ten_mistakes_are_ten_faults() -> None:
    file = DATA / "ten-mistakes.ini"
    configuration = parse_configuration(file.read_text(), file, {}, PROVIDERS)
    told = [(fault.line, fault.section, fault.option, fault.value) for fault in configuration.faults]
    assert told == [
        (4, "log", "level", "loud"),
        (7, "pop-client-one", "type", "EWS"),
        (10, "pop-client-one", "password", "***"),
        (11, "pop-client-one", "cycle-time", "0s"),
        (15, "pop-client-two", "server", "https://mail.example.org/"),
        (18, "pop-client-two", "port", "70000"),
        (19, "pop-client-two", "pop-connection-security", "tls"),
        (27, "pop-client-three", "secret", "gmial"),
        (33, "pop-client-four", "processed-folder-path", ""),
        (39, "pop-client-four", "", "enable-client yes"),
    ]
    assert all(fault.file == str(file) and fault.valid and fault.problem for fault in configuration.faults)
    assert all(fault.severity is Severity.FAULT for fault in configuration.faults)
    assert "not to be printed" not in " ".join(map(str, configuration.faults)) + repr(configuration)


TEXTS = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.sampled_from((BASIC + GOOGLE + MICROSOFT).split("\n")),
        st.sampled_from(["[defaults-pop-client]", "[settings]", "[authority-google]", "token_endpoint = x", "[web]"]),
        st.builds("{} = {}".format, st.sampled_from(["type", "server", "mailbox", "secret", "port"]), st.text(max_size=9)),
    )
).map("\n".join)


@given(TEXTS)
def test_any_text_is_a_configuration(text: str) -> None:
    configuration = parse(text)
    assert all(str(fault) for fault in configuration.faults)
    assert not configuration.clients.keys() & configuration.faulty
    assert {*configuration.clients, *configuration.faulty} >= set(configuration.sections)
    assert all(configuration.faults_of(section) for section in configuration.faulty)
