"""Clients as the API has them: seen with their options and how they fare, made, changed, taken away."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from postroom import events
from postroom.app.config import Live
from postroom.app.core import Core
from postroom.app.operations.editing import Edit
from postroom.app.operations.status import ClientStatus, status_of
from postroom.errors import ChangedMeanwhile, ConfigError, Conflict, FaultyEdit, NotFound
from postroom.model import Health
from postroom.settings import Fault, Severity
from postroom.settings.edit import with_entries, with_section, without_section
from postroom.settings.faults import MASK, sounds_secret
from postroom.settings.ini import Entry, read_ini
from postroom.settings.option import Option
from postroom.settings.properties import names_of
from postroom.settings.reading import kind_of, known_options
from postroom.settings.sections import CLIENTS, OPTIONS_WITHOUT_EFFECT, ClientKind

_FILES = frozenset({"tls-ca-file", "dkim-key"})  # options that name a file
_LABELS = 32  # of one client


@dataclass(frozen=True)
class Written:
    """An option as it stands in the file."""

    name: str
    value: str  # *** for a secret
    secret: bool
    effect: str  # when a change of it acts
    line: int
    shared: bool  # it stands in the section of shared values


@dataclass(frozen=True)
class Client:
    """One client. ``version`` changes with everything that can be edited."""

    id: str  # section
    kind: str  # pop-client or smtp-client
    status: ClientStatus
    options: tuple[Written, ...]
    faults: tuple[Fault, ...]  # warnings among them
    version: str


class Clients:
    """The operations. One edit at a time: ``reload`` makes what was written act."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._editing = asyncio.Lock()

    async def list_clients(self) -> list[tuple[str, ClientStatus]]:
        """Every client of the file with its kind, in the order of the file."""
        statuses = {status.client: status for status in await status_of(self._core)}
        labels = await self._core.store.labels.all()
        return [(_kind(section).name, _status(statuses, labels, section)) for section in sections_of(self._core.live)]

    async def get_client(self, section: str) -> Client:
        """One client by its section. Raises ``NotFound``."""
        statuses = {status.client: status for status in await status_of(self._core)}
        labels = await self._core.store.labels.all()
        status = _status(statuses, labels, section)
        text = Edit(self._core.live).text
        written, entries = _written(text, section)
        configuration = self._core.live.configuration
        faults = tuple(fault for fault in configuration.faults if fault.section.lower() == section.lower())
        known = [f"{name}={value}" for pair in (entries, sorted(status.labels.items())) for name, value in pair]
        version = self._core.store.keyed_hash(section, *known)[:32]
        return Client(section, _kind(section).name, status, written, faults, version)

    async def create_client(
        self, section: str, options: Mapping[str, str], labels: Mapping[str, str], by: str
    ) -> tuple[Fault, ...]:
        """Write a section; what it is warned of. Raises ``Conflict`` where it is there, ``FaultyEdit`` and ``ConfigError``."""
        async with self._editing:
            found = kind_of(section)
            if found is None or not isinstance(found[0], ClientKind):
                valid = " or ".join(f"{kind.name}-<name>" for kind in CLIENTS)
                raise ConfigError(f"'{section}' is not the name of a client's section", value=section, valid=valid)
            edit = Edit(self._core.live)
            if any(section.lower() == there.lower() for there in _sections(edit.text)):
                raise Conflict(f"the section {section} is there already")
            _allow(section, options)
            try:
                text = with_section(edit.text, section, options)
            except ValueError as error:
                raise ConfigError(f"[{section}] {error}") from None
            remarks = edit.write(text, section, options, _unknown(section, options, edit.text))
            await self._core.store.labels.change(section, labels)
            self._told(section, by, options)
            return remarks

    async def change_client(
        self,
        section: str,
        options: Mapping[str, str | None],
        labels: Mapping[str, str | None],
        version: str | None,
        by: str,
    ) -> tuple[Fault, ...]:
        """Set options and labels, None takes one away; what the section is warned of.

        Raises ``ChangedMeanwhile`` where ``version`` is not that of now, ``FaultyEdit``, ``ConfigError`` and ``NotFound``.
        """
        async with self._editing:
            client = await self._unchanged(section, version)
            kept = {**client.status.labels, **labels}
            if sum(value is not None for value in kept.values()) > _LABELS:
                raise ConfigError(f"[{section}] would have more than {_LABELS} labels")
            remarks: tuple[Fault, ...] = client.faults
            if options:
                edit = Edit(self._core.live)
                _allow(section, options)
                try:
                    text = with_entries(edit.text, section, options)
                except ValueError as error:
                    raise ConfigError(f"[{section}] {error}") from None
                except KeyError:
                    raise NotFound(f"[{section}] is not in the file any more") from None
                remarks = edit.write(text, section, options, _unknown(section, options, edit.text))
            await self._core.store.labels.change(section, labels)
            self._told(section, by, [*options, *(f"label {name}" for name in labels)])
            return remarks

    async def delete_client(self, section: str, version: str | None, by: str) -> None:
        """Take the section out of the file, and with it labels, pause and consent; what was captured stays. Raises as above."""
        async with self._editing:
            await self._unchanged(section, version)
            edit = Edit(self._core.live)
            try:
                text = without_section(edit.text, section)
            except KeyError:
                raise NotFound(f"[{section}] is not in the file any more") from None
            edit.write(text, section, ())
            store = self._core.store
            await store.labels.forget(section)
            await store.commands.resume(section)
            await store.invitations.revoke(section)
            await store.forget_consent(section)
            self._told(section, by, ())

    async def _unchanged(self, section: str, version: str | None) -> Client:
        client = await self.get_client(section)
        if version is not None and version != client.version:
            raise ChangedMeanwhile(f"[{section}] is no longer as it was when this was asked for")
        return client

    def _told(self, section: str, by: str, options: Sequence[str] | Mapping[str, object]) -> None:
        self._core.observer.event(events.CLIENT_EDITED, client=section, by=by, options=", ".join(options))


