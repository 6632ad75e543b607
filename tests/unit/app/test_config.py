from __future__ import annotations

from pathlib import Path

import pytest

from postroom.app.config import Live, default_file, find_client, find_clients, load
from postroom.errors import ConfigError
from postroom.secret import Secret
from postroom.settings import Configuration

A = "[pop-client-a]\ntype = IMAP\nserver = mail.example.org\nmailbox = a@example.org\npassword = secret of a\n"
B = A.replace("pop-client-a", "pop-client-b").replace("a@", "b@").replace("of a", "of b")
G = """\
[pop-client-g]
type = IMAP
mailbox = g@gmail.com
mail.imap.auth.mechanisms = XOAUTH2
tenant-authority = google
client-id = 1
secret = gmail
password = 1//refresh
"""
SECRET = "[secret-gmail]\npassword = client secret\n"
AUTHORITY = "[authority-google]\ntoken_endpoint = http://127.0.0.1:1/token\n"


class File:
    """A configuration file, and what runs from it."""

    def __init__(self, folder: Path, text: str, environ: dict[str, str] | None = None) -> None:
        self.path = folder / "postroom.ini"
        self.environ = environ or {}
        self.write(text)
        self.live = Live(load(self.path, self.environ), self.environ)

    def write(self, text: str) -> None:
        self.path.write_text(text, encoding="utf-8")


# --- files ------------------------------------------------------------------------------------------------------------


def test_the_file_is_here_or_the_systems(tmp_path: Path) -> None:
    here, system = tmp_path / "here", tmp_path / "etc" / "postroom.ini"
    here.mkdir()
    system.parent.mkdir()
    with pytest.raises(ConfigError, match=r"no postroom.ini in .*here and no .*etc/postroom.ini; name the file"):
        default_file(here, system)
    system.touch()
    assert default_file(here, system) == system
    (here / "postroom.ini").touch()
    assert default_file(here, system) == here / "postroom.ini"


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (None, "the file cannot be read (No such file or directory)"),
        (b"[a]\nb = \xfc\n", "the file is not text in UTF-8: line 2 holds other octets"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_fault_of_the_whole(tmp_path: Path, octets: bytes | None, problem: str) -> None:
    file = tmp_path / "postroom.ini"
    if octets is not None:
        file.write_bytes(octets)
    configuration = load(file, {})
    (fault,) = configuration.faults
    assert (configuration.whole, fault.whole, fault.problem) == (True, True, problem)
    assert str(fault).startswith(f"{file}: {problem}.")
    assert configuration.settings.data_directory == tmp_path / "data"


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "postroom.ini"
    file.write_bytes(b"\xef\xbb\xbf" + A.encode())
    assert list(load(file, {}).clients) == ["pop-client-a"]


def test_relative_paths_begin_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file\n")
    file = File(tmp_path, A.replace("secret of a", "file:token"))
    client = file.live.client("pop-client-a")
    assert client is not None
    assert client.password == Secret("from a file")
    (tmp_path / "token").write_text("a newer one\n")
    assert file.live.reload().changed == ("pop-client-a",)


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return File(tmp_path, A + B.replace("[pop-client-b]", "[pop-client]") + "[pop-client-faulty]\ntype = none\n").live.configuration


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("pop-client-a", "pop-client-a"),
        ("a", "pop-client-a"),
        ("A", "pop-client-a"),
        ("pop-client", "pop-client"),
        ("faulty", "pop-client-faulty"),
    ],
)
def test_a_client_has_a_whole_and_a_short_name(configuration: Configuration, name: str, section: str) -> None:
    assert find_client(configuration, name) == section


def test_an_smtp_client_is_found_by_both_names_too(tmp_path: Path) -> None:
    text = A + "[smtp-client-a]\nserver = mail.example.org\n[smtp-client-s]\nserver = mail.example.org\naddresses = example.org\n"
    configuration = File(tmp_path, text).live.configuration
    assert find_client(configuration, "S") == "smtp-client-s"
    assert find_client(configuration, "smtp-client-A") == "smtp-client-a"
    with pytest.raises(ConfigError, match="'a' is more than one client: pop-client-a, smtp-client-a; give the whole name"):
        find_client(configuration, "a")
    assert find_clients(configuration, "A") == ["pop-client-a", "smtp-client-a"]
    assert find_clients(configuration, "s") == ["smtp-client-s"]


def test_an_unknown_client_is_answered_with_the_names(configuration: Configuration) -> None:
    with pytest.raises(ConfigError, match="no client is named 'x'; there are: pop-client-a, pop-client, pop-client-faulty"):
        find_client(configuration, "x")


# --- while it runs ----------------------------------------------------------------------------------------------------


def test_the_same_file_changes_nothing(tmp_path: Path) -> None:
    file = File(tmp_path, A + G + SECRET + AUTHORITY)
    changes = file.live.reload()
    assert (changes.added, changes.removed, changes.changed, changes.kept, changes.waiting) == ((), (), (), (), ())


