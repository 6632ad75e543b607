"""New sections put into the configuration file, and new secrets beside it. Nothing that is there changes."""

from __future__ import annotations

import os
from pathlib import Path

from postroom.errors import ConfigError
from postroom.secret import Secret
from postroom.settings.ini import Entry, Ini, IniSection, read_ini
from postroom.settings.sections import POP_CLIENT


def free_name(existing: str, wanted: str, *stems: str) -> str:
    """The wanted name, or the first of NAME-2, NAME-3, … under which no section of the file stands, behind any of the stems."""
    taken = read_ini(existing, "").sections
    name, number = wanted, 1
    while any(f"{stem}{name}".lower() in taken for stem in stems):
        number += 1
        name = f"{wanted}-{number}"
    return name


def merged(existing: str, sections: str) -> str:
    """The file's text with sections behind it. Not a character of what is there changes.

    ConfigError where a section of one of the names is there, or another one that reads the same mailbox: it names the line.
    """
    before, new = read_ini(existing, ""), read_ini(sections, "")
    for key, section in new.sections.items():
        former = before.sections.get(key)
        if former is not None:
            raise _taken(existing, former)
        reader = _reads_the_same(before, section)
        if reader is not None:
            written = _value(before, section, "mailbox")
            raise ConfigError(
                f"[{reader.name}] in line {reader.line} reads the mailbox {written} already; change that section, or take it out",
                place=f"line {reader.line}",
                option="mailbox",
                value=written,
            )
    if "\r\n" in existing:
        sections = sections.replace("\n", "\r\n")
    ending = "\r\n" if "\r\n" in existing else "\n"
    gap = "" if not existing.strip("\ufeff") else ending if existing.endswith("\n") else 2 * ending
    return f"{existing}{gap}{sections}"


def write_secret(path: Path, secret: Secret) -> None:
    """Write a secret's file: whole, with mode 0600. The same secret once more is nothing.

    ConfigError where the file holds anything else, and for what is no secret on one line; what is there stays.
    """
    text = secret.reveal()
    if not text or "\n" in text or "\r" in text:
        raise ConfigError(f"what belongs into {path} is empty or has more than one line", place=str(path))
    try:
        if not _made(path, text.encode() + b"\n"):
            if path.read_bytes().rstrip(b"\r\n") != text.encode():
                raise ConfigError(f"{path} is there already and holds something else", place=str(path), valid="another name")
            path.chmod(0o600)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or type(error).__name__}", place=str(path)) from error


def put(file: Path, text: str) -> None:
    """Put a whole text in the place of the file at once; a new one is for its owner alone."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _made(path: Path, octets: bytes) -> bool:
    """Whether the file was made; it appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(octets)
            stream.flush()
            os.fsync(file)
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    return True


def _taken(existing: str, former: IniSection) -> ConfigError:
    stem = next(
        (stem for stem in ("pop-client-", "smtp-client-", "secret-", "authority-") if former.name.lower().startswith(stem)), ""
    )
    free = stem + free_name(existing, former.name[len(stem) :], stem)
    return ConfigError(
        f"[{former.name}] is there already, in line {former.line}; [{free}] is free",
        place=f"line {former.line}",
        value=former.name,
        valid=free,
    )


def _reads_the_same(ini: Ini, new: IniSection) -> IniSection | None:
    """The enabled section of the file that reads the mailbox of a new one. A server that is not written may be any."""
    if not new.name.lower().startswith("pop-client"):
        return None
    mailbox, server = _value(ini, new, "mailbox").lower(), _value(ini, new, "server").lower()
    for key, section in ini.sections.items():
        if not (key == "pop-client" or key.startswith("pop-client-")):
            continue
        other = _value(ini, section, "server").lower()
        same_server = not server or not other or server == other
        same_type = _value(ini, section, "type").lower() == _value(ini, new, "type").lower()
        enabled = _value(ini, section, "enable-client").lower() != "false"
        if enabled and same_type and same_server and _value(ini, section, "mailbox").lower() == mailbox:
            return section
    return None


def _value(ini: Ini, section: IniSection, option: str) -> str:
    """A value of a section, its own or the shared one."""
    shared = ini.sections.get(POP_CLIENT.shared)
    nothing = Entry("", option, "", 0)
    own = section.entries.get(option)
    return (own or (shared.entries.get(option, nothing) if shared else nothing)).value
