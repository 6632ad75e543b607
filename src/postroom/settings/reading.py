"""From sections to values: each entry to its option, each option through its parser, every fault to the findings."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from postroom.settings import properties
from postroom.settings.faults import MASK, Fault, Severity, shown, sounds_secret
from postroom.settings.ini import Entry, IniSection
from postroom.settings.option import Option, Surroundings, options_of
from postroom.settings.properties import Values, names_of
from postroom.settings.sections import (
    OPTIONS_WITHOUT_EFFECT,
    SECTIONS,
    SECTIONS_WITHOUT_EFFECT,
    SHARED,
    ClientKind,
    SectionKind,
)
from postroom.settings.smtp_client import Client, SmtpClient
from postroom.settings.values import OAUTH_MECHANISMS
from postroom.settings.words import MailboxType

_PLACEHOLDERS: Mapping[str, object] = {"type": MailboxType.IMAP, "mailbox": ""}  # of a draft, for what it must have

Client_co = TypeVar("Client_co", bound=Client, covariant=True)


class Findings:
    """All faults of a file, each once."""

    def __init__(self, file: str, faults: Iterable[Fault] = ()) -> None:
        self.file = file
        self.torn = tuple(faults)  # what the lines themselves have wrong; it is found before any value is read
        self._faults: dict[tuple[int, str, str, str], Fault] = {}
        for fault in self.torn:
            self.add(fault)

    def add(self, fault: Fault) -> None:
        """Take a fault in. The same one told twice counts once, at its worse."""
        if fault.section.lower() == "settings" and fault.severity is Severity.FAULT:
            fault = dataclasses.replace(fault, whole=True)
        key = (fault.line, fault.section, fault.option, fault.problem)
        if key not in self._faults or fault.severity is Severity.FAULT:
            self._faults[key] = fault

    def faults(self) -> tuple[Fault, ...]:
        """All of them, in the order of their lines."""
        return tuple(sorted(self._faults.values(), key=lambda fault: fault.line))


@dataclass(frozen=True)
class Draft(Generic[Client_co]):
    """A client before it is judged: what is wrong or missing has its default, or something that means nothing."""

    file: str
    client: Client_co
    line: int  # of the section's head
    written: Mapping[str, Entry]
    wrong: frozenset[str]
    blocked_by: frozenset[str]  # the section of shared values, where what it takes from there is faulty

    @property
    def noun(self) -> str:
        """What the section is, in words."""
        return "account" if isinstance(self.client, SmtpClient) else "mailbox"

    def lacks(self, name: str) -> bool:
        """Whether nothing is written for a field. A wrong value is written."""
        return name not in self.written

    def fault(
        self,
        name: str,
        problem: str,
        *,
        valid: str = "",
        remedy: str = "",
        severity: Severity = Severity.FAULT,
        mask: bool = False,
    ) -> Fault:
        """A fault of this client about an option: at its line, or at the section's head where it is not written."""
        kind: type = type(self.client)
        option = options_of(kind)[name]
        entry = self.written.get(name)
        value = "" if entry is None else MASK if option.secret or mask else shown(entry.value)
        return Fault(
            self.file,
            entry.line if entry else self.line,
            self.client.section,
            entry.name if entry and entry.name.lower().startswith("mail.") else option.written(self.client.type.value),
            value,
            problem,
            valid,
            remedy,
            severity,
        )


def kind_of(name: str) -> tuple[SectionKind, str] | None:
    """The sort of a section by its name, and the name within that sort; None for a name that no sort has."""
    for kind in SECTIONS:
        stem = kind.name.partition("-<")[0]
        if kind.bare and name.lower() == stem:
            return kind, name
        if kind.named and name.lower().startswith(f"{stem}-") and len(name) > len(stem) + 1:
            return kind, name[len(stem) + 1 :]
    return None


