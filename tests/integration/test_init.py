"""``postroom init ADDRESS``: from an address to the first message."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from consenting import AtTerminal, asking
from running import Here, letter

from postroom.app.operations.authorize import Wish
from postroom.app.operations.init import Given, init
from postroom.errors import ConfigError
from postroom.net.resolver import Resolver
from servers.authority import PUBLIC, TEST, Authority
from servers.browser import Browser
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.dovecot_config import PASSWORD
from servers.names import serving
from servers.postfix import Postfix
from servers.waiting import wait_for

ADDRESS = "init@gmail.com"
A, S = "pop-client-init", "smtp-client-init"
FIRST = "Send a first message with: "


@pytest.fixture
def here(tmp_path: Path, authority: Authority, dovecot: Dovecot, postfix: Postfix, certificates: Certificates) -> Here:
    """A file in which Google and Microsoft, and all mail servers, are this machine's."""
    here = Here(tmp_path)
    here.put("authority-google", {"token_endpoint": authority.token_url, "authorization_endpoint": authority.authorize_url})
    here.put(
        "authority-microsoft",
        {
            "token_endpoint": f"{authority.url}/{{tenant}}/oauth2/v2.0/token",
            "authorization_endpoint": f"{authority.url}/{{tenant}}/oauth2/v2.0/authorize",
            "admin_consent_endpoint": f"{authority.url}/{{tenant}}/v2.0/adminconsent",
        },
    )
    shared = {"server": "localhost", "port": dovecot.imap_port, "pop-connection-security": "none"}
    here.put("defaults-pop-client", shared)
    where = {"server": "localhost", "port": postfix.submission_port, "tls-ca-file": certificates.ca_file}
    here.put("defaults-smtp-client", where)
    return here


