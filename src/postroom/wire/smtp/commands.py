"""Write commands, each with its line end. Nothing that a caller gives can end a line early: ``LocalProtocolError``."""

from __future__ import annotations

import ipaddress
import re

from postroom.errors import LocalProtocolError
from postroom.outbound import Body, Recipient

_COMMAND = 512  # octets with the line end (RFC 5321 section 4.5.3.1.4); what an extension adds it allows for itself
AUTH = 12288  # octets of AUTH with its initial response and line end (RFC 4954 section 4, point 6)
_ENVID = 100  # RFC 3461 section 4.4
_ORCPT = 500  # RFC 3461 section 4.2
_NOTIFY = frozenset({"NEVER", "SUCCESS", "FAILURE", "DELAY"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# A Mailbox of RFC 5321 section 4.1.2, as far as it keeps a path in its brackets; whether it is one, others have judged.
_PATH = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^\s<>"\\])*')
_XTEXT = re.compile(rb"[^!-*,-<>-~]")  # RFC 3461 section 4: all but xchar
_UNITEXT = re.compile(r"[^!-*,-<>-\[\]-~]")  # RFC 6533 section 3: all but QCHAR
_HOST = re.compile(
    r"(?=.{1,255}\Z)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)


def ehlo(name: str) -> bytes:
    """EHLO with a host name or an address literal."""
    return _line(f"EHLO {name}")


def helo(name: str) -> bytes:
    """HELO, for a server that does not know EHLO (RFC 5321 section 3.2)."""
    return _line(f"HELO {name}")


def own_name(address: str) -> str:
    """The name under which a client on this address presents itself: its literal (RFC 5321 sections 4.1.3 and 4.1.4).

    A host name that is valid stands for itself.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address if _HOST.fullmatch(address) else "localhost"
    if isinstance(found, ipaddress.IPv6Address):
        return f"[{found.ipv4_mapped}]" if found.ipv4_mapped is not None else f"[IPv6:{found}]"
    return f"[{found}]"


def mail(
    address: str,
    *,
    size: int | None = None,
    body: Body | None = None,
    smtputf8: bool = False,
    ret: str = "",
    envid: str = "",
) -> bytes:
    """MAIL with the parameters of RFC 1870, RFC 6152, RFC 3030, RFC 6531 and RFC 3461, each only where it is given."""
    line = f"MAIL FROM:<{_path(address, smtputf8)}>"
    _short(line)
    if size is not None:
        line += f" SIZE={size}"
    if body is not None:
        line += f" BODY={body.value}"
    if smtputf8:
        line += " SMTPUTF8"
    if ret:
        if ret not in ("FULL", "HDRS"):
            raise LocalProtocolError(f"RET={ret!r}")
        line += f" RET={ret}"
    if envid:
        line += f" ENVID={_bounded('ENVID', xtext(envid), _ENVID)}"
    return _line(line)


def rcpt(recipient: Recipient, *, smtputf8: bool = False, dsn: bool = False) -> bytes:
    """RCPT; with ``dsn`` what the recipient says of reports (RFC 3461 sections 4.1 and 4.2)."""
    line = f"RCPT TO:<{_path(recipient.address, smtputf8)}>"
    _short(line)
    if dsn and recipient.notify:
        strange = set(recipient.notify) - _NOTIFY
        if strange or ("NEVER" in recipient.notify and len(recipient.notify) > 1):  # NEVER stands alone (section 4.1)
            raise LocalProtocolError(f"NOTIFY={','.join(recipient.notify)!r}")
        line += f" NOTIFY={','.join(recipient.notify)}"
    if dsn and recipient.orcpt:
        line += f" ORCPT={_bounded('ORCPT', _original(recipient.orcpt), _ORCPT)}"
    return _line(line)


def auth(mechanism: str, initial: bytes | None = None) -> bytes:
    """AUTH, with an initial response that is base64 already."""
    if not re.fullmatch(r"[A-Z0-9_-]{1,20}", mechanism):  # RFC 4422 section 3.1
        raise LocalProtocolError(f"no mechanism: {mechanism!r}")
    return _line(f"AUTH {mechanism}" + (f" {initial.decode('ascii')}" if initial is not None else ""))


def bdat(octets: int, *, last: bool) -> bytes:
    """The head of a chunk (RFC 3030 section 2)."""
    return b"BDAT %d LAST\r\n" % octets if last else b"BDAT %d\r\n" % octets


def xtext(text: str) -> str:
    """RFC 3461 section 4: what is no xchar, and + and =, as + with two digits in upper case."""
    if _CONTROL.search(text):
        raise LocalProtocolError(f"a control character: {text[:80]!r}")
    return _XTEXT.sub(lambda found: b"+%02X" % found[0][0], _octets(text)).decode("ascii")


def _original(orcpt: str) -> str:
    """An original recipient; one beyond ASCII in the form that needs no SMTPUTF8 (RFC 6533 section 3)."""
    kind, separator, address = orcpt.partition(";")
    if not separator or not re.fullmatch(r"[A-Za-z0-9-]{1,40}", kind):
        raise LocalProtocolError(f"ORCPT without an address type: {orcpt[:80]!r}")
    if address.isascii():
        return f"{kind};{xtext(address)}"
    if _CONTROL.search(address):
        raise LocalProtocolError(f"a control character: {orcpt[:80]!r}")
    return "utf-8;" + _UNITEXT.sub(lambda found: f"\\x{{{ord(found[0]):02X}}}", address)


def _path(address: str, smtputf8: bool) -> str:
    if _CONTROL.search(address) or not _PATH.fullmatch(address):
        raise LocalProtocolError(f"no address: {address[:80]!r}")
    if not smtputf8 and not address.isascii():
        raise LocalProtocolError(f"an address beyond ASCII without SMTPUTF8: {address[:80]!r}")
    return address


def _short(line: str) -> None:
    if len(_octets(line)) + 2 > _COMMAND:
        raise LocalProtocolError(f"a command of more than {_COMMAND} octets: {line[:80]!r}")


def _bounded(name: str, value: str, most: int) -> str:
    if len(value) > most:
        raise LocalProtocolError(f"{name} of more than {most} octets: {value[:80]!r}")
    return value


def _line(line: str) -> bytes:
    if _CONTROL.search(line):  # whatever it is made of: no CR, LF or NUL inside a command
        raise LocalProtocolError(f"a control character in a command: {line[:80]!r}")
    return _octets(line) + b"\r\n"


def _octets(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise LocalProtocolError(f"a lone surrogate, which is no text: {text[:80]!r}") from None
