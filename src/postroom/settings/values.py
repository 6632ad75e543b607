"""How a written value becomes a value: one small parser for each sort.

Each is a ``Parse``, or makes one from its bounds. ValueError tells an operator what is wrong; the value itself is added
where the fault is made, so that secrets are masked in one place.
"""

from __future__ import annotations

import datetime
import enum
import ipaddress
import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from postroom.secret import Secret
from postroom.settings.option import Surroundings
from postroom.settings.words import FirstRead

TIME_SPAN = "a time span: hh:mm:ss, or a number with s, m or h (00:01:00, 90s, 5m, 2h)"
SIZE = "a size in octets, with k, m or g if you like (65536, 64k, 50m, 1g)"
BOOLEAN = "true, false"
SECRET_FORMS = "the text itself, env:NAME or file:PATH"  # noqa: S105 - words, not a secret
KEY_FORMS = "file:PATH, env:NAME, credential:NAME, keyring:SERVICE/USER"

OAUTH_MECHANISMS = ("XOAUTH2", "OAUTHBEARER")
PASSWORD_MECHANISMS = ("PLAIN", "LOGIN")
MECHANISMS = (*OAUTH_MECHANISMS, *PASSWORD_MECHANISMS)

_CLOCK = re.compile(r"([0-9]{1,6}):([0-5][0-9]):([0-5][0-9])")
_AMOUNT = re.compile(r"([0-9]{1,9}) ?([smh])", re.IGNORECASE)
_SIZE = re.compile(r"([0-9]{1,15}) ?([kmg]?)", re.IGNORECASE)
_INTEGER = re.compile(r"[+-]?[0-9]{1,15}")
_LABEL = re.compile(r"(?!-)[\w-]{1,63}(?<!-)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY_PLACES = {  # and what stands behind the colon
    "env": _VARIABLE,
    "credential": re.compile(r"(?!\.{1,2}$)[^/\0]{1,255}"),  # a file's name: systemd.exec(5), CREDENTIALS
    "keyring": re.compile(r"[^\0]+/[^/\0]+"),
}
_ADDRESS = re.compile(r"[^\s@,;:<>()\[\]\\\"]+@[^\s@,;:<>()\[\]\\\"]+")
_HEADER_NAME = re.compile(r"[!-9;-~]{1,76}")
_LARGEST_SECRET = 65536

Word = TypeVar("Word", bound=enum.Enum)


def text(value: str, _: Surroundings) -> str:
    """Any text, without control characters: they have meanings of their own on the wire."""
    if _has_controls(value):
        raise ValueError("has control characters in it")
    return value


def word(value: str, _: Surroundings) -> str:
    """Text without white space."""
    if any(character.isspace() for character in value):
        raise ValueError("has white space in it")
    return value


def words(value: str, _: Surroundings) -> str:
    """Words with single blanks between them."""
    return " ".join(value.split())


def boolean(value: str, _: Surroundings) -> bool:
    """``true`` or ``false``."""
    if value.lower() not in ("true", "false"):
        raise ValueError("is neither true nor false")
    return value.lower() == "true"


def integer(minimum: int, maximum: int | None = None) -> Callable[[str, Surroundings], int]:
    """A whole number within bounds."""

    def parse(value: str, _: Surroundings) -> int:
        if not _INTEGER.fullmatch(value):
            raise ValueError("is not a whole number")
        number = int(value)
        if number < minimum:
            raise ValueError(f"is less than {minimum}")
        if maximum is not None and number > maximum:
            raise ValueError(f"is more than {maximum}")
        return number

    return parse


def time_span(minimum: float) -> Callable[[str, Surroundings], float]:
    """Seconds, written as ``hh:mm:ss`` or with a unit."""

    def parse(value: str, _: Surroundings) -> float:
        seconds = _seconds(value.removeprefix("-"))
        if seconds is None:
            raise ValueError("is not a time span")
        if value.startswith("-"):
            raise ValueError("is negative")
        if seconds < minimum:
            raise ValueError(f"is less than {minimum:g} s")
        return seconds

    return parse