class TestGoogle:
    def test_every_question_and_one_consent(
        self, here: Here, authority: Authority, browser: Browser, dovecot: Dovecot, mailbox_user: str
    ) -> None:
        dovecot.deliver(ADDRESS, letter(1))
        dovecot.deliver(ADDRESS, letter(2))
        with AtTerminal(here, "init", ADDRESS, "--no-browser") as person:
            person.answer("Your choice (1, 2 or 3; Enter for 1): ", "")
            person.answer("client_secret_….json (Enter if you have none): ", "")
            person.answer("The application's client ID: ", TEST.id)
            person.answer("The application's client_secret (it goes into secret-google.txt, readable by you alone): ", TEST.secret)
            person.answer("internal, in production or in testing? (i, p, t)", "t")
            person.answer("Your choice (1, 2 or a day; Enter for 1): ", "")
            person.answer(f"Send mail from {ADDRESS} too? [Y/n] ", "")
            person.answer(f"Write this to {here.file}? [Y/n] ", "")
            browser.consent(person.address(), account=ADDRESS)
            person.answer("Capture the newest message now, to see that it works? [Y/n] ", "")
            done = person.done()
        assert done.status == 0, done.out
        assert TEST.secret not in done.out
        assert "1 message is here" in done.out
        assert f"[{A}] and [{S}] now." in done.out
        assert f"{FIRST}postroom send --from {ADDRESS} --to {ADDRESS} --subject Hello --text 'It works.' --wait" in done.out
        assert authority.count() == 1
        assert {section: finding["ok"] for section, finding in here.check("init").items()} == {A: True, S: True}
        assert len(here.messages()) == 1
        assert here.file.read_text().startswith("[settings]")  # what was there stays
        assert "secret = google" in here.file.read_text()
        assert (here.directory / "secret-google.txt").stat().st_mode & 0o777 == 0o600
        [ending] = [each for each in here.status(A)["endings"] if each["what"] == "testing"]
        assert ending["certain"]

    def test_googles_own_file_and_every_option(self, here: Here, browser: Browser) -> None:
        file = here.directory / "client_secret_1.json"
        file.write_text(json.dumps({"installed": {"client_id": TEST.id, "client_secret": TEST.secret}}))
        options = ("--application", file.name, "--publishing-status", "internal", "--yes", "--no-capture", "--manual")
        with asking(here, "init", ADDRESS, *options) as person:
            person.answer(browser.consent(person.address(), account=ADDRESS))
            done = person.done()
        assert done.status == 0, done
        assert "password = file:client_secret_1.json" in here.file.read_text()
        assert {section: finding["ok"] for section, finding in here.check().items()} == {A: True, S: True}

    def test_only_to_read(self, here: Here, browser: Browser) -> None:
        here.put("secret-google", {"password": TEST.secret})
        options = ("--client-id", TEST.id, "--publishing-status", "internal", "--no-send", "--yes", "--no-capture", "--manual")
        with asking(here, "init", ADDRESS, *options) as person:
            person.answer(browser.consent(person.address(), account=ADDRESS))
            done = person.done()
        assert (done.status, FIRST in done.out + done.err) == (0, False)
        assert list(here.check()) == [A]

    def test_what_reads_goes_on_where_what_sends_does_not(self, here: Here, browser: Browser, dovecot: Dovecot) -> None:
        """As at a company that has SMTP switched off."""
        user = "reads-only@gmail.com"
        dovecot.deliver(user, letter(1))
        here.put("secret-google", {"password": TEST.secret})
        here.put("defaults-smtp-client", {"port": 1})
        options = ("--client-id", TEST.id, "--publishing-status", "internal", "--yes", "--capture", "--manual")
        with asking(here, "init", user, *options) as person:
            person.answer(browser.consent(person.address(), account=user))
            done = person.done()
        assert done.status == 1
        assert "1 message is here" in done.err
        assert "Nothing is sent yet; when it is mended: postroom authorize reads-only" in done.err
        assert {section: finding["ok"] for section, finding in here.check().items()} == {
            "pop-client-reads-only": True,
            "smtp-client-reads-only": False,
        }

    def test_an_address_that_another_account_sends_for(self, here: Here) -> None:
        here.put("smtp-client-desk", {"addresses": f"{ADDRESS.upper()}, example.test"})
        (here.directory / "s.txt").write_text("pw")
        options = ("--yes", "--grant", "password", "--secret-file", "s.txt")
        done = here.command("init", ADDRESS, *options, "--send", status=2)
        assert f"[smtp-client-desk] sends for {ADDRESS} already." in done.err
        done = here.command("init", ADDRESS, *options, status=1)  # no right password
        assert f"[smtp-client-desk] sends for {ADDRESS} already." in done.err
        assert S not in here.file.read_text()

    def test_what_is_missing_without_a_terminal_is_told_at_once(self, here: Here) -> None:
        before = here.file.read_text()
        done = here.command("init", ADDRESS, "--yes", status=2)
        assert "--client-id, --secret-file" in done.err
        assert here.file.read_text() == before

    def test_no_is_no(self, here: Here) -> None:
        before = here.file.read_text()
        with AtTerminal(here, "init", ADDRESS, "--client-id", TEST.id, "--grant", "refresh_token") as person:
            person.answer("client_secret (it goes", TEST.secret)
            person.answer("(i, p, t)", "")
            person.answer("Enter for 1): ", "")
            person.answer("too? [Y/n] ", "n")
            person.answer(f"Write this to {here.file}? [Y/n] ", "n")
            done = person.done()
        assert (done.status, here.file.read_text()) == (1, before)
        assert not (here.directory / "secret-google.txt").exists()

    def test_a_second_mailbox_uses_the_same_application(self, here: Here, browser: Browser) -> None:
        here.put("secret-google", {"password": TEST.secret})
        options = ("--client-id", TEST.id, "--publishing-status", "internal", "--grant", "refresh_token", "--no-send")
        with asking(here, "init", "second@gmail.com", *options, "--yes", "--no-capture", "--manual") as person:
            person.answer(browser.consent(person.address(), account="second@gmail.com"))
            done = person.done()
        assert done.status == 0, done
        assert here.file.read_text().count("\n[secret-google]\n") == 1

    def test_the_same_mailbox_again(self, here: Here) -> None:
        here.put(A, {"type": "IMAP", "mailbox": ADDRESS, "password": "x"})
        secret = here.directory / "s.txt"
        secret.write_text(TEST.secret)
        done = here.command("init", ADDRESS, "--yes", "--client-id", TEST.id, "--secret-file", "s.txt", status=2)
        assert f"[{A}]" in done.err
        assert "reads the mailbox" in done.err


