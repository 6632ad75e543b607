"""Give one IMAP response its meaning (RFC 9051 section 9, with RFC 3501's forms where servers still use them).

``parse`` takes a response's parts and always answers: what it cannot read is a ``Malformed`` with the octets.
Functions are named after the productions that they read.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from postroom.wire.imap import types
from postroom.wire.imap.fragments import STREAMED, Parts
from postroom.wire.imap.numbers import Numbers

_NUMBER = re.compile(rb"\d{1,20}(?![^ )\]])")
_ATOM = re.compile(rb"[^\x00-\x20()\{\"\x7f]+")
_QUOTED = re.compile(rb'"((?:[^"\\\r\n]|\\.)*)"')  # quoted = DQUOTE *QUOTED-CHAR DQUOTE; servers escape more than they must
_ITEM = re.compile(rb" ?([A-Za-z0-9.\-]+)(\[[^\]]*\])?(?:<\d+>)? ")  # msg-att-static, msg-att-dynamic
_UNTAGGED_NUMBER = re.compile(rb"\* (\d{1,10}) ([A-Za-z]+)")
_WORD = re.compile(rb"\* ([A-Za-z][A-Za-z0-9-]*) ?")
_TAGGED = re.compile(rb"([^\x00-\x20()\{%*\"\\+]+) (OK|NO|BAD) ?(.*)\Z", re.IGNORECASE | re.DOTALL)
_CODE = re.compile(rb"\[([^ \]]+) ?([^\]]*)\] ?")
_DEEP = 32  # nested lists; what we ask for has two


class _Unreadable(Exception):
    pass


class _Cursor:
    """A place within a response's parts. Even parts are text, odd ones literals."""

    __slots__ = ("index", "parts", "position", "text")

    def __init__(self, parts: Parts, position: int) -> None:
        self.parts = parts
        self.index = 0
        self.text = parts[0]
        self.position = position

    def at_end(self) -> bool:
        return self.position >= len(self.text) and self.index + 1 >= len(self.parts)

    def peek(self) -> bytes:
        return self.text[self.position : self.position + 1]

    def skip(self, octet: bytes) -> bool:
        if self.peek() != octet:
            return False
        self.position += 1
        return True

    def literal(self) -> bytes | None:
        """The literal that stands here; None when text does."""
        if self.position < len(self.text) or self.index + 1 >= len(self.parts):
            return None
        value = self.parts[self.index + 1]
        self.index += 2
        self.text = self.parts[self.index] if self.index < len(self.parts) else b""
        self.position = 0
        return value

    def match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        found = pattern.match(self.text, self.position)
        if found is not None:
            self.position = found.end()
        return found


def parse(parts: Parts) -> types.Response:
    """Read one response. Never raises."""
    if (common := _common(parts)) is not None:
        return common
    try:
        return _response(parts)
    except (_Unreadable, ValueError) as error:
        octets = b"{}".join(part if part is not STREAMED else b"" for part in parts)[:2000]
        return types.Malformed(octets, str(error) or "outside the grammar")


# What a server answers to our two most frequent questions, in the order that we asked: read in one step, for they come by the
# ten thousand. Whatever deviates by an octet takes the way through the grammar.
_BODY = re.compile(rb"\* (\d{1,10}) FETCH \(UID (\d{1,10}) BODY\[\] \Z")
_LISTING = re.compile(rb'\* (\d{1,10}) FETCH \(UID (\d{1,10}) RFC822\.SIZE (\d{1,19}) INTERNALDATE "([ !#-\[\]-~]+)"\)\Z')


def _common(parts: Parts) -> types.Fetch | None:
    if len(parts) == 3 and parts[2] == b")" and parts[1] is not STREAMED:
        found = _BODY.match(parts[0])
        if found is not None:
            return types.Fetch(int(found[1]), uid=int(found[2]), body=parts[1], has_body=True)
    elif len(parts) == 1:
        found = _LISTING.match(parts[0])
        if found is not None:
            date = found[4].decode("ascii").strip()
            return types.Fetch(int(found[1]), uid=int(found[2]), size=int(found[3]), internal_date=date)
    return None


