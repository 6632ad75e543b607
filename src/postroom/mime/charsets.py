"""Charsets that mail may be written in (RFC 2045 section 2.2): registered ones in which ASCII is itself, for others cannot stand
in lines (RFC 2046 section 4.1.1).
"""

from __future__ import annotations

import codecs
import re

_NAMES = {
    "utf-8": "utf-8",
    "ascii": "us-ascii",
    "iso2022_jp": "iso-2022-jp",
    "iso2022_kr": "iso-2022-kr",
    "shift_jis": "shift_jis",
    "euc_jp": "euc-jp",
    "euc_kr": "euc-kr",
    "gb2312": "gb2312",
    "gbk": "gbk",
    "gb18030": "gb18030",
    "big5": "big5",
    "koi8-r": "koi8-r",
    "koi8-u": "koi8-u",
    "tis-620": "tis-620",
}
_FAMILIES = ((re.compile(r"iso8859-(\d+)\Z"), "iso-8859-{}"), (re.compile(r"cp(125[0-8])\Z"), "windows-{}"))


def mime_name(charset: str) -> str:
    """The registered name of a charset that may be used; empty when it may not."""
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        return ""
    for family, form in _FAMILIES:
        if found := family.match(name):
            return form.format(found[1])
    return _NAMES.get(name, "")


def encoded(text: str, charset: str) -> tuple[bytes, str]:
    """The text's octets and the name of their charset: the wanted one when the text fits into it, else UTF-8."""
    name = mime_name(charset)
    if name not in ("", "utf-8"):
        try:
            octets = text.encode(name)
            if octets.decode(name) == text:  # some codecs write what they read otherwise
                return octets, name
        except UnicodeError:
            pass
    return text.encode(), "utf-8"