class TestMicrosoft:
    def test_one_consent_to_read_and_to_send(self, here: Here, authority: Authority, browser: Browser) -> None:
        options = ("--client-id", PUBLIC.id, "--yes", "--no-capture", "--manual")
        with asking(here, "init", "boss@outlook.com", *options) as person:
            address = person.address()
            person.answer(browser.consent(address, account="boss@outlook.com"))
            done = person.done()
        assert done.status == 0, done
        [scope] = parse_qs(urlsplit(address).query)["scope"]
        assert [right in scope for right in ("IMAP.AccessAsUser.All", "SMTP.Send")] == [True, True]
        assert authority.count() == 1
        assert {section: finding["ok"] for section, finding in here.check("boss").items()} == {
            "pop-client-boss": True,
            "smtp-client-boss": True,
        }

    def test_a_personal_account_has_no_administrator(self, here: Here) -> None:
        (here.directory / "s.txt").write_text(TEST.secret)
        options = ("--client-id", TEST.id, "--secret-file", "s.txt", "--grant", "client_credentials", "--directory-id", "t-1")
        done = here.command("init", "boss@outlook.com", *options, "--yes", status=2)
        assert "Valid is refresh_token." in done.err


class Told:
    """A person who answers from a list; what was said is kept."""

    interactive = True

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.heard: list[str] = []

    def say(self, words: str) -> None:
        self.heard.append(words)

    warn = say

    def address(self, address: str, *, open_browser: bool) -> None:
        self.heard.append(address)

    def device(self, uri: str, code: str, complete: str) -> None:
        self.heard.append(uri)

    async def ask(self, prompt: str) -> str:
        self.heard.append(prompt)
        return self.answers.pop(0)

    ask_secret = ask


@pytest.mark.parametrize("protocol", ["IMAP", "POP3"])
async def test_a_domain_of_its_own_with_a_password(here: Here, dovecot: Dovecot, mailbox_user: str, protocol: str) -> None:
    """The domain's own SRV record tells the server; the person gives the password; the newest message is captured."""
    here.put("defaults-pop-client", {"server": None, "port": None, "pop-connection-security": None, "tls-ca-file": dovecot.ca_file})
    for number in range(2):
        dovecot.deliver(mailbox_user, letter(number))
    port = dovecot.imaps_port if protocol == "IMAP" else dovecot.pop3s_port
    zone = {(f"_{protocol.lower()}s._tcp.example.test", "SRV"): (f"0 1 {port} localhost.",)}
    person = Told(PASSWORD, "", "y", "y")
    async with serving(zone) as names:
        resolver = Resolver(["127.0.0.1"], port=names.port)
        assert await init(here.file, Given(mailbox_user), Wish(), person, resolver) == 0
    assert [message["client"] for message in here.messages()] == [f"pop-client-{mailbox_user.partition('@')[0]}"]
    assert PASSWORD not in here.file.read_text()
    assert any("1 message is here" in words for words in person.heard)
    assert f"type = {protocol}\n" in here.file.read_text()
    assert "first-read = all\n" in here.file.read_text()
    told, *_ = [words for words in person.heard if "first-read" in words and "INBOX was never read" in words]
    assert "takes 2 messages, about" in told
    assert person.heard.index(told) < person.heard.index("Capture the newest message now, to see that it works? [Y/n] ")


