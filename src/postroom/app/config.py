"""The configuration file: found, read, and read again while the server runs.

A fault of the whole file leaves everything as it runs. A fault of one section leaves that section as it runs, and all
others take what is written: a pop-client at its next cycle, an smtp-client when it is restarted. Nothing here waits or
notices by itself: who watches the file calls ``Live.reload``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from postroom.app.running import Running
from postroom.drivers.provider import Providers
from postroom.errors import ConfigError
from postroom.settings import (
    AuthoritySection,
    Client,
    Configuration,
    Fault,
    PopClient,
    PullApplication,
    SecretSection,
    SmtpClient,
    parse_configuration,
    unusable,
)
from postroom.settings.routing import route

FILE_NAME = "postroom.ini"
SYSTEM_FILE = Path("/etc/postroom") / FILE_NAME


def default_file(folder: Path = Path(), system_file: Path = SYSTEM_FILE) -> Path:
    """The file where none is named: in this folder, else the system's. ConfigError where there is none."""
    for file in (folder / FILE_NAME, system_file):
        if file.is_file():
            return file
    raise ConfigError(
        f"there is no {FILE_NAME} in {folder.absolute()} and no {system_file}; name the file with --config FILE",
        place=str(folder / FILE_NAME),
    )


def load(path: Path, environ: Mapping[str, str], providers: Providers | None = None) -> Configuration:
    """Read a configuration file. Never raises: what cannot be read comes back as faults."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        return unusable(path, f"the file cannot be read ({error.strerror or type(error).__name__})")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return unusable(path, f"the file is not text in UTF-8: line {line} holds other octets")
    return parse_configuration(text, path, environ, providers or Providers())


def find_clients(configuration: Configuration, name: str, among: Sequence[str] | None = None) -> list[str]:
    """The section of a client by its whole name; or those, one of each sort, that have it behind ``pop-client-`` or
    ``smtp-client-``. In any case.

    Faulty sections are found too, of both sorts where ``among`` does not name those that are meant. ConfigError lists the
    names where none has this name.
    """
    sections = (*configuration.sections, *configuration.sender_sections) if among is None else among
    wanted = name.lower()
    for candidates in (
        [section for section in sections if section == name],
        [section for section in sections if section.lower() == wanted],
        [section for section in sections if section.lower() in (f"pop-client-{wanted}", f"smtp-client-{wanted}")],
    ):
        if candidates:
            return candidates
    names = ", ".join(sections) or "none"
    raise ConfigError(f"no client is named '{name}'; there are: {names}", value=name, valid=names)


def find_client(configuration: Configuration, name: str, among: Sequence[str] | None = None) -> str:
    """The section of a client, as ``find_clients`` finds it. ConfigError lists the names where more than one has this name."""
    found = find_clients(configuration, name, among)
    if len(found) == 1:
        return found[0]
    names = ", ".join(found)
    raise ConfigError(f"'{name}' is more than one client: {names}; give the whole name", value=name, valid=names)


@dataclass(frozen=True)
class Changes:
    """What a new reading of the file changed in what runs. Clients are named by section."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()  # by their own values, or by a secret or authority that they use; it acts
    kept: tuple[str, ...] = ()  # clients that go on with their former values, because what is written is faulty
    waiting: tuple[str, ...] = ()  # sections whose change acts when the server is started again
    applications: tuple[str, ...] = ()  # new, changed or gone
    restart_pending: tuple[str, ...] = ()  # smtp-clients that have something written which acts when they are restarted
    faults: tuple[Fault, ...] = ()  # of this reading, warnings among them


_AT_START = {"settings": "settings", "web": "web", "listener": "smtp-listener"}  # what a Configuration has: its section