def _seconds(value: str) -> float | None:
    if clock := _CLOCK.fullmatch(value):
        hours, minutes, seconds = (int(part) for part in clock.groups())
        return float(hours * 3600 + minutes * 60 + seconds)
    if amount := _AMOUNT.fullmatch(value):
        return float(int(amount[1]) * {"s": 1, "m": 60, "h": 3600}[amount[2].lower()])
    return None


def size(value: str, _: Surroundings) -> int:
    """Octets; ``k``, ``m`` and ``g`` are powers of 1024."""
    match = _SIZE.fullmatch(value)
    if match is None:
        raise ValueError("is not a size")
    return int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[match[2].lower()]


def size_of(minimum: int) -> Callable[[str, Surroundings], int]:
    """A size of at least so many octets."""

    def parse(value: str, surroundings: Surroundings) -> int:
        octets = size(value, surroundings)
        if octets < minimum:
            raise ValueError(f"is less than {minimum}")
        return octets

    return parse


def one_of(choices: type[Word], complaint: str = "", without: Sequence[Word] = ()) -> Callable[[str, Surroundings], Word]:
    """A member of the enumeration by its value, in any case; some may be none that is written."""

    def parse(value: str, _: Surroundings) -> Word:
        for member in choices:
            if str(member.value).lower() == value.lower() and member not in without:
                return member
        raise ValueError(complaint or "is none of the valid values")

    return parse


def choice(*choices: str) -> Callable[[str, Surroundings], str]:
    """One of the words, in any case; comes back as declared."""

    def parse(value: str, _: Surroundings) -> str:
        if value.lower() not in choices:
            raise ValueError("is none of the valid values")
        return value.lower()

    return parse


def several_of(choices: Sequence[str]) -> Callable[[str, Surroundings], tuple[str, ...]]:
    """Some of the words, in any case, with commas or blanks between them; each once, in the order written."""

    def parse(value: str, _: Surroundings) -> tuple[str, ...]:
        chosen = [item.upper() for item in re.split(r"[,\s]+", value) if item]
        strange = [item for item in chosen if item not in choices]
        if strange:
            raise ValueError(f"names {', '.join(strange)}, which this version does not have")
        return tuple(dict.fromkeys(chosen))

    return parse


def folder(value: str, surroundings: Surroundings) -> str:
    """A folder's name. INBOX is one folder in any case (RFC 9051 section 5.1)."""
    return "INBOX" if value.upper() == "INBOX" else text(value, surroundings)


def _has_controls(value: str) -> bool:
    return any(ord(character) < 32 or ord(character) == 127 for character in value)


def folders(value: str, surroundings: Surroundings) -> tuple[str, ...]:
    """Folders with commas between them; each once, in the order written."""
    names = [part.strip() for part in value.split(",")]
    if "" in names:
        raise ValueError("has an empty name between its commas")
    return tuple(dict.fromkeys(folder(name, surroundings) for name in names))


def host(value: str, _: Surroundings) -> str:
    """A host's name or address, without a protocol, path or port."""
    if "://" in value or "/" in value:
        raise ValueError("is an address of the web, not the name of a host")
    bare = value.removeprefix("[").removesuffix("]")
    if _address(bare) is not None:
        return bare
    if re.search(r":[0-9]*$", value):
        raise ValueError("holds a port, which has an option of its own")
    if len(value) > 253 or not all(_LABEL.fullmatch(label) for label in value.removesuffix(".").split(".")):
        raise ValueError("is not the name of a host")
    return value


def is_loopback(name: str) -> bool:
    """Whether what is sent to that host stays on this machine (RFC 6761 section 6.3)."""
    address = _address(name)
    if address is not None:
        return address.is_loopback
    return name.lower().removesuffix(".").split(".")[-1] == "localhost"


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def endpoint(value: str, surroundings: Surroundings) -> str:
    """An address of the web that a secret may be sent to: https, or http to this machine."""
    try:
        parts = urlsplit(word(value, surroundings))
        name, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("is not an address of the web") from None
    if parts.scheme not in ("http", "https") or not name or "@" in parts.netloc or parts.fragment:
        raise ValueError("is not an address of the web")
    if parts.scheme == "http" and not is_loopback(name):
        raise ValueError("is not encrypted: http:// is for this machine only")
    return value


def base_url(value: str, surroundings: Surroundings) -> str:
    """The beginning of addresses: https, or http to this machine, without a query."""
    address = endpoint(value, surroundings)
    if "?" in address:
        raise ValueError("has a query in it")
    return address


