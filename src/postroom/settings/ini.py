"""The INI file as lines: sections and entries that know where they stand. Nothing is interpreted here.

    file    = *( comment / blank / section / entry )
    section = "[" name "]"              ; a comment may follow
    entry   = name "=" value            ; the value goes to the end of the line, whatever it holds
    comment = ( "#" / ";" ) text        ; at the beginning of a line

Lines may be indented and end in LF or CRLF. Values are never continued, quoted or interpolated. ``read_ini`` never
raises: what it cannot read comes back as faults, and the rest is read all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from postroom.settings.faults import MASK, Fault, shown, sounds_secret

_BLANKS = " \t\r\f\v"


@dataclass(frozen=True)
class Entry:
    """One written option."""

    section: str  # the section that it stands in, as written
    name: str  # as written
    value: str
    line: int


@dataclass
class IniSection:
    """One section as written."""

    name: str
    line: int  # of its header
    entries: dict[str, Entry] = field(default_factory=dict)  # by name in lower case


@dataclass
class Ini:
    """A file as read. Sections are known by their name in lower case."""

    sections: dict[str, IniSection] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def read_ini(text: str, file: str) -> Ini:
    """Read a whole file. A line that cannot be read is a fault of its section; the lines around it count."""
    reading = _Reading(file)
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        content = line.strip(_BLANKS)
        if content and content[0] not in "#;":
            reading.line(number, content)
    return reading.ini


class _Reading:
    """The state between two lines."""

    def __init__(self, file: str) -> None:
        self.ini = Ini()
        self._file = file
        self._section: IniSection | None = None
        self._hushed = False  # the entry before may be a secret, of which this line could be the rest

    def line(self, number: int, content: str) -> None:
        """Take in one line that is neither blank nor a comment."""
        if content.startswith("["):
            self._header(number, content)
        elif self._section is None:
            self._before_sections(number, content)
        elif "=" not in content:
            self._no_entry(self._section, number, content)
        else:
            self._entry(self._section, number, content)

    def _header(self, number: int, content: str) -> None:
        name, bracket, rest = content[1:].partition("]")
        name = name.strip(_BLANKS)
        rest = rest.strip(_BLANKS)
        self._hushed = False
        self._section = IniSection(name, number)
        if not bracket or not name or (rest and rest[0] not in "#;"):
            self._section.name = name = shown(name) or "?"
            self._fault(number, name, "", content, "this is not the head of a section", "[name], alone on its line")
        former = self.ini.sections.setdefault(name.lower(), self._section)
        if former is not self._section:
            self._fault(
                number,
                former.name,
                "",
                content,
                f"the section begins a second time; it stands in line {former.line} already",
                "each section once",
                "Join the two.",
            )

    def _before_sections(self, number: int, content: str) -> None:
        name, equals, value = content.partition("=")
        self._fault(
            number,
            "",
            name.strip(_BLANKS) if equals else "",
            value.strip(_BLANKS) if equals else content,
            "this stands before the first section",
            "comments and blank lines before the first [section]",
            whole=True,
        )

    def _no_entry(self, section: IniSection, number: int, content: str) -> None:
        value = MASK if self._hushed or sounds_secret(content) else content
        self._fault(
            number,
            section.name,
            "",
            value,
            "the line has no equals sign",
            "name = value, on one line",
            "Begin a comment with # or ;.",
        )

    def _entry(self, section: IniSection, number: int, content: str) -> None:
        name, _, value = (part.strip(_BLANKS) for part in content.partition("="))
        self._hushed = sounds_secret(name)
        if not name:
            value = MASK
            self._fault(number, section.name, "", value, "a name is missing before the equals sign", "name = value")
            return
        former = section.entries.setdefault(name.lower(), Entry(section.name, name, value, number))
        if former.line != number:
            self._fault(
                number,
                section.name,
                name,
                value,
                f"the option is written a second time; it stands in line {former.line} already",
                "each option once in a section",
            )

    def _fault(
        self,
        line: int,
        section: str,
        option: str,
        value: str,
        problem: str,
        valid: str,
        remedy: str = "",
        whole: bool = False,
    ) -> None:
        told = MASK if value and sounds_secret(option) else shown(value)
        fault = Fault(self._file, line, section, shown(option), told, problem, valid, remedy, whole=whole)
        self.ini.faults.append(fault)
