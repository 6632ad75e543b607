"""How operations write what programs read."""

from __future__ import annotations

import datetime
from typing import overload


@overload
def moment(seconds: float) -> str: ...
@overload
def moment(seconds: None) -> None: ...
@overload
def moment(seconds: float | None) -> str | None: ...


def moment(seconds: float | None) -> str | None:
    """A time as RFC 3339 has it, in UTC with milliseconds."""
    if seconds is None:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