class Live:
    """The configuration that runs. ``configuration`` is replaced as a whole, so a record once taken stays as it was.

    Its ``senders`` are as written; those that run are answered by ``sender`` and ``running``.
    """

    def __init__(self, configuration: Configuration, environ: Mapping[str, str], providers: Providers | None = None) -> None:
        self.configuration = configuration
        self._environ = environ
        self._providers = providers or Providers()
        self._started = {section: self._as_written(configuration, client) for section, client in configuration.senders.items()}

    def client(self, section: str) -> PopClient | None:
        """A pop-client as it is to run now; None for one that is not there, or never had values that can be used."""
        return self.configuration.clients.get(section)

    def sender(self, section: str) -> SmtpClient | None:
        """An smtp-client as it is to run now; None as for ``client``."""
        running = self.running(section)
        return running.client if running is not None else None

    def either(self, section: str) -> Client | None:
        """A client of either sort as it is to run now."""
        return self.client(section) or self.sender(section)

    def running(self, section: str) -> Running | None:
        """An smtp-client as it was started or restarted; ``enable-authentication`` as written now."""
        started = self._started.get(section)
        return started.with_what_acts_at_once(self.configuration.senders[section]) if started is not None else None

    def pending(self, section: str) -> list[str]:
        """What of an smtp-client waits for its restart: names of options, and of sections that it uses."""
        started = self._started.get(section)
        if started is None or section in self.configuration.faulty:
            return []
        return started.pending(self._as_written(self.configuration, self.configuration.senders[section]))

    def restart(self, section: str) -> bool:
        """Let an smtp-client run with what is written from now on; False where there is none, or it has a fault."""
        if section not in self._started or section in self.configuration.faulty:
            return False
        self._started[section] = self._as_written(self.configuration, self.configuration.senders[section])
        return True

    def route(self, address: str) -> str | None:
        """The section of the account that sends for a From address, by the ``addresses`` with which each one runs."""
        running = {section: started.client.addresses for section, started in self._started.items()}
        return route(address, {**self.configuration.routes, **running})

    def find_clients(self, name: str, among: Sequence[str] | None = None) -> list[str]:
        """The sections that a whole or a short name means; see ``find_clients``."""
        return find_clients(self.configuration, name, among)

    def find_client(self, name: str, among: Sequence[str] | None = None) -> str:
        """The section of a client by its whole or its short name; see ``find_client``."""
        return find_client(self.configuration, name, among)

    def tried(self, text: str) -> Configuration:
        """What a text would be in the file's place. Nothing is taken."""
        return parse_configuration(text.removeprefix("\ufeff"), self.configuration.file, self._environ, self._providers)

    def reload(self) -> Changes:
        """Read the file again and take what can be taken. Never raises; the same file again changes nothing."""
        running = self.configuration
        written = load(running.file, self._environ, self._providers)
        if written.whole:
            self.configuration = dataclasses.replace(running, faults=written.faults)
            return Changes(
                kept=(*running.clients, *running.senders),
                restart_pending=tuple(section for section in self._started if self.pending(section)),
                faults=written.faults,
            )
        before = self._effective()
        self.configuration = merged = self._merged(running, written)
        self._started = {
            section: self._started.get(section) or self._as_written(merged, client) for section, client in merged.senders.items()
        }
        after = self._effective()
        return Changes(
            added=tuple(section for section in after if section not in before),
            removed=tuple(section for section in before if section not in after),
            changed=tuple(section for section in after if section in before and after[section] != before[section]),
            kept=tuple(section for section in after if section in merged.faulty),
            waiting=tuple(
                section
                for name, section in _AT_START.items()
                if getattr(written, name) != getattr(running, name) and not _is_faulty(section, written)
            ),
            applications=tuple(
                section
                for section in {**running.applications, **merged.applications}
                if running.applications.get(section) != merged.applications.get(section)
            ),
            restart_pending=tuple(section for section in self._started if self.pending(section)),
            faults=merged.faults,
        )

    def _merged(self, running: Configuration, written: Configuration) -> Configuration:
        """What is written, with what runs in the place of what is faulty."""
        kept = {
            section: running.clients[section]
            for section in written.sections
            if section in written.faulty and section in running.clients
        }
        clients = {**written.clients, **kept}
        senders = {section: written.senders.get(section) or self.sender(section) for section in written.sender_sections}
        secrets, authorities = dict(written.secrets), dict(written.authorities)
        for client in kept.values():
            secret, authority = self.used(running, client)
            if secret is not None:
                secrets.setdefault(secret.name, secret)
            if authority is not None:
                authorities.setdefault(authority.name, authority)
        return dataclasses.replace(
            written,
            clients={section: clients[section] for section in written.sections if section in clients},
            senders={section: sender for section, sender in senders.items() if sender is not None},
            secrets=secrets,
            authorities=authorities,
            settings=running.settings,
            web=running.web,
            listener=running.listener,
            proxy=running.proxy if _is_faulty("proxy", written) else written.proxy,
            processing=running.processing if _is_faulty("email-processing", written) else written.processing,
            applications=self._applications(running, written),
            log=running.log if _is_faulty("log", written) else written.log,
        )

    @staticmethod
    def _applications(running: Configuration, written: Configuration) -> dict[str, PullApplication]:
        """What is written, and what runs of the sections that are faulty now."""
        faulty = {section.lower() for section in written.faulty}
        kept = {section: known for section, known in running.applications.items() if section in faulty}
        return {**written.applications, **kept}

    def used(self, configuration: Configuration, client: Client) -> tuple[SecretSection | None, AuthoritySection | None]:
        """The other sections, of a configuration, whose values a client's logins are made of."""
        if not client.uses_oauth:
            return None, None
        secret = configuration.secrets.get(client.secret or "")
        name = self._providers.authority_name(client.tenant_authority, configuration.authorities) or ""
        named = (section for section in configuration.authorities.values() if section.name.lower() == name.lower())
        return secret, next(named, None)

    def _as_written(self, configuration: Configuration, client: SmtpClient) -> Running:
        return Running(client, *self.used(configuration, client), configuration.proxy_of(client))

    def _effective(self) -> dict[str, object]:
        """All that runs, by section."""
        configuration = self.configuration
        mailboxes = {
            section: (client, *self.used(configuration, client), configuration.proxy_of(client))
            for section, client in configuration.clients.items()
        }
        return {**mailboxes, **{section: self.running(section) for section in self._started}}


def _is_faulty(name: str, configuration: Configuration) -> bool:
    return any(section.lower() == name for section in configuration.faulty)