def check_section_name(section: IniSection, findings: Findings) -> None:
    """Warn of a section that acts on nothing."""
    torn = any(fault.line == section.line for fault in findings.torn)
    if torn or kind_of(section.name) or section.name.lower() in SHARED:
        return
    names = [*SHARED, *(kind.name for kind in SECTIONS)]
    if any(_matches(section.name.lower(), pattern) for pattern in SECTIONS_WITHOUT_EFFECT):
        problem, valid, remedy = "the section is known, but without effect in this version", "", ""
    else:
        problem, valid = "nothing reads a section of this name", ", ".join(names)
        remedy = _nearest(section.name, [*names, *SECTIONS_WITHOUT_EFFECT], "section")
    name = shown(section.name)
    findings.add(Fault(findings.file, section.line, name, "", "", problem, valid, remedy, Severity.WARNING))


def _matches(name: str, pattern: str) -> bool:
    stem, named, _ = pattern.partition("<")
    return name.startswith(stem) and len(name) > len(stem) if named else name == pattern


def _nearest(name: str, known: Iterable[str], noun: str) -> str:
    close = difflib.get_close_matches(name.lower(), list(known), 1, 0.5)
    return f"The nearest known {noun} is {close[0]}." if close else ""


def read_values(
    kind: SectionKind,
    entries: Iterable[Entry],
    findings: Findings,
    surroundings: Surroundings,
    *,
    type_word: str = "",
    oauth: bool = True,
) -> Values:
    """Read all entries of a section; what cannot be read is found.

    Without ``oauth`` a wrong value of an option that acts only with OAuth is a warning: it is not used.
    """
    values = Values()
    options = known_options(kind)
    fields = {word: name for name, option in options.items() for word in names_of(option, type_word)}
    for entry in entries:
        name = fields.get(entry.name.lower())
        if name is None:
            if not _acts_elsewhere(kind, entry, options):
                findings.add(_stray(kind, entry, findings.file, fields))
        elif entry.value:
            if _told_twice(options[name], values.written.get(name), entry, findings):
                values.wrong.add(name)
            values.written[name] = entry
            ignored = options[name].oauth and not oauth
            try:
                values.sound[name] = options[name].parse(entry.value, surroundings)
            except ValueError as error:
                findings.add(_wrong(options[name], entry, str(error), findings.file, ignored=ignored))
                if not ignored:
                    values.wrong.add(name)
    return values


def known_options(kind: SectionKind) -> Mapping[str, Option]:
    """All that a section of this kind acts on, by field."""
    return {**options_of(kind.record), **(options_of(kind.properties.record) if isinstance(kind, ClientKind) else {})}


def _acts_elsewhere(kind: SectionKind, entry: Entry, options: Mapping[str, Option]) -> bool:
    """Whether a shared property acts in clients of another type than the one that is read."""
    if not isinstance(kind, ClientKind) or entry.section.lower() != kind.shared:
        return False
    return properties.acts_elsewhere(entry.name, options.values(), kind.properties.types)


def _told_twice(option: Option, before: Entry | None, entry: Entry, findings: Findings) -> bool:
    """``mail.imap.…`` and ``mail.imaps.…`` are one name; of two lines that say different things neither is right."""
    if before is None or before.section != entry.section or before.value == entry.value:
        return False
    value = MASK if option.secret else shown(entry.value)
    problem = f"{before.name} (line {before.line}) is the same property and has another value"
    findings.add(Fault(findings.file, entry.line, entry.section, entry.name, value, problem, "", "Take one of them away."))
    return True


def _wrong(option: Option, entry: Entry, problem: str, file: str, *, ignored: bool) -> Fault:
    return Fault(
        file,
        entry.line,
        entry.section,
        entry.name,
        MASK if option.secret else shown(entry.value),
        shown(problem, 500),
        option.valid,
        "It is not used here, since no mechanism of OAuth is switched on." if ignored else "",
        Severity.WARNING if ignored else Severity.FAULT,
    )