def _response(parts: Parts) -> types.Response:
    line = parts[0]
    numbered = _UNTAGGED_NUMBER.match(line)
    if numbered is not None:
        return _numbered(parts, numbered)
    if line.startswith(b"+"):
        return types.Continuation(line[1:].lstrip(b" "))
    word = _WORD.match(line)
    if word is not None:
        name = word[1].upper()
        read = _UNTAGGED.get(name)
        if read is None:
            return types.Other(name.decode())
        return read(_Cursor(parts, word.end()), name)
    tagged = _TAGGED.match(line)
    if tagged is not None:
        return _status_response(tagged[1].decode("ascii", "replace"), tagged[2], tagged[3])
    raise _Unreadable("neither tagged nor untagged")


def _numbered(parts: Parts, head: re.Match[bytes]) -> types.Response:
    number, name = int(head[1]), head[2].upper()
    if name == b"FETCH":
        return _fetch(_Cursor(parts, head.end()), number)
    if name == b"EXISTS":
        return types.Exists(number)
    if name == b"EXPUNGE":
        return types.Expunged(number)
    return types.Other(name.decode())


def _status_response(tag: str, status: bytes, rest: bytes) -> types.StatusResponse:
    """resp-text = ["[" resp-text-code "]" SP] [text] (RFC 9051 section 7.1)."""
    code = arguments = ""
    found = _CODE.match(rest)
    if found is not None:
        code, arguments = found[1].decode("ascii", "replace").upper(), _text(found[2])
        rest = rest[found.end() :]
    return types.StatusResponse(tag, types.Status(status.upper().decode()), code, arguments, _text(rest))


def _text(octets: bytes) -> str:
    text = octets.decode("utf-8", "replace")
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def _untagged_status(cursor: _Cursor, name: bytes) -> types.Response:
    return _status_response("", name, cursor.text[cursor.position :])


def _capability(cursor: _Cursor, _name: bytes) -> types.Response:
    words = cursor.text[cursor.position :].decode("ascii", "replace").upper().split()
    return types.Capability(frozenset(words))


def _search(cursor: _Cursor, _name: bytes) -> types.Response:
    words = cursor.text[cursor.position :].split(b"(")[0].split()  # RFC 7162 appends "(MODSEQ n)"
    return types.Search(Numbers.of(int(word) for word in words))


def _esearch(cursor: _Cursor, _name: bytes) -> types.Response:
    """esearch-response = "ESEARCH" [search-correlator] [SP "UID"] *(SP search-return-data)."""
    tag, uid, numbers = "", False, {}
    every: Numbers | None = None
    if cursor.peek() == b"(":  # search-correlator = SP "(" "TAG" SP tag-string ")"
        correlator = _value(cursor)
        if isinstance(correlator, list) and len(correlator) == 2 and isinstance(correlator[1], bytes):
            tag = _text(correlator[1])
    while not cursor.at_end():
        cursor.skip(b" ")
        if cursor.at_end():
            break
        name = _atom(cursor).upper()
        if name == b"UID":
            uid = True
            continue
        cursor.skip(b" ")
        if name == b"ALL":
            every = Numbers.read(_atom(cursor))
        elif name in (b"COUNT", b"MIN", b"MAX"):
            numbers[name] = _number(cursor)
        else:
            _value(cursor)  # search-ret-data-ext
    return types.ESearch(tag, uid, numbers.get(b"COUNT"), numbers.get(b"MIN"), numbers.get(b"MAX"), every)


def _vanished(cursor: _Cursor, _name: bytes) -> types.Response:
    """expunged-resp = "VANISHED" [SP "(EARLIER)"] SP known-uids (RFC 7162 section 7)."""
    earlier = cursor.peek() == b"("
    if earlier:
        _value(cursor)
        cursor.skip(b" ")
    return types.Vanished(Numbers.read(_atom(cursor)), earlier)