async def test_a_domain_of_its_own_sends_a_first_message(
    here: Here, dovecot: Dovecot, postfix: Postfix, certificates: Certificates, mailbox_user: str
) -> None:
    """The domain's SRV records tell both servers; what is said at the end sends, and the mailbox has it."""
    here.put("defaults-pop-client", {"server": None, "port": None, "pop-connection-security": None, "tls-ca-file": dovecot.ca_file})
    here.put("defaults-smtp-client", {"server": None, "port": None})
    zone = {
        ("_imaps._tcp.example.test", "SRV"): (f"0 1 {dovecot.imaps_port} localhost.",),
        ("_submission._tcp.example.test", "SRV"): (f"0 1 {postfix.submission_port} localhost.",),
    }
    person = Told(PASSWORD, "", "y", "y", "n")
    async with serving(zone) as names:
        resolver = Resolver(["127.0.0.1"], port=names.port)
        assert await init(here.file, Given(mailbox_user), Wish(), person, resolver) == 0
    assert f"Send mail from {mailbox_user} too? [Y/n] " in person.heard
    name = mailbox_user.partition("@")[0]
    assert any(f"smtp-client-{name}" in words and "logged in at localhost:" in words for words in person.heard)
    [first] = [words.removeprefix(FIRST) for words in person.heard if words.startswith(FIRST)]
    program, *arguments = shlex.split(first)
    assert program == "postroom"
    here.command(*arguments)
    wait_for(lambda: len(dovecot.raw(mailbox_user)) == 1, "the first message")
    [message] = dovecot.raw(mailbox_user).values()
    assert b"\r\n\r\nIt works.\r\n" in message
    here.read()
    assert [found["subject"] for found in here.messages()] == ["Hello"]


async def test_where_nothing_tells_who_takes_mail(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    here.put("defaults-pop-client", {"server": None, "port": None, "pop-connection-security": None, "tls-ca-file": dovecot.ca_file})
    zone = {("_imaps._tcp.example.test", "SRV"): (f"0 1 {dovecot.imaps_port} localhost.",)}
    person = Told(PASSWORD, "2", "y")
    async with serving(zone) as names:
        resolver = Resolver(["127.0.0.1"], port=names.port)
        with pytest.raises(ConfigError, match=f"Nothing tells where {mailbox_user} hands in what it sends"):
            await init(here.file, Given(mailbox_user, send=True), Wish(), person, resolver)
        assert await init(here.file, Given(mailbox_user), Wish(), person, resolver) == 0
    assert any(words.startswith(f"Nothing tells where {mailbox_user} hands in") for words in person.heard)
    assert "smtp-client-" not in here.file.read_text().replace("defaults-smtp-client", "")


@pytest.mark.parametrize(("said", "written"), [("2", "new"), ("NEW", "new"), ("2020-02-29", "2020-02-29")])
async def test_p26_a_person_chooses_what_a_first_read_takes(
    here: Here, dovecot: Dovecot, mailbox_user: str, said: str, written: str
) -> None:
    here.put("defaults-pop-client", {"server": None, "port": None, "pop-connection-security": None, "tls-ca-file": dovecot.ca_file})
    dovecot.deliver(mailbox_user, letter(1))
    zone = {("_imaps._tcp.example.test", "SRV"): (f"0 1 {dovecot.imaps_port} localhost.",)}
    person = Told(PASSWORD, said, "y", "n")
    async with serving(zone) as names:
        resolver = Resolver(["127.0.0.1"], port=names.port)
        assert await init(here.file, Given(mailbox_user), Wish(), person, resolver) == 0
    assert f"first-read = {written}\n" in here.file.read_text()
    assert person.answers == ([] if written != "new" else ["n"])  # of new mail there is none to capture
    takes = "takes 0 messages" if written == "new" else "takes 1 messages, about"
    assert any(takes in words for words in person.heard)


def test_p26_what_a_first_read_takes_is_given_by_an_option(here: Here) -> None:
    (here.directory / "s.txt").write_text("pw")
    options = ("--yes", "--grant", "password", "--secret-file", "s.txt")
    here.command("init", ADDRESS, *options, "--first-read", "new", status=1)  # no right password
    assert "first-read = new\n" in here.file.read_text()
    done = here.command("init", "other@gmail.com", *options, "--first-read", "soon", status=2)
    assert "Valid is all, new, YYYY-MM-DD." in done.err


def test_an_address_that_is_none(here: Here) -> None:
    assert "'nonsense' is not an e-mail address" in here.command("init", "nonsense", status=2).err
