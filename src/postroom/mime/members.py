"""Reading the members of a draft's JSON: each function checks one kind of value, notes what is wrong with its place, and goes on.

What is absent, or null, is empty. A value that is wrong is empty too; the fault that was noted keeps it from being used.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from postroom.errors import DraftFault
from postroom.mime import fields
from postroom.mime.addresses import Address, parse_mailbox
from postroom.mime.characters import disguised, shown, unsafe, unsendable

_ADDRESS = '"a@example.org", "Ann <a@example.org>" or {"name": "Ann", "address": "a@example.org"}'
_UNKNOWN = 20  # unknown members of one object that are named
_TYPE = re.compile(r"([A-Za-z0-9!#$&^_.+-]{1,127})/([A-Za-z0-9!#$&^_.+-]{1,127})\s*((?:;.*)?)\Z")  # RFC 6838 section 4.2
_PARAMETER = re.compile(r';\s*([A-Za-z0-9!#$&^_.+-]{1,60})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"\\]+))\s*')
_CONTENT_ID = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]{1,200}\Z")
_IDENTITIES = re.compile(r"<[!-;=?-~]{1,900}>(?:\s+<[!-;=?-~]{1,900}>)*\Z")  # RFC 5322 section 3.6.4
_BLANKS = re.compile(r"[ \t\r\n]+")
_STRUCTURED = "list-"  # RFC 2369, RFC 8058: addresses of the web, in which nothing may be encoded
_OFFICE = "application/vnd.openxmlformats-officedocument."
_TYPES = {
    "csv": "text/csv",
    "docx": f"{_OFFICE}wordprocessingml.document",
    "eml": "message/rfc822",
    "gif": "image/gif",
    "html": "text/html",
    "ics": "text/calendar",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "pdf": "application/pdf",
    "png": "image/png",
    "pptx": f"{_OFFICE}presentationml.presentation",
    "svg": "image/svg+xml",
    "txt": "text/plain",
    "webp": "image/webp",
    "xlsx": f"{_OFFICE}spreadsheetml.sheet",
    "xml": "application/xml",
    "zip": "application/zip",
}
"""What a file is by the end of its name, where the draft does not say."""


class Reserved(NamedTuple):
    """Fields that may not be given as extra ones."""

    names: Mapping[str, str]  # in lower case, with what is valid instead
    beginnings: tuple[str, ...]


class Reading:
    """A draft as it is read, with the faults so far."""

    def __init__(self, octets: int) -> None:
        self.faults: list[DraftFault] = []
        self._octets = octets  # that texts and files may have
        self._room = octets

    def fault(self, pointer: str, problem: str, valid: str, value: object = ...) -> None:
        """Note what is wrong."""
        self.faults.append(DraftFault(pointer, "" if value is ... else shown(value), problem, valid))

    def members(self, value: object, pointer: str, known: Sequence[str]) -> dict[str, Any]:
        """The members of an object; those that nobody knows are faults."""
        if not isinstance(value, dict):
            self.fault(pointer, "no object", f"an object with members of {', '.join(known)}", value)
            return {}
        unknown = [name for name in value if name not in known]
        for name in unknown[:_UNKNOWN]:
            text = shown(name)
            near = difflib.get_close_matches(str(name)[:40].lower().replace("-", "_"), known, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"one of {', '.join(known)}"
            place = f"{pointer}/{_escaped(name)}" if isinstance(name, str) and len(name) <= 60 and name.isprintable() else pointer
            self.fault(place, f"unknown member {text}", hint)
        if len(unknown) > _UNKNOWN:
            self.fault(pointer, f"{len(unknown) - _UNKNOWN} more unknown members", f"members of {', '.join(known)}")
        return {name: content for name, content in value.items() if name in known and content is not None}

    # --- single values

    def boolean(self, value: object, pointer: str) -> bool:
        if value is None or isinstance(value, bool):
            return bool(value)
        self.fault(pointer, "neither true nor false", "true or false", value)
        return False

    def string(self, value: object, pointer: str, valid: str = "a string") -> str | None:
        if value is None or isinstance(value, str):
            return value
        self.fault(pointer, "no string", valid, value)
        return None

    def line(self, value: object, pointer: str, most: int) -> str | None:
        """A text of one line for the header."""
        text = self.string(value, pointer)
        if text is None:
            return None
        if len(text) > most:
            self.fault(pointer, f"{len(text)} characters are too many", f"at most {most}", text)
            return None
        if reason := unsafe(text):
            self.fault(pointer, reason, "text on one line, without control characters", text)
            return None
        return text

    def text(self, value: object, pointer: str) -> str | None:
        """A text for the body."""
        text = self.string(value, pointer)
        if text is None:
            return None
        if reason := unsendable(text):
            self.fault(pointer, reason, "Unicode text without NUL and without halves of characters", text)
            return None
        self._weigh(len(text.encode()), pointer)
        return text

    def choice(self, value: object, pointer: str, known: Sequence[str], before: str = "") -> str:
        if value is None or (isinstance(value, str) and value in known):
            return value or ""
        self.fault(pointer, "not one of the values there are", before + ", ".join(f'"{one}"' for one in known), value)
        return ""

    def choices(self, value: object, pointer: str, known: Sequence[str]) -> tuple[str, ...]:
        listed = self._listed(value, pointer, len(known), alone=True)
        return tuple(dict.fromkeys(filter(None, (self.choice(one, f"{pointer}{at}", known) for at, one in listed))))

    def identity(self, value: object, pointer: str) -> str:
        """The public id of a message."""
        valid = "the id of a captured message, as the list of messages shows it"
        text = self.string(value, pointer, valid) or ""
        if value == "" or len(text) > 200 or not text.isprintable():
            self.fault(pointer, "no id of a message", valid, value)
            return ""
        return text

    def envid(self, value: object) -> str:
        valid = "1 to 100 printable ASCII characters (RFC 3461 section 4.4)"
        text = self.string(value, "/envid", valid)
        if text is not None and not (0 < len(text) <= 100 and text.isascii() and text.isprintable()):
            self.fault("/envid", "no envelope identifier", valid, text)
        return text or ""

    # --- addresses

    def mailbox(self, value: object, pointer: str) -> Address | None:
        """One address with its display name."""
        if value is None:
            return None
        try:
            if isinstance(value, str):
                return self._named(parse_mailbox(value))
            if isinstance(value, dict):
                return self._mailbox_of(value, pointer)
        except ValueError as error:
            self.fault(pointer, str(error), _ADDRESS, value)
            return None
        self.fault(pointer, "no address", _ADDRESS, value)
        return None

    def _mailbox_of(self, value: dict[str, Any], pointer: str) -> Address | None:
        members = self.members(value, pointer, ("name", "address"))
        name = self.line(members.get("name"), f"{pointer}/name", 1000)
        address = self.string(members.get("address"), f"{pointer}/address")
        if address is None:
            if value.get("address") is None:
                self.fault(pointer, 'the member "address" is missing', _ADDRESS, value)
            return None
        try:
            parsed = parse_mailbox(address)
            if parsed.name or "<" in address:
                raise ValueError('a name belongs into the member "name"')
            return self._named(Address((name or "").strip(), parsed.address))
        except ValueError as error:
            self.fault(f"{pointer}/address", str(error), '"a@example.org"', address)
            return None

    def _named(self, address: Address) -> Address:
        if len(address.name) > 1000:
            raise ValueError("its name is longer than 1000 characters")
        return address

    def mailboxes(self, value: object, pointer: str, most: int) -> tuple[Address, ...]:
        """A list of addresses; one alone stands for a list of one."""
        found = (self.mailbox(one, f"{pointer}{at}") for at, one in self._listed(value, pointer, most, alone=True))
        return tuple(address for address in found if address is not None)

    # --- files

    def files(self, value: object, pointer: str, most: int, *, inline: bool) -> Iterator[tuple[Any, ...]]:
        """Each file as its name, type, the type's parameters, octets and content-id. Faulty ones are left out."""
        known = ("filename", "content_type", "content", *(("content_id",) if inline else ()))
        seen: set[str] = set()
        for at, one in self._listed(value, pointer, most, alone=False):
            place, before = f"{pointer}{at}", len(self.faults)
            members = self.members(one, place, known)
            filename = self._filename(members.get("filename"), f"{place}/filename")
            kind = self._content_type(members.get("content_type"), f"{place}/content_type", filename)
            if inline and kind[0] == "message/rfc822":
                self.fault(f"{place}/content_type", "HTML shows no messages", 'a media type such as "image/png"', kind[0])
            content = self._content(members.get("content"), f"{place}/content") if isinstance(one, dict) else b""
            content_id = self._content_id(members.get("content_id"), f"{place}/content_id", seen) if inline and members else ""
            if len(self.faults) == before:
                yield (filename, *kind, content, content_id)

    def _filename(self, value: object, pointer: str) -> str:
        valid = "a name of at most 255 characters, without folders and control characters"
        name = self.string(value, pointer, valid) or ""
        reason = unsafe(name) or disguised(name)
        if "/" in name or "\\" in name or name in (".", ".."):
            reason = reason or "it has parts of a path"
        if len(name) > 255 or (name and not name.strip()):
            reason = reason or "its length is none for a name"
        if reason:
            self.fault(pointer, reason, valid, name)
        return name

    def _content_type(self, value: object, pointer: str, filename: str) -> tuple[str, tuple[tuple[str, str], ...]]:
        valid = 'a media type such as "application/pdf"; of messages "message/rfc822" only; none of several parts'
        given = self.string(value, pointer, valid)
        if given is None:
            return _TYPES.get(filename.rpartition(".")[2].lower(), "application/octet-stream"), ()
        found = _TYPE.match(given) if len(given) <= 1000 and given.isascii() and not unsafe(given) else None
        pairs = _pairs(found[3]) if found else None
        if found is None or pairs is None:
            self.fault(pointer, "no media type (RFC 6838)", valid, given)
            return "", ()
        kind = f"{found[1]}/{found[2]}".lower()
        if kind.startswith(("multipart/", "message/")) and kind != "message/rfc822":
            self.fault(pointer, "such a part cannot stand for a file (RFC 2046 section 5)", valid, given)
        return kind, tuple(pairs)

    def _content(self, value: object, pointer: str) -> bytes:
        valid = "the file's octets in base64 (RFC 4648 section 4)"
        text = self.string(value, pointer, valid)
        if text is None:
            if value is None:
                self.fault(pointer, "it is missing", valid)
            return b""
        if len(text) > 2 * self._octets + 100:  # more than it could be, line ends included
            self._weigh(self._octets + 1, pointer)
            return b""
        try:
            bare = _BLANKS.sub("", text) if any(blank in text for blank in " \t\r\n") else text
            content = base64.b64decode(bare.encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError):
            self.fault(pointer, "no base64", valid, text)
            return b""
        self._weigh(len(content), pointer)
        return content

    def _content_id(self, value: object, pointer: str, seen: set[str]) -> str:
        valid = 'the name by which the HTML shows it, as "logo" for <img src="cid:logo">; each once'
        text = self.string(value, pointer, valid)
        if text is None and value is not None:
            return ""
        name = (text or "").removeprefix("<").removesuffix(">")
        if not _CONTENT_ID.match(name) or name in seen:
            self.fault(pointer, "it stands twice" if name in seen else "no content-id (RFC 2392)", valid, text or "")
        seen.add(name)
        return name

    def _weigh(self, octets: int, pointer: str) -> None:
        if self._room < 0:
            return  # told already
        self._room -= octets
        if self._room < 0:
            self.fault(pointer, "with it the texts and files have too many octets", f"at most {self._octets} together")

    # --- headers

    def headers(self, value: object, reserved: Reserved, most: int, longest: int) -> tuple[tuple[str, str], ...]:
        """Extra fields, from an object or a list of pairs."""
        valid = '{"X-Name": "value"} or [["X-Name", "value"]]'
        pairs: list[tuple[str, object, object]] = []
        if isinstance(value, dict):
            pairs = [(f"/headers/{_escaped(str(name)[:76])}", name, content) for name, content in list(value.items())[: most + 1]]
        else:
            for at, one in self._listed(value, "/headers", most, alone=False):
                if isinstance(one, list | tuple) and len(one) == 2:
                    pairs.append((f"/headers{at}", *one))
                else:
                    self.fault(f"/headers{at}", "no pair of name and value", valid, one)
        if len(pairs) > most:
            self.fault("/headers", "too many headers", f"at most {most}", value)
            return ()
        return tuple(
            (str(name), text)
            for pointer, name, content in pairs
            if self._is_free(name, pointer, reserved) and (text := self._field(str(name), content, pointer, longest)) is not None
        )

    def _is_free(self, name: object, pointer: str, reserved: Reserved) -> bool:
        if not isinstance(name, str) or not fields.is_field_name(name):
            self.fault(pointer, "no name of a header", "1 to 76 printable ASCII characters without blanks and colons", name)
            return False
        low = name.lower()
        if low in reserved.names or low.startswith(reserved.beginnings):
            self.fault(pointer, f"{name} is not set in this way", reserved.names.get(low, "none: it is set here"))
            return False
        return True

    def _field(self, name: str, value: object, pointer: str, longest: int) -> str | None:
        text = self.line(value, pointer, longest)
        if text is None:
            if value is None:
                self.fault(pointer, "no string", "a string", value)
            return None
        if name.lower() in ("references", "in-reply-to") and not _IDENTITIES.match(text):
            self.fault(pointer, "no message ids", '"<id@example.org>", several with blanks between them', text)
            return None
        if name.lower().startswith(_STRUCTURED) and not fields.is_plain(text):
            self.fault(pointer, "nothing may be encoded in this header", "ASCII with no word of more than 900 characters", text)
            return None
        return text

    def _listed(self, value: object, pointer: str, most: int, *, alone: bool) -> list[tuple[str, Any]]:
        """The elements of a list with the ends of their pointers; ``alone``: anything else stands for a list of one."""
        if value is None:
            return []
        if not isinstance(value, list | tuple):
            if alone:
                return [("", value)]
            self.fault(pointer, "no list", "a list", value)
            return []
        if len(value) > most:
            self.fault(pointer, f"{len(value)} are too many", f"at most {most}")
            return []
        for at, one in enumerate(value):
            if one is None:
                self.fault(f"{pointer}/{at}", "null stands in a list", "no null", one)
        return [(f"/{at}", one) for at, one in enumerate(value) if one is not None]


def _pairs(text: str) -> list[tuple[str, str]] | None:
    """The parameters of a media type; None where they are none."""
    pairs: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        found = _PARAMETER.match(text, at)
        if found is None:
            return None
        pairs.append((found[1], re.sub(r"\\(.)", r"\1", found[2]) if found[2] is not None else found[3]))
        at = found.end()
    return pairs


def _escaped(name: str) -> str:
    """A token of a JSON pointer (RFC 6901 section 3); what cannot be shown is replaced."""
    return "".join(c if c.isprintable() else "\ufffd" for c in name).replace("~", "~0").replace("/", "~1")
