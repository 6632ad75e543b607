"""How much a source may still be read under its provider's limit of octets a day. Functions within one transaction."""

from __future__ import annotations

import apsw

_SPEND = """
INSERT INTO allowances VALUES (?1, ?3 - ?2, ?5) ON CONFLICT DO UPDATE
SET remaining = min(?3, remaining + max(?5 - at, 0) * ?4) - ?2, at = max(at, ?5)
RETURNING remaining"""


def spend(db: apsw.Connection, source: int, octets: int, most: float, per_second: float, now: float) -> float:
    """Take octets away, after what time has filled in again; return what remains."""
    return float(db.execute(_SPEND, (source, octets, most, per_second, now)).get)
