"""What the disk itself can do: write so many octets one after the other, and make them durable as they go.

FILE OCTETS OCTETS_BETWEEN_TWO_SYNCS
"""

from __future__ import annotations

import os
import sys

PIECE = 1_000_000


def main() -> None:
    path, octets, between = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    piece = os.urandom(PIECE)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    written = synced = 0
    while written < octets:
        written += os.write(file, piece[: octets - written])
        if written - synced >= between:
            os.fdatasync(file)
            synced = written
    os.fdatasync(file)
    os.close(file)


if __name__ == "__main__":
    main()