def listen(value: str, surroundings: Surroundings) -> tuple[str, int]:
    """``HOST:PORT``; an IPv6 address stands in brackets. Port 0 takes a free one."""
    name, colon, port = value.rpartition(":")
    if not colon or not name or (":" in name and not name.startswith("[")):
        raise ValueError("is not HOST:PORT")
    return host(name, surroundings), integer(0, 65535)(port, surroundings)


def path(value: str, surroundings: Surroundings) -> Path:
    """A path; a relative one begins at the configuration file's folder."""
    if "\0" in value:
        raise ValueError("is not a path")
    return surroundings.folder / value


def certificates(value: str, surroundings: Surroundings) -> Path:
    """A file with certificates in PEM form."""
    file = path(value, surroundings)
    if b"-----BEGIN CERTIFICATE-----" not in _contents(file, surroundings):
        raise ValueError(f"names {file}, which holds no certificate in PEM form")
    return file


def key(value: str, surroundings: Surroundings) -> Path | str:
    """Where a key is kept: ``file:PATH`` as a path, any other form of ``KEY_FORMS`` as it is written. None is read here."""
    form, _, rest = value.partition(":")
    form, rest = form.lower(), rest.strip()
    if form == "file" and rest:
        return path(rest, surroundings)
    pattern = _KEY_PLACES.get(form)
    if pattern is None or not pattern.fullmatch(rest):
        raise ValueError(f"is none of {KEY_FORMS}")
    return f"{form}:{rest}"


def secret(value: str, surroundings: Surroundings) -> Secret:
    """A secret: the text itself, or read from the environment (``env:NAME``) or a file (``file:PATH``)."""
    form, _, rest = value.partition(":")
    if form.lower() == "env":
        return Secret(_variable(rest.strip(), surroundings))
    if form.lower() == "file":
        return Secret(_line(path(rest.strip(), surroundings), surroundings))
    return Secret(value)


def client_secret(value: str, surroundings: Surroundings) -> Secret:
    """An application's secret; a file may be the ``client_secret_….json`` that Google's console hands out."""
    found = secret(value, surroundings) if not value.lower().startswith("file:") else _file_secret(value, surroundings)
    if not found.reveal().lstrip().startswith("{"):
        return found
    return google_application(found)[1]


def _file_secret(value: str, surroundings: Surroundings) -> Secret:
    file = path(value.partition(":")[2].strip(), surroundings)
    octets = _contents(file, surroundings)
    if octets.lstrip().startswith(b"{") and len(octets) <= _LARGEST_SECRET:  # JSON may have several lines
        return Secret(octets.decode("utf-8", "replace"))
    return Secret(_line(file, surroundings))


def google_application(document: Secret) -> tuple[str, Secret]:
    """The client ID and client_secret within Google's ``client_secret_….json``. ValueError where they are not in it."""
    try:
        fields = json.loads(document.reveal())
    except ValueError:
        raise ValueError("names a file that begins like JSON and is none") from None
    for kind in ("installed", "web"):
        found = fields.get(kind) if isinstance(fields, dict) else None
        if isinstance(found, dict) and found.get("client_id") and found.get("client_secret"):
            return str(found["client_id"]), Secret(str(found["client_secret"]))
    raise ValueError("names a JSON file without client_id and client_secret; Google's file of a Desktop client has them")


def certificate(value: str, surroundings: Surroundings) -> str:
    """The text of a PEM file with a certificate."""
    return _contents(certificates(value, surroundings), surroundings).decode("ascii", "replace")


def private_key_file(value: str, surroundings: Surroundings) -> Path:
    """A PEM file with a private key that needs no passphrase."""
    private_key(value, surroundings)
    return path(value.removeprefix("file:").strip(), surroundings)


def private_key(value: str, surroundings: Surroundings) -> Secret:
    """The text of a PEM file with a private key that needs no passphrase."""
    file = path(value.removeprefix("file:").strip(), surroundings)
    text = _contents(file, surroundings).decode("ascii", "replace")
    if "PRIVATE KEY-----" not in text:
        raise ValueError(f"names {file}, which holds no private key in PEM form")
    if "ENCRYPTED" in text:
        raise ValueError(f"names {file}, whose key is protected by a passphrase")
    return Secret(text)