def test_clients_come_change_and_go(tmp_path: Path) -> None:
    file = File(tmp_path, A + B)
    former = file.live.client("pop-client-b")
    file.write(B + "cycle-time = 5m\n" + G + SECRET)
    changes = file.live.reload()
    assert (changes.added, changes.removed, changes.changed) == (
        ("pop-client-g",),
        ("pop-client-a",),
        ("pop-client-b",),
    )
    assert file.live.client("pop-client-a") is None
    now = file.live.client("pop-client-b")
    assert now is not None
    assert former is not None
    assert (former.cycle_time, now.cycle_time) == (60, 300)


def test_a_faulty_section_goes_on_as_it_ran_and_the_others_take_theirs(tmp_path: Path) -> None:
    file = File(tmp_path, A + B)
    file.write(A.replace("secret of a", "new") + "cycle-time = often\n" + B.replace("secret of b", "new"))
    changes = file.live.reload()
    assert (changes.changed, changes.kept, changes.removed) == (("pop-client-b",), ("pop-client-a",), ())
    a, b = file.live.client("pop-client-a"), file.live.client("pop-client-b")
    assert a is not None
    assert b is not None
    assert (a.password, b.password) == (Secret("secret of a"), Secret("new"))
    assert file.live.configuration.faulty == {"pop-client-a"}
    (fault,) = file.live.configuration.faults_of("pop-client-a")
    assert (fault.line, fault.value) == (6, "often")
    file.write(A.replace("secret of a", "new") + B.replace("secret of b", "new"))
    assert file.live.reload().changed == ("pop-client-a",)
    assert file.live.configuration.faulty == frozenset()


def test_a_section_that_never_was_sound_stays_down(tmp_path: Path) -> None:
    file = File(tmp_path, A + B.replace("IMAP", "EWS"))
    assert file.live.client("pop-client-b") is None
    assert file.live.reload().kept == ()
    file.write(A + B)
    assert file.live.reload().added == ("pop-client-b",)


@pytest.mark.parametrize("text", ["x = 1\n" + B, "[settings]\nvault-key = x\n" + B, None])
def test_a_fault_of_the_whole_leaves_everything_as_it_runs(tmp_path: Path, text: str | None) -> None:
    file = File(tmp_path, A)
    former = file.live.configuration
    if text is None:
        file.path.unlink()
    else:
        file.write(text)
    changes = file.live.reload()
    assert (changes.added, changes.removed, changes.changed, changes.kept) == ((), (), (), ("pop-client-a",))
    assert file.live.configuration.whole
    assert file.live.configuration.clients == former.clients
    assert file.live.configuration.settings == former.settings
    file.write(A)
    assert file.live.reload().kept == ()
    assert not file.live.configuration.whole


@pytest.mark.parametrize(
    "text",
    [
        G + SECRET.replace("client secret", "another") + AUTHORITY,
        G + SECRET + AUTHORITY.replace("127.0.0.1:1", "127.0.0.1:2"),
        G + SECRET,
    ],
)
def test_a_changed_secret_or_authority_changes_the_clients_that_use_it(tmp_path: Path, text: str) -> None:
    file = File(tmp_path, A + G + SECRET + AUTHORITY)
    file.write(A + text)
    assert file.live.reload().changed == ("pop-client-g",)


def test_what_nobody_uses_changes_nobody(tmp_path: Path) -> None:
    file = File(tmp_path, A + SECRET + AUTHORITY)
    file.write(A)
    assert file.live.reload().changed == ()


@pytest.mark.parametrize("text", [G, G + "[secret-gmail]\npassword = env:NONE\n", G + "[secret-gmail]\npassword\n"])
def test_a_lost_secret_leaves_its_clients_as_they_run(tmp_path: Path, text: str) -> None:
    file = File(tmp_path, G + SECRET)
    file.write(text)
    changes = file.live.reload()
    client = file.live.client("pop-client-g")
    assert (changes.changed, changes.kept) == ((), ("pop-client-g",))
    assert client is not None
    assert client.secret is not None
    assert file.live.configuration.secrets[client.secret].password == Secret("client secret")
    assert file.live.configuration.faults_of("pop-client-g")


def test_a_broken_authority_leaves_its_clients_as_they_run(tmp_path: Path) -> None:
    file = File(tmp_path, G + SECRET + AUTHORITY)
    file.write(G + SECRET + AUTHORITY.replace("http:", "ftp:"))
    assert file.live.reload().kept == ("pop-client-g",)
    assert file.live.configuration.authorities["google"].token_endpoint == "http://127.0.0.1:1/token"


def test_what_acts_at_a_start_waits_for_it(tmp_path: Path) -> None:
    file = File(tmp_path, A)
    file.write(A + "[settings]\ndata-directory = elsewhere\n[web]\nlisten = 127.0.0.1:1\n[log]\nlevel = debug\n")
    assert file.live.reload().waiting == ("settings", "web")
    running = file.live.configuration
    assert (running.settings.data_directory, running.web.port) == (tmp_path / "data", 8025)
    assert running.log.level == "debug"


def test_faulty_log_and_web_go_on_as_they_ran(tmp_path: Path) -> None:
    file = File(tmp_path, "[Log]\nlevel = debug\n[web]\nlisten = 127.0.0.1:1\n")
    file.write("[Log]\nlevel = loud\n[web]\nlisten = x\n")
    assert file.live.reload().waiting == ()
    assert (file.live.configuration.log.level, file.live.configuration.web.port) == ("debug", 1)