def _enabled(cursor: _Cursor, _name: bytes) -> types.Response:
    words = cursor.text[cursor.position :].decode("ascii", "replace").upper().split()
    return types.Enabled(frozenset(words))


def _server_id(cursor: _Cursor, _name: bytes) -> types.Response:
    """id-response = "ID" SP id-params-list; id-params-list = "(" #(string SP nstring) ")" / nil."""
    values = _value(cursor) or []
    if not isinstance(values, list):
        raise _Unreadable("ID without its list")
    pairs = zip(values[::2], values[1::2], strict=False)
    return types.ServerId({_text(k).lower(): _text(v) for k, v in pairs if isinstance(k, bytes) and isinstance(v, bytes)})


def _namespace(cursor: _Cursor, _name: bytes) -> types.Response:
    """namespace-response = "NAMESPACE" SP namespace SP namespace SP namespace: personal, other users', shared."""
    described = _value(cursor) or []
    if not isinstance(described, list):
        raise _Unreadable("NAMESPACE without its list")
    personal: list[tuple[bytes, bytes | None]] = []
    for each in described:
        if isinstance(each, list) and len(each) >= 2 and not isinstance(each[1], list):
            prefix, delimiter = each[0], each[1]
            if isinstance(prefix, bytes) and (delimiter is None or isinstance(delimiter, bytes)):
                personal.append((prefix, delimiter))
    return types.Namespace(tuple(personal))


def _status(cursor: _Cursor, _name: bytes) -> types.Response:
    """mailbox-data = "STATUS" SP mailbox SP "(" [status-att-list] ")"."""
    mailbox = _string(cursor)
    cursor.skip(b" ")
    values = _value(cursor)
    if not isinstance(values, list):
        raise _Unreadable("STATUS without its list")
    items = {}
    for key, value in zip(values[::2], values[1::2], strict=False):
        if isinstance(key, bytes) and isinstance(value, bytes) and value.isdigit():
            items[key.upper().decode("ascii", "replace")] = int(value)
    return types.MailboxStatus(mailbox, items)


def _list(cursor: _Cursor, _name: bytes) -> types.Response:
    """mailbox-list = "(" [mbx-list-flags] ")" SP (DQUOTE QUOTED-CHAR DQUOTE / nil) SP mailbox."""
    attributes = _value(cursor)
    cursor.skip(b" ")
    delimiter = _value(cursor)
    cursor.skip(b" ")
    mailbox = _string(cursor)
    if not isinstance(attributes, list) or isinstance(delimiter, list):
        raise _Unreadable("LIST outside its form")
    names = frozenset(a.decode("ascii", "replace").lower() for a in attributes if isinstance(a, bytes))
    return types.ListEntry(names, delimiter, mailbox)


_UNTAGGED: dict[bytes, Callable[[_Cursor, bytes], types.Response]] = {
    b"OK": _untagged_status,
    b"NO": _untagged_status,
    b"BAD": _untagged_status,
    b"BYE": _untagged_status,
    b"PREAUTH": _untagged_status,
    b"CAPABILITY": _capability,
    b"ENABLED": _enabled,
    b"ID": _server_id,
    b"NAMESPACE": _namespace,
    b"VANISHED": _vanished,
    b"SEARCH": _search,
    b"ESEARCH": _esearch,
    b"STATUS": _status,
    b"LIST": _list,
}


# --- FETCH (RFC 9051 section 7.5.2)


def _fetch(cursor: _Cursor, number: int) -> types.Fetch:
    """msg-att = "(" (msg-att-dynamic / msg-att-static) *(SP …) ")"."""
    cursor.skip(b" ")
    if not cursor.skip(b"("):
        raise _Unreadable("FETCH without its list")
    fetch = types.Fetch(number)
    while not cursor.skip(b")"):
        item = cursor.match(_ITEM)
        if item is None:
            raise _Unreadable("FETCH item without a name")
        name = item[1] if item[2] is None else item[1] + item[2]
        read = _ITEMS.get(name) or _ITEMS.get(name.upper())
        if read is not None:
            read(cursor, fetch)
        else:
            fetch.others[name.upper().decode("ascii", "replace")] = _value(cursor)
    return fetch


