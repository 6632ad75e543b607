"""Folder names in modified UTF-7 (RFC 3501 section 5.1.3; RFC 9051 appendix A.1)."""

from __future__ import annotations

import base64
import re

_PRINTABLE = re.compile(r"[\x20-\x25\x27-\x7e]+|&|[^\x20-\x7e]+")
_SHIFTED = re.compile(rb"&([^-]*)-")


def encode(name: str) -> bytes:
    """Write a name: printable US-ASCII for itself, ``&`` as ``&-``, all else as base64 of UTF-16BE between ``&`` and ``-``."""
    octets = b""
    for run in _PRINTABLE.findall(name):
        if run == "&":
            octets += b"&-"
        elif run.isascii() and run.isprintable():
            octets += run.encode("ascii")
        else:
            encoded = base64.b64encode(run.encode("utf-16-be", "surrogatepass")).rstrip(b"=")
            octets += b"&" + encoded.replace(b"/", b",") + b"-"
    return octets


def decode(octets: bytes) -> str:
    """Read a name. What is not modified UTF-7 is taken as UTF-8, as servers with UTF8=ACCEPT send it."""
    try:
        return _SHIFTED.sub(_unshift, octets).decode("utf-8")
    except (ValueError, UnicodeDecodeError):
        return octets.decode("utf-8", "replace")


def _unshift(match: re.Match[bytes]) -> bytes:
    if not match[1]:
        return b"&"
    encoded = match[1].replace(b",", b"/")
    text = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
    return text.decode("utf-16-be").encode("utf-8")
