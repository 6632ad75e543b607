"""From the text of a file to the configuration: everything sound in it, and everything that is wrong with it.

The steps, in order: lines to sections (``ini``), sections to records (``reading``), the clients among each other and
with what they name (``checks``). A fault keeps its own section down, and with it the clients that cannot be without it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from postroom.settings import checks, listener, network, web
from postroom.settings.application import PullApplication, strange_clients
from postroom.settings.context import Context, ProviderFacts
from postroom.settings.faults import Fault, Severity
from postroom.settings.ini import Ini, IniSection, read_ini
from postroom.settings.listener import ListenerAccount, ListenerSettings
from postroom.settings.network import ProxySettings
from postroom.settings.option import Surroundings, options_of
from postroom.settings.pop_client import PopClient
from postroom.settings.processing import ProcessingSettings
from postroom.settings.properties import Values
from postroom.settings.reading import (
    Draft,
    Findings,
    check_section_name,
    fault_of,
    kind_of,
    read_client,
    read_shared,
    read_values,
    require,
)
from postroom.settings.routing import Routes, route
from postroom.settings.sections import (
    AUTHORITY,
    LISTENER,
    LISTENER_ACCOUNT,
    LOG,
    POP_CLIENT,
    PROCESSING,
    PROXY,
    PULL,
    SECRET,
    SETTINGS,
    SMTP_CLIENT,
    WEB,
    AuthoritySection,
    ClientKind,
    LogSettings,
    SecretSection,
    SectionKind,
    ServerSettings,
)
from postroom.settings.smtp_client import Client, SmtpClient
from postroom.settings.web import WebSettings

Record = TypeVar("Record")
AnyClient = TypeVar("AnyClient", PopClient, SmtpClient)


@dataclass(frozen=True)
class Configuration:
    """A configuration at one moment. What is in it is sound; what was not is named in ``faults`` and ``faulty``."""

    file: Path
    clients: Mapping[str, PopClient]  # by section
    secrets: Mapping[str, SecretSection]  # by name; ``PopClient.secret`` is such a name
    authorities: Mapping[str, AuthoritySection]  # by name
    settings: ServerSettings
    web: WebSettings
    log: LogSettings
    faults: tuple[Fault, ...] = ()  # warnings among them, in the order of lines
    faulty: frozenset[str] = frozenset()  # sections that cannot be used as they are written
    sections: tuple[str, ...] = ()  # all pop-client sections in the order of the file, faulty ones among them
    hangs_on: Mapping[str, frozenset[str]] = field(default_factory=dict)  # clients: the faulty sections that they need
    named_files: frozenset[Path] = frozenset()  # files that values are read from; one's change is a change of the value
    proxy: ProxySettings = field(default_factory=ProxySettings)
    applications: Mapping[str, PullApplication] = field(default_factory=dict)  # by section, in lower case
    senders: Mapping[str, SmtpClient] = field(default_factory=dict)  # by section, in the order of the file
    sender_sections: tuple[str, ...] = ()  # all smtp-client sections in the order of the file, faulty ones among them
    routes: Routes = field(default_factory=dict)  # of all smtp-clients: a faulty one's mail waits, and takes no other way
    processing: ProcessingSettings = field(default_factory=ProcessingSettings)
    listener: ListenerSettings = field(default_factory=ListenerSettings)

    @property
    def whole(self) -> bool:
        """Whether a fault concerns the file as a whole, so that nothing of it can be used."""
        return any(fault.whole for fault in self.faults)

    def route(self, address: str) -> str | None:
        """The section of the account that sends for a From address; None where there is none."""
        return route(address, self.routes)

    def proxy_of(self, client: Client) -> ProxySettings | None:
        """The proxy that a client's connections are made through: its own, else the section's where that is used."""
        return client.proxy or (self.proxy if self.proxy.use_proxy else None)

    def faults_of(self, section: str) -> tuple[Fault, ...]:
        """The faults that keep a section down: its own, and those of sections that it cannot be without."""
        guilty = {section.lower(), *(name.lower() for name in self.hangs_on.get(section, ()))}
        return tuple(fault for fault in self.faults if fault.severity is Severity.FAULT and fault.section.lower() in guilty)


def parse_configuration(
    text: str,
    file: Path,
    environment: Mapping[str, str],
    providers: ProviderFacts,
    read: Callable[[Path], bytes] = Path.read_bytes,
) -> Configuration:
    """Read a configuration. Never raises: all that is wrong comes back as faults, at once.

    ``read`` gets the octets of the files that values name; nothing else is read.
    """
    return _Parsing(read_ini(text, str(file)), file, environment, providers, read).configuration()


def unusable(file: Path, problem: str, remedy: str = "") -> Configuration:
    """The configuration of a file that cannot be read at all."""
    fault = Fault(str(file), 0, "", "", "", problem, "a text file in UTF-8", remedy, whole=True)
    settings = ServerSettings(data_directory=_data_directory(file), vault_key=_data_directory(file) / "vault.key")
    return Configuration(file, {}, {}, {}, settings, WebSettings(), LogSettings(), (fault,))


def _data_directory(file: Path) -> Path:
    absolute = file.absolute()
    return Path("/var/lib/postroom") if Path("/etc") in absolute.parents else absolute.parent / "data"


class _Parsing:
    """One pass over one file; the findings grow with each step."""

    def __init__(
        self,
        ini: Ini,
        file: Path,
        environment: Mapping[str, str],
        providers: ProviderFacts,
        read: Callable[[Path], bytes],
    ) -> None:
        self._ini = ini
        self._file = file
        self._providers = providers
        self._named_files: set[Path] = set()
        self._findings = Findings(str(file), ini.faults)

        def remembering(path: Path) -> bytes:
            self._named_files.add(path)
            return read(path)

        self._surroundings = Surroundings(file.absolute().parent, environment, remembering)

    def configuration(self) -> Configuration:
        """Take all steps."""
        for section in self._ini.sections.values():
            check_section_name(section, self._findings)
        secrets = self._named(SECRET, SecretSection)
        authorities = self._named(AUTHORITY, AuthoritySection)
        settings, web_, log = self._settings(), self._web(), self._single(LOG, LogSettings)
        proxy, proxies = self._proxy()
        processing, listening = self._single(PROCESSING, ProcessingSettings), self._listener()
        drafts, senders = self._drafts(POP_CLIENT, PopClient), self._drafts(SMTP_CLIENT, SmtpClient)
        context = Context(self._places(SECRET), self._places(AUTHORITY), self._providers, drafts, senders)
        for fault in checks.check(context):
            self._findings.add(fault)
        applications = self._applications(drafts)
        faults = self._findings.faults()
        guilty = {fault.section for fault in faults if fault.severity is Severity.FAULT and fault.section}
        needs = {
            draft.client.section: checks.needs(draft, context) | (proxies if draft.client.proxy is None else frozenset())
            for draft in context.everyone
        }
        hangs_on = {section: needed & guilty for section, needed in needs.items()}
        hangs_on = {section: guilt for section, guilt in hangs_on.items() if guilt}
        faulty = frozenset(guilty | set(hangs_on))
        return Configuration(
            file=self._file,
            clients=_sound(drafts, faulty, context),
            secrets={secret.name: secret for section, secret in secrets.items() if section not in faulty},
            authorities={known.name: known for section, known in authorities.items() if section not in faulty},
            settings=settings,
            web=web_,
            log=log,
            faults=faults,
            faulty=faulty,
            sections=tuple(draft.client.section for draft in drafts),
            hangs_on=hangs_on,
            named_files=frozenset(self._named_files),
            proxy=proxy,
            applications={known.section: known for section, known in applications.items() if section not in faulty},
            senders=_sound(senders, faulty, context),
            sender_sections=tuple(draft.client.section for draft in senders),
            routes={draft.client.section: draft.client.addresses for draft in senders if "addresses" not in draft.wrong},
            processing=processing,
            listener=ListenerSettings() if any(name.lower() == LISTENER.name for name in guilty) else listening,
        )

    def _of_kind(self, kind: SectionKind) -> list[tuple[IniSection, str]]:
        found = ((section, kind_of(section.name)) for section in self._ini.sections.values())
        return [(section, known[1]) for section, known in found if known is not None and known[0] is kind]

    def _values(self, kind: SectionKind, section: IniSection) -> Values:
        values = read_values(kind, section.entries.values(), self._findings, self._surroundings)
        require(kind, section, values, self._findings)
        return values

    def _named(self, kind: SectionKind, record: Callable[..., Record]) -> dict[str, Record]:
        """The records of sections with names, by section; without those that lack what they must have."""
        required = {field for field, option in options_of(kind.record).items() if option.required}
        records = {}
        for section, name in self._of_kind(kind):
            values = self._values(kind, section)
            if required <= values.sound.keys():
                records[section.name] = record(name=name, **values.sound)
        return records

    def _single(self, kind: SectionKind, record: Callable[..., Record]) -> Record:
        for section, _ in self._of_kind(kind):
            return record(**self._values(kind, section).sound)
        return record()

    def _web(self) -> WebSettings:
        settings = self._single(WEB, WebSettings)
        for section, _ in self._of_kind(WEB):
            options = options_of(WebSettings)
            for name, problem, valid in web.complaints(settings):
                self._findings.add(fault_of(str(self._file), section, options[name], problem, valid))
            for name, problem, remedy in web.remarks(settings):
                fault = fault_of(str(self._file), section, options[name], problem, "")
                self._findings.add(dataclasses.replace(fault, remedy=remedy, severity=Severity.WARNING))
        return settings

    def _proxy(self) -> tuple[ProxySettings, frozenset[str]]:
        """The proxy, and the name of its section where clients cannot be without it: none of them goes past it by mistake."""
        for section, _ in self._of_kind(PROXY):
            values = self._values(PROXY, section)
            proxy = ProxySettings(**values.sound)
            lacking = options_of(ProxySettings).keys() - values.written.keys()
            for name, problem, valid in network.complaints(proxy, lacking):
                option = options_of(ProxySettings)[name]
                self._findings.add(fault_of(str(self._file), section, option, problem, valid))
            torn = any(fault.section.lower() == PROXY.name for fault in self._findings.torn)
            needed = proxy.use_proxy or torn or "use_proxy" in values.wrong
            return proxy, frozenset({section.name} if needed else ())
        return ProxySettings(), frozenset()

    def _settings(self) -> ServerSettings:
        sound = {}
        for section, _ in self._of_kind(SETTINGS):
            sound = self._values(SETTINGS, section).sound
        directory = sound.get("data_directory", _data_directory(self._file))
        return ServerSettings(**{"data_directory": directory, "vault_key": directory / "vault.key", **sound})

    def _applications(self, drafts: Sequence[Draft[PopClient]]) -> dict[str, PullApplication]:
        """The applications by their sections as written."""
        found, names = {}, [draft.client.section for draft in drafts]
        valid = ", ".join(name.lower().removeprefix("pop-client-") for name in names)
        for section, name in self._of_kind(PULL):
            values = self._values(PULL, section)
            found[section.name] = PullApplication(section=section.name.lower(), name=name, **values.sound)
            for strange in strange_clients(found[section.name], names):
                option = options_of(PullApplication)["clients"]
                fault = fault_of(str(self._file), section, option, f"no pop-client is named {strange}", valid)
                self._findings.add(dataclasses.replace(fault, severity=Severity.WARNING))
        return found

    def _listener(self) -> ListenerSettings:
        """Where programs hand mail in, and those of them whose sections are sound."""
        accounts = self._named(LISTENER_ACCOUNT, ListenerAccount)
        for section, _ in self._of_kind(LISTENER):
            values = self._values(LISTENER, section)
            found = ListenerSettings(accounts=tuple(accounts.values()), **values.sound)
            lacking = frozenset(options_of(ListenerSettings).keys() - values.written.keys())
            for name, problem, valid in listener.complaints(found, lacking, bool(self._of_kind(LISTENER_ACCOUNT))):
                option = options_of(ListenerSettings)[name]
                self._findings.add(fault_of(str(self._file), section, option, problem, valid))
            return found
        return ListenerSettings()

    def _drafts(self, kind: ClientKind, record: Callable[..., AnyClient]) -> tuple[Draft[AnyClient], ...]:
        shared = self._ini.sections.get(kind.shared)
        if shared is not None:
            read_shared(kind, shared, self._findings, self._surroundings)
        return tuple(read_client(kind, record, place, shared, self._findings, self._surroundings) for place in self._of_kind(kind))

    def _places(self, kind: SectionKind) -> dict[str, tuple[str, IniSection]]:
        return {name.lower(): (name, section) for section, name in self._of_kind(kind)}


def _sound(drafts: Iterable[Draft[AnyClient]], faulty: Collection[str], context: Context) -> dict[str, AnyClient]:
    """The clients that can be used, by section."""
    return {d.client.section: checks.resolved(d, context) for d in drafts if d.client.section not in faulty}
