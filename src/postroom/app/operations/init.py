"""``postroom init ADDRESS``: from an address to the first message, one question at a time.

The steps: find provider and servers; ask what only a person knows; show the sections, of the mailbox and of the account that
sends, and write them beside what the file holds; get the one consent; take the way to both servers; offer to capture the first
message. Every question has an option, so that a
script can answer it; what is missing without a terminal is told all at once.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from postroom.app.config import Live, load
from postroom.app.observing import Quiet
from postroom.app.operations import draft, into_file
from postroom.app.operations.authorize import Wish
from postroom.app.operations.authorizing import authorize_clients
from postroom.app.operations.check import as_lines
from postroom.app.operations.check import check as check_clients
from postroom.app.operations.talk import Talk
from postroom.app.serve import run_once
from postroom.app.terminal import FAILED
from postroom.clock import SystemClock
from postroom.drivers.provider import Providers
from postroom.errors import ConfigError
from postroom.net.discovery import Found, discover
from postroom.net.http import Http
from postroom.net.resolver import Resolver
from postroom.net.stream import Dialer
from postroom.secret import Secret
from postroom.settings import Configuration
from postroom.settings.ini import read_ini
from postroom.settings.option import Surroundings
from postroom.settings.values import date, first_read, google_application

GOOGLE, MICROSOFT = "google", "microsoft"


@dataclass(frozen=True)
class Given:
    """What the command line answered already. None: it is asked, or has a default."""

    address: str
    name: str | None = None
    grant: str | None = None  # password: basic authentication; else one of draft.GRANTS
    application: Path | None = None  # Google's client_secret_….json
    client_id: str | None = None
    directory_id: str | None = None
    secret_file: Path | None = None  # of the client_secret or, with basic authentication, of the password
    expires: str | None = None
    publishing_status: str | None = None
    oauth_user: str | None = None
    first_read: str | None = None  # all, new or YYYY-MM-DD
    yes: bool = False  # write without asking
    send: bool | None = None  # also by this account
    capture: bool | None = None


async def init(file: Path, given: Given, wish: Wish, talk: Talk, resolver: Resolver | None = None) -> int:
    """Carry it out; the exit status. Raises ``ConfigError`` and what the steps raise; a file is written whole or not at all."""
    configuration = load(file, os.environ)
    found = await _found(given.address, configuration, talk, resolver)
    if not found.useful:
        raise ConfigError(f"nothing tells where the mail of {found.domain} is: write the section by hand, with server and type")
    existing = file.read_text("utf-8") if file.exists() else ""
    sends_already = next((section for section, names in configuration.routes.items() if found.address.lower() in names), None)
    answers, secrets = await _Questions(found, given, existing, file.parent, talk, sends_already).answers()
    text = draft.drafted(found, answers)
    merged = into_file.merged(existing, text)
    sections = [f"pop-client-{answers.name}", *([f"smtp-client-{answers.name}"] if answers.sends else [])]
    talk.say(f"\n{text}")
    if not given.yes and not await _yes(talk, f"Write this to {file}?"):
        talk.say("Nothing was written.")
        return 1
    for path, secret in secrets.items():
        into_file.write_secret(path, secret)
    into_file.put(file, merged)
    talk.say(f"{file} has {' and '.join(f'[{section}]' for section in sections)} now.")
    return await _connect(Live(load(file, os.environ), os.environ), sections, answers, wish, talk, given)


async def _found(address: str, configuration: Configuration, talk: Talk, resolver: Resolver | None) -> Found:
    for fault in configuration.faults_of("proxy"):
        raise fault.error()
    http = Http(Dialer(), via=configuration.proxy)
    try:
        return await discover(address, Providers(), http, resolver or Resolver(), talk.say)
    finally:
        await http.close()


async def _connect(live: Live, sections: list[str], answers: draft.Answers, wish: Wish, talk: Talk, given: Given) -> int:
    """Consent and logins; the exit status. What reads goes on where only what sends does not work yet."""
    reader, *senders = sections
    needs_consent = answers.oauth is not None and answers.oauth.grant_type in ("refresh_token", "client_credentials")
    if needs_consent:
        status = await authorize_clients(live, sections, wish, talk, everything=False, as_json=False)
        failed = [finding.client for finding in await check_clients(live, sections) if not finding.ok] if status else []
        again = f"postroom authorize {answers.name}"
    else:
        findings = await check_clients(live, sections)
        for line in (line for finding in findings for line in as_lines(finding)):
            talk.say(line)
        failed = [finding.client for finding in findings if not finding.ok]
        again = f"postroom check {answers.name}"
    if reader in failed:
        both = "sections stay" if senders else "section stays"
        talk.say(f"The {both} in {live.configuration.file}. When it is mended, go on with: {again}")
        return FAILED
    capture = given.capture
    if capture is None and answers.first_read != "new":  # of which no message is there yet
        capture = talk.interactive and await _yes(talk, "Capture the newest message now, to see that it works?")
    if capture:
        await _capture_one(live, reader, talk)
    if failed:
        talk.say(f"Read all mailboxes as a service with: postroom run. Nothing is sent yet; when it is mended: {again}")
        return FAILED
    talk.say("Everything is ready. Read all mailboxes as a service with: postroom run")
    if senders:
        address = given.address.strip()
        first = f"postroom send --from {address} --to {address} --subject Hello --text 'It works.' --wait"
        talk.say(f"Send a first message with: {first}")
    return 0


async def _capture_one(live: Live, section: str, talk: Talk) -> None:
    """One cycle that takes one message."""
    configuration = live.configuration
    client = dataclasses.replace(configuration.clients[section], maximum_msg_number=1)
    one = dataclasses.replace(configuration, clients={section: client})
    log = Quiet(live, SystemClock())
    [result] = await run_once(Live(one, os.environ), log, [section], cycles=1)
    if result.error is not None:
        raise result.error
    if result.watch.total.captured:
        talk.say(f"1 message is here, {result.watch.total.octets} octets. See it with: postroom messages list")
    else:
        talk.say("The mailbox holds no message that is not here yet; the next one will be captured.")


async def _yes(talk: Talk, question: str) -> bool:
    return (await talk.ask(f"{question} [Y/n] ")).strip().lower() in ("", "y", "yes")


class _Questions:
    """What only a person knows, asked where the command line did not say it."""

    def __init__(self, found: Found, given: Given, existing: str, folder: Path, talk: Talk, sends_already: str | None) -> None:
        self._found = found
        self._given = given
        self._existing = existing
        self._folder = folder
        self._talk = talk
        self._sends_already = sends_already  # the section that sends for the address
        self._secrets: dict[Path, Secret] = {}
        self._missing: list[str] = []

    async def answers(self) -> tuple[draft.Answers, Mapping[Path, Secret]]:
        """The answers, and the secrets to be put into files. ConfigError names all options that are missing."""
        may_send = self._may_send()
        stems = ("pop-client-", "smtp-client-") if may_send else ("pop-client-",)
        name = self._given.name or into_file.free_name(self._existing, draft.suggested_name(self._found.address), *stems)
        grant = self._given.grant or await self._grant()
        if grant == "password":
            reference = await self._secret_file("The mailbox's password", f"{name}-password.txt")
            answers = draft.Answers(name=name, password=reference)
        else:
            answers = draft.Answers(name=name, oauth=await self._oauth(grant))
        answers = dataclasses.replace(answers, first_read=await self._first_read(), sends=may_send and await self._sends())
        if self._missing:
            raise ConfigError(f"without a terminal these must be given: {', '.join(self._missing)}")
        return answers, self._secrets

    async def _grant(self) -> str:
        provider = self._found.provider
        if provider == MICROSOFT and not self._found.personal:
            self._talk.say(
                "Microsoft 365. For a company's mailboxes an application with a right of its own is best: one administrator "
                "consents once, and no person's sign-in can end it (1). For one account a person consents (2)."
            )
            return "refresh_token" if await self._choice("1 or 2", "1", "--grant") == "2" else "client_credentials"
        if provider == GOOGLE:
            self._talk.say(
                "Google. With an OAuth client of type Desktop a person consents (1); with a Workspace's service account an "
                "administrator delegates for the domain (2); an application password needs no application (3)."
            )
            chosen = await self._choice("1, 2 or 3", "1", "--grant")
            return {"2": "service_account", "3": "password"}.get(chosen, "refresh_token")
        return "refresh_token" if provider == MICROSOFT else "password"

    async def _first_read(self) -> str:
        """The choice as it is written; it is asked of everybody, for the first connection must neither flood nor surprise."""
        said = self._given.first_read
        if said is None:
            self._talk.say("What of the messages that are in the mailbox already is to be read: all (1), none, only new ones (2)?")
            self._talk.say("Or those that came on a day or later: write the day, YYYY-MM-DD.")
            said = await self._choice("1, 2 or a day", "1", "--first-read")
        said = {"1": "all", "2": "new"}.get(said, said.lower())
        try:
            first_read(said, Surroundings(self._folder, {}, Path.read_bytes))
        except ValueError:
            raise ConfigError(f"{said!r} is no choice of a first read", option="first-read", valid="all, new, YYYY-MM-DD") from None
        return said

    def _may_send(self) -> bool:
        """Whether the account can be set up to send too; where it cannot, that is told. Raises ``ConfigError`` where it is to."""
        if self._given.send is False:
            return False
        address = self._found.address
        if self._sends_already is not None:
            hindrance = f"[{self._sends_already}] sends for {address} already."
        elif self._found.server("smtp") is None:
            hindrance = f"Nothing tells where {address} hands in what it sends: for that write a section smtp-client by hand."
        else:
            return True
        if self._given.send:
            raise ConfigError(hindrance)
        self._talk.say(hindrance)
        return False

    async def _sends(self) -> bool:
        if self._given.send is not None or not self._talk.interactive:
            return True
        return await _yes(self._talk, f"Send mail from {self._found.address} too?")

    async def _choice(self, prompt: str, default: str, option: str) -> str:
        if not self._talk.interactive:
            return default
        return (await self._talk.ask(f"Your choice ({prompt}; Enter for {default}): ")).strip() or default

    async def _oauth(self, grant: str) -> draft.OAuthAnswers:
        if grant == "service_account":
            reference = await self._file("The key file of the service account (JSON)", "--secret-file", self._given.secret_file)
            return draft.OAuthAnswers(grant_type=grant, secret_name="google", secret=reference)  # noqa: S106 - a section's name
        name = self._found.provider or self._found.domain
        there = self._there(name)
        if there is not None:
            self._talk.say(f"[secret-{name}] is there already: its application opens this mailbox too.")
            client_id, secret = self._given.client_id or there or await self._client_id(), ""
        else:
            client_id, secret = await self._application(grant)
        directory = self._given.directory_id or ""
        if self._found.provider == MICROSOFT and not self._found.personal and not directory:
            directory = await self._text("The directory (tenant) ID", "--directory-id", needed=grant == "client_credentials")
        return draft.OAuthAnswers(
            grant_type=grant,
            client_id=client_id,
            directory_id=directory,
            secret_name=name if secret or there is not None else "",
            secret=secret,
            oauth_user=self._given.oauth_user or "",
            expires=await self._expires() if secret and self._found.provider == MICROSOFT else "",
            publishing_status=await self._publishing() if secret and self._found.provider == GOOGLE else "",
        )

    async def _application(self, grant: str) -> tuple[str, str]:
        """The client ID, and the reference to its secret."""
        application = self._given.application
        if application is None and self._found.provider == GOOGLE and self._given.client_id is None and self._talk.interactive:
            said = await self._talk.ask("Google's downloaded client_secret_….json (Enter if you have none): ")
            application = Path(said.strip()).expanduser() if said.strip() else None
        if application is not None:
            return _read_application(application)[0], f"file:{_beside(application, self._folder)}"
        client_id = self._given.client_id or await self._client_id()
        public = self._found.provider == MICROSOFT and grant == "refresh_token"
        words = "The application's client_secret" + (" (Enter for a public client)" if public else "")
        name = f"secret-{self._found.provider or self._found.domain}.txt"
        return client_id, await self._secret_file(words, name, needed=not public)

    async def _client_id(self) -> str:
        return await self._text("The application's client ID", "--client-id", needed=True)

    def _there(self, name: str) -> str | None:
        """The client ID that a ``secret-`` section of the file is used with, empty where nobody uses it; None without it."""
        sections = read_ini(self._existing, "").sections
        if f"secret-{name}".lower() not in sections:
            return None
        for section in sections.values():
            entries = section.entries
            if "secret" in entries and "client-id" in entries and entries["secret"].value.lower() == name.lower():
                return entries["client-id"].value
        return ""

    async def _secret_file(self, words: str, name: str, *, needed: bool = True) -> str:
        if self._given.secret_file is not None:
            return f"file:{_beside(self._given.secret_file, self._folder)}"
        if not self._talk.interactive:
            if needed:
                self._missing.append("--secret-file")
            return ""
        text = (await self._talk.ask_secret(f"{words} (it goes into {name}, readable by you alone): ")).strip()
        if not text:
            return ""
        self._secrets[self._folder / name] = Secret(text)
        return f"file:{name}"

    async def _file(self, words: str, option: str, given: Path | None) -> str:
        if given is None:
            said = await self._text(words, option, needed=True)
            given = Path(said).expanduser() if said else None
        return f"file:{_beside(given, self._folder)}" if given is not None else ""

    async def _text(self, words: str, option: str, *, needed: bool) -> str:
        if not self._talk.interactive:
            if needed:
                self._missing.append(option)
            return ""
        return (await self._talk.ask(f"{words}{'' if needed else ' (Enter for none)'}: ")).strip()

    async def _expires(self) -> str:
        said = self._given.expires
        if said is None:
            said = await self._text("The day on which that secret ends, YYYY-MM-DD", "--expires", needed=False)
        if said:
            date(said, Surroundings(self._folder, {}, Path.read_bytes))  # ValueError is told below
        return said

    async def _publishing(self) -> str:
        said = self._given.publishing_status
        if said is None:
            said = await self._text("The application is internal, in production or in testing? (i, p, t)", "", needed=False)
        return {"i": "internal", "p": "production", "t": "testing"}.get(said[:1].lower(), "")


def _read_application(file: Path) -> tuple[str, Secret]:
    try:
        return google_application(Secret(file.read_text("utf-8")))
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}", value=str(file)) from None
    except ValueError as error:
        raise ConfigError(f"{file} {error}", value=str(file)) from None


def _beside(file: Path, folder: Path) -> str:
    """How the configuration refers to a file: by its name where it stands beside it."""
    absolute = file.expanduser().absolute()
    return absolute.name if absolute.parent == folder.absolute() else str(absolute)