def _number(cursor: _Cursor) -> int:
    found = cursor.match(_NUMBER)
    if found is None:
        raise _Unreadable("no number where one belongs")
    return int(found[0])


def _item_uid(cursor: _Cursor, fetch: types.Fetch) -> None:
    fetch.uid = _number(cursor)


def _item_size(cursor: _Cursor, fetch: types.Fetch) -> None:
    fetch.size = _number(cursor)


def _item_date(cursor: _Cursor, fetch: types.Fetch) -> None:
    fetch.internal_date = _text(_string(cursor)).strip()


def _item_flags(cursor: _Cursor, fetch: types.Fetch) -> None:
    flags = _value(cursor)
    if isinstance(flags, list):
        fetch.flags = frozenset(_text(flag).lower() for flag in flags if isinstance(flag, bytes))


def _item_modseq(cursor: _Cursor, fetch: types.Fetch) -> None:
    cursor.skip(b"(")
    fetch.modseq = _number(cursor)
    cursor.skip(b")")


def _item_body(cursor: _Cursor, fetch: types.Fetch) -> None:
    value = _value(cursor)
    if isinstance(value, list):
        raise _Unreadable("BODY[] is a list")
    fetch.has_body = True
    fetch.body = value


def _item_header(cursor: _Cursor, fetch: types.Fetch) -> None:
    value = _value(cursor)
    if isinstance(value, list):
        raise _Unreadable("BODY[HEADER] is a list")
    fetch.header = value or b""


def _item_email_id(cursor: _Cursor, fetch: types.Fetch) -> None:
    """EMAILID (RFC 8474 section 4.1) is in parentheses, X-GM-MSGID is a number."""
    value: object = _value(cursor)
    if isinstance(value, list):
        value = value[0] if value else None
    fetch.email_id = _text(value) if isinstance(value, bytes) else ""


_ITEMS: dict[bytes, Callable[[_Cursor, types.Fetch], None]] = {
    b"UID": _item_uid,
    b"RFC822.SIZE": _item_size,
    b"INTERNALDATE": _item_date,
    b"FLAGS": _item_flags,
    b"MODSEQ": _item_modseq,
    b"BODY[]": _item_body,
    b"BODY[HEADER]": _item_header,
    b"EMAILID": _item_email_id,
    b"X-GM-MSGID": _item_email_id,
}

# --- values


def _value(cursor: _Cursor, depth: int = 0) -> bytes | list[object] | None:
    """Any value: a list, a string, an atom or number as its octets, None for NIL."""
    literal = cursor.literal()
    if literal is not None:
        return literal
    if cursor.skip(b"("):
        return _values(cursor, depth)
    quoted = cursor.match(_QUOTED)
    if quoted is not None:
        return _unquoted(quoted[1])
    atom = cursor.match(_ATOM)
    if atom is None:
        raise _Unreadable("no value where one belongs")
    return None if atom[0].upper() == b"NIL" else atom[0]


def _values(cursor: _Cursor, depth: int) -> list[object]:
    if depth >= _DEEP:
        raise _Unreadable(f"lists nested deeper than {_DEEP}")
    values: list[object] = []
    while not cursor.skip(b")"):
        if cursor.at_end():
            raise _Unreadable("a list without its end")
        if not cursor.skip(b" "):
            values.append(_value(cursor, depth + 1))
    return values


def _atom(cursor: _Cursor) -> bytes:
    found = cursor.match(_ATOM)
    if found is None:
        raise _Unreadable("no atom where one belongs")
    return found[0]


def _string(cursor: _Cursor) -> bytes:
    """astring or nstring, NIL as an empty one."""
    value = _value(cursor)
    if isinstance(value, list):
        raise _Unreadable("a list where a string belongs")
    return value or b""


def _unquoted(octets: bytes) -> bytes:
    return re.sub(rb"\\(.)", rb"\1", octets) if b"\\" in octets else octets
