"""What is wrong in a configuration, said so that an operator can mend it: place, value, problem, what is valid."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from postroom.errors import ConfigError

MASK = "***"
_SECRET_NAMES = re.compile(r"pass|pwd|secret|token|key|credential", re.IGNORECASE)


class Severity(enum.Enum):
    """Whether a fault keeps its section down."""

    FAULT = "fault"
    WARNING = "warning"


@dataclass(frozen=True)
class Fault:
    """One fault or warning of a configuration."""

    file: str
    line: int  # 0 where the file as a whole is meant
    section: str  # empty where none is meant
    option: str  # empty where none is meant
    value: str  # as written, or *** for a secret; empty where nothing is written
    problem: str
    valid: str = ""  # what is valid instead
    remedy: str = ""  # what to do, where that is not plain from what is valid
    severity: Severity = Severity.FAULT
    whole: bool = False  # the file as a whole cannot be used

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        kind = "warning: " if self.severity is Severity.WARNING else ""
        section = f"[{self.section}] " if self.section else ""
        written = f"'{self.value}'" if self.value else ""
        option = f"{self.option} = {written}" if self.option and written else self.option or written
        sentences = [
            f"{place}: {kind}{section}{option}{': ' if option else ''}{self.problem}.",
            f"Valid: {self.valid}." if self.valid else "",
            self.remedy,
        ]
        return " ".join(sentence for sentence in sentences if sentence)

    def error(self) -> ConfigError:
        """The fault as an error, where something cannot go on because of it."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ConfigError(str(self), place=place, option=self.option, value=self.value, valid=self.valid)


def shown(value: str, longest: int = 80) -> str:
    """Text fit for a message: one line, printable, not too long."""
    clean = "".join(character if character.isprintable() else "?" for character in value)
    return clean if len(clean) <= longest else f"{clean[: longest - 1]}…"


def sounds_secret(name: str) -> bool:
    """Whether a name that nobody declared may belong to a secret."""
    return _SECRET_NAMES.search(name) is not None
