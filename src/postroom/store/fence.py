"""The right to write what belongs to a folder."""

from __future__ import annotations

import apsw

from postroom.errors import LeaseLost
from postroom.model import Lease

_FENCE = "SELECT epoch, state FROM folders WHERE source = ? AND folder = ? AND fence = ?"


class Fenced:
    """A transaction's right to write what belongs to a folder. Raises ``LeaseLost`` when another holds the folder now."""

    def __init__(self, db: apsw.Connection, lease: Lease) -> None:
        row = db.execute(_FENCE, (lease.source, lease.folder, lease.fence)).fetchone()
        if row is None:
            raise LeaseLost(lease.folder)
        self.db = db
        self.source = lease.source
        self.folder = lease.folder
        self.epoch = int(row[0])
        self.state = row[1]
        self.key = (self.source, self.folder, self.epoch)