def _stray(kind: SectionKind, entry: Entry, file: str, fields: Mapping[str, str]) -> Fault:
    """A warning of an option that no section of this kind acts on."""
    name = entry.name.lower()
    remedy = ""
    if name in OPTIONS_WITHOUT_EFFECT.get(kind.name, ()):
        problem = "the option is known, but without effect in this version"
    elif name.startswith("mail."):
        problem, remedy = "accepted, without effect", _remark(kind, name)
        if name.endswith(".auth.mechanisms"):
            mechanisms = next((known for known in fields if known.endswith(".auth.mechanisms")), "")
            remedy = f"In this section the option is {mechanisms}." if mechanisms else ""
    else:
        problem = "nothing reads an option of this name here"
        remedy = _nearest(name, fields, "name")
    options = known_options(kind)
    hidden = sounds_secret(name) or any(options[fields[near]].secret for near in difflib.get_close_matches(name, fields))
    value = MASK if hidden and entry.value else shown(entry.value)
    return Fault(file, entry.line, entry.section, shown(entry.name), value, problem, "", remedy, Severity.WARNING)


def _remark(kind: SectionKind, name: str) -> str:
    return properties.remark(name, kind.properties) if isinstance(kind, ClientKind) else ""


def require(kind: SectionKind, section: IniSection, values: Values, findings: Findings, type_word: str = "") -> None:
    """Find the options that a section must have and does not."""
    for name, option in options_of(kind.record).items():
        if option.required and name not in values.written:
            written = option.written(type_word)
            problem = "the option is required here and is not written"
            findings.add(Fault(findings.file, section.line, section.name, written, "", problem, option.valid))


def fault_of(file: str, section: IniSection, option: Option, problem: str, valid: str) -> Fault:
    """A fault of a section about an option: at its line, or at the section's head where it is not written."""
    entry = section.entries.get(option.name.lower())
    value = "" if entry is None else MASK if option.secret else shown(entry.value)
    return Fault(file, entry.line if entry else section.line, section.name, option.name, value, problem, valid)


def read_shared(kind: ClientKind, section: IniSection, findings: Findings, surroundings: Surroundings) -> None:
    """Find what is wrong in the values that all clients share, whether or not a client takes them."""
    read_values(kind, section.entries.values(), findings, surroundings, type_word=kind.properties.types[0])


def read_client(
    kind: ClientKind,
    record: Callable[..., Client_co],
    place: tuple[IniSection, str],
    shared: IniSection | None,
    findings: Findings,
    surroundings: Surroundings,
) -> Draft[Client_co]:
    """Read one client, a section with the name within its sort, with the shared values behind its own."""
    section, name = place
    entries = {**(shared.entries if shared else {}), **section.entries}
    type_word = entries[kind.typed_by].value if kind.typed_by in entries else kind.properties.types[0]
    oauth = _oauth_on(properties.mechanisms_of(entries, type_word))
    own_last = sorted(entries.values(), key=lambda entry: entry.section == section.name)
    values = read_values(kind, own_last, findings, surroundings, type_word=type_word, oauth=oauth)
    for complaint in properties.apply(kind.properties, values, section.name):
        findings.add(_complained(kind, complaint, values, section, findings.file))
    require(kind, section, values, findings, type_word)
    wrong_shared = any(values.written[field].section != section.name for field in values.wrong)
    torn_shared = shared is not None and any(fault.section == shared.name for fault in findings.torn)
    blocked_by = {shared.name} if shared and (wrong_shared or torn_shared) else set()
    placeholders = {name: value for name, value in _PLACEHOLDERS.items() if name in options_of(kind.record)}
    client = record(section=section.name, name=name, **{**placeholders, **values.sound})
    return Draft(findings.file, client, section.line, values.written, frozenset(values.wrong), frozenset(blocked_by))


def _complained(kind: ClientKind, complaint: properties.Complaint, values: Values, section: IniSection, file: str) -> Fault:
    """A fault of properties. Where they are shared it is the client's own: only there they meet with its type."""
    entry = values.written[complaint.name]
    option = options_of(kind.properties.record)[complaint.name]
    value = MASK if option.secret else shown(entry.value)
    severity = Severity.FAULT if complaint.keeps_down else Severity.WARNING
    return Fault(file, entry.line, section.name, entry.name, value, complaint.problem, "", complaint.remedy, severity)


def _oauth_on(mechanisms: Entry | None) -> bool:
    chosen = re.split(r"[,\s]+", mechanisms.value.upper()) if mechanisms else []
    return any(mechanism in OAUTH_MECHANISMS for mechanism in chosen)
