"""Asking an authority about an access token, as the tests' own servers do it."""

from __future__ import annotations

import base64
import json
import urllib.parse
import urllib.request
from typing import Any


def introspect(url: str, token: str) -> dict[str, Any]:
    """What the authority says of it (RFC 7662 section 2); name and secret of the one who asks stand in the URL.

    Raises ``OSError`` or ``ValueError`` when the authority cannot tell.
    """
    parts = urllib.parse.urlsplit(url)
    client = f"{parts.username}:{parts.password}".encode()
    plain = parts._replace(netloc=f"{parts.hostname}:{parts.port}").geturl()
    request = urllib.request.Request(plain, urllib.parse.urlencode({"token": token}).encode())
    request.add_header("Authorization", f"Basic {base64.b64encode(client).decode()}")
    with urllib.request.urlopen(request, timeout=5) as reply:
        said: dict[str, Any] = json.load(reply)
    return said
