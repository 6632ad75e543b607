"""Change octets a little: flip, cut, repeat, join, and put in what codecs stumble over."""

from __future__ import annotations

import random
from collections.abc import Sequence

_LINES = [b"\r\n", b"\n", b"\r", b"{5}\r\n", b"{99999999}\r\n", b"~{3+}\r\n", b"P1 OK ", b"+ ", b"* 1 FETCH (", b"Subject: "]
_MARKS = [b'"', b"\\", b"(", b")", b"NIL", b"\0", b"\xff\xfe", b"=?utf-8?b?", b"?=", b"=?x?q?=E4?=", b"&", b"&-", b"- ", b"}"]
_NAMES = [b"BODY[] ", b"UID 4294967295 ", b"[pop-client-a]\n", b" = ", b"env:", b"%(x)s", b'{"error":', b"[" * 40, b"(" * 40]
_REPLIES = [b"+OK ", b"+OK\r\n", b"-ERR [SYS/TEMP] ", b"\r\n.\r\n", b"..", b"1 2\r\n", b"\r\n 1 Feb 2026 "]
_SMTP = [
    b"250-",
    b"250 ok\r\n",
    b"354 go\r\n",
    b"421 4.7.0 ",
    b"550 5.1.1 ",
    b"334 \r\n",
    b"LIMITS RCPTMAX=1\r\n",
    b"AUTH=",
    b"250-CHUNKING\r\n",
]
_WORDS = [*_LINES, *_MARKS, *_NAMES, *_REPLIES, *_SMTP]


def mutated(noise: random.Random, corpus: Sequence[bytes]) -> bytes:
    """A new input out of those that are there."""
    octets = bytearray(noise.choice(corpus))
    for _ in range(noise.randint(1, 6)):
        at = noise.randint(0, len(octets))
        end = min(len(octets), at + noise.randint(0, 12))
        kind = noise.randrange(6)
        if kind == 0 and octets:
            octets[noise.randrange(len(octets))] = noise.randrange(256)
        elif kind == 1:
            del octets[at:end]
        elif kind == 2:
            octets[at:at] = noise.choice(_WORDS)
        elif kind == 3:
            octets[at:at] = octets[at:end] * noise.randint(1, 20)
        elif kind == 4:
            octets[at:] = noise.choice(corpus)[at:]
        else:
            octets[at:end] = noise.randbytes(noise.randint(0, 8))
    return bytes(octets[:20_000])