def find(live: Live, name: str) -> str:
    """A client's section by its whole or its short name. Raises ``NotFound``."""
    try:
        return live.find_client(name)
    except ConfigError:
        raise NotFound(f"no client is named '{name}'") from None


def sections_of(live: Live) -> tuple[str, ...]:
    """The sections of all clients, those that read first."""
    return (*live.configuration.sections, *live.configuration.sender_sections)


def _kind(section: str) -> ClientKind:
    found = kind_of(section)
    assert found is not None
    assert isinstance(found[0], ClientKind)
    return found[0]


def _status(statuses: Mapping[str, ClientStatus], labels: Mapping[str, Mapping[str, str]], section: str) -> ClientStatus:
    unknown = ClientStatus(section, Health.STARTING, None, 0, 0, 0, None, "", "", None, labels=labels.get(section, {}))
    return statuses.get(section, unknown)


def _sections(text: str) -> list[str]:
    return [section.name for section in read_ini(text, "").sections.values()]


def _written(text: str, section: str) -> tuple[tuple[Written, ...], list[tuple[str, str]]]:
    """The options of a section and those that it shares, as they are shown; and its own as they are."""
    sections = read_ini(text, "").sections
    kind = _kind(section)
    own = sections[section.lower()].entries if section.lower() in sections else {}
    shared = sections[kind.shared].entries if kind.shared in sections else {}
    entries = {**shared, **own}
    word = entries[kind.typed_by].value if kind.typed_by in entries else ""
    options = {name: option for option in known_options(kind).values() for name in names_of(option, word)}
    shown = [_shown(entry, options.get(name), shared=name not in own) for name, entry in entries.items()]
    return tuple(shown), [(name, entry.value) for name, entry in own.items()]


def _shown(entry: Entry, option: Option | None, *, shared: bool) -> Written:
    secret = option.secret if option is not None else sounds_secret(entry.name)
    effect = option.effect.value if option is not None else "Nothing reads it"
    return Written(entry.name, MASK if secret and entry.value else entry.value, secret, effect, entry.line, shared)


def _unknown(section: str, options: Mapping[str, str | None], text: str) -> tuple[Fault, ...]:
    """Options that nothing reads: in a file they are warned of, here a program is told at once that it errs.

    What the product knows and does not act on, and every property of JavaMail, may be written as into the file by hand.
    """
    kind = _kind(section)
    written, _ = _written(text, section)
    words = {each.name.lower(): each.value for each in written} | {name.lower(): value or "" for name, value in options.items()}
    known = {name for option in known_options(kind).values() for name in names_of(option, words.get(kind.typed_by, ""))}
    found = []
    for name, value in options.items():
        low = name.lower()
        if value is None or low in known or low in OPTIONS_WITHOUT_EFFECT.get(kind.name, ()) or low.startswith("mail."):
            continue
        near = difflib.get_close_matches(low, sorted(known), 1, 0.5)
        remedy = f"The nearest known name is {near[0]}." if near else f"postroom options {kind.name} lists the names."
        found.append(Fault("", 0, section, name, "", "nothing reads an option of this name here", "", remedy))
    return tuple(found)


def _allow(section: str, options: Mapping[str, str | None]) -> None:
    """Who holds a key of the API may set up mail, and nothing beside it on this machine. Raises ``FaultyEdit``."""
    faults = tuple(
        Fault("", 0, section, name, "", problem, "", "Write it into the file itself.")
        for name, value in options.items()
        if value is not None and (problem := _reaches_beyond(name.lower(), value))
    )
    if faults:
        raise FaultyEdit(faults)


def _reaches_beyond(name: str, value: str) -> str:
    if name == "token-command":
        return "a command cannot be given over the API"
    if name in _FILES or value.lower().lstrip().startswith(("file:", "env:")):
        return "a file or a variable of this machine cannot be named over the API"
    return ""


def warnings(faults: Sequence[Fault]) -> Iterator[str]:
    """The words of the warnings among these."""
    return (str(fault) for fault in faults if fault.severity is Severity.WARNING)