@dataclass(frozen=True, slots=True)
class ServiceAccountKey:
    """The key file of a Google service account."""

    client_email: str
    private_key: Secret  # PEM
    private_key_id: str
    token_uri: str
    client_id: str = ""  # the number under which an administrator delegates to it


def service_account(value: str, surroundings: Surroundings) -> ServiceAccountKey:
    """The key of a Google service account, read from the JSON file that the console hands out."""
    file = path(value.removeprefix("file:").strip(), surroundings)
    try:
        fields = json.loads(_contents(file, surroundings))
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise ValueError(f"names {file}, which is no JSON file") from None
    if not isinstance(fields, dict) or fields.get("type") != "service_account":
        raise ValueError(f"names {file}, which is not the key of a service account (its type is not service_account)")
    missing = [name for name in ("client_email", "private_key", "token_uri") if not isinstance(fields.get(name), str)]
    if missing:
        raise ValueError(f"names {file}, which lacks {', '.join(missing)}")
    key_id = str(fields.get("private_key_id", ""))
    token_uri = endpoint(fields["token_uri"], surroundings)
    client_id = str(fields.get("client_id", ""))
    return ServiceAccountKey(fields["client_email"], Secret(fields["private_key"]), key_id, token_uri, client_id)


def command(value: str, _: Surroundings) -> tuple[str, ...]:
    """A program with its arguments, quoted as in a shell."""
    try:
        words = tuple(shlex.split(value))
    except ValueError:
        raise ValueError("has a quotation mark without its partner") from None
    if not words:
        raise ValueError("names no program")
    return words


def date(value: str, _: Surroundings) -> datetime.date:
    """A day, as ``YYYY-MM-DD``."""
    try:
        return datetime.date.fromisoformat(value)
    except ValueError:
        raise ValueError("is not a day") from None


def first_read(value: str, surroundings: Surroundings) -> FirstRead | datetime.date:
    """``all``, ``new`` or a day."""
    if value.lower() in {choice.value for choice in FirstRead}:
        return FirstRead(value.lower())
    return date(value, surroundings)


def mail_address(value: str, _: Surroundings) -> str:
    """One address (addr-spec of RFC 5322 section 3.4.1, in the form that mail systems use)."""
    if not _ADDRESS.fullmatch(value):
        raise ValueError("is not an e-mail address")
    return value


def addresses(value: str, _: Surroundings) -> tuple[str, ...]:
    """E-mail addresses and domains, in lower case, each once. A domain may be written with an @ before it."""
    found = []
    for part in filter(None, (part.strip().lower() for part in value.split(","))):
        if not (_ADDRESS.fullmatch(part) or all(map(_LABEL.fullmatch, part.removeprefix("@").split(".")))):
            raise ValueError("holds something that is neither an e-mail address nor a domain")
        found.append(part.removeprefix("@"))
    return tuple(dict.fromkeys(found))


def header_name(value: str, _: Surroundings) -> str:
    """A header's name: printable ASCII without the colon (RFC 5322 section 2.2)."""
    if not _HEADER_NAME.fullmatch(value):
        raise ValueError("is not the name of a header")
    return value


def _variable(name: str, surroundings: Surroundings) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError("begins with env: and does not go on with the name of a variable")
    value = surroundings.environment.get(name, "")
    if not value:
        state = "is empty" if name in surroundings.environment else "is not set"
        raise ValueError(f"names the variable {name}, which {state} in the environment")
    return value


def _line(file: Path, surroundings: Surroundings) -> str:
    octets = _contents(file, surroundings)
    if len(octets) > _LARGEST_SECRET:
        raise ValueError(f"names {file}, which is too large for a secret")
    try:
        line = octets.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"names {file}, which is not text in UTF-8") from None
    if not line:
        raise ValueError(f"names {file}, which is empty")
    if "\n" in line:
        raise ValueError(f"names {file}, which holds more than one line")
    return line


def _contents(file: Path, surroundings: Surroundings) -> bytes:
    try:
        return surroundings.read(file)
    except OSError as error:
        raise ValueError(f"names {file}, which cannot be read ({error.strerror or type(error).__name__})") from error
    except ValueError:
        raise ValueError("does not name a file") from None
