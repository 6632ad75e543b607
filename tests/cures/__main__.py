"""``python -m cures``: take every cure out, one after the other; its tests must fail. ``--pain N`` takes those of one pain."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from cures.known import CURES
from cures.removal import Flaw, prove, prove_whole


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m cures", description=__doc__)
    parser.add_argument("--pain", help="the number of one pain")
    pain = parser.parse_args().pain
    cures = [cure for cure in CURES if pain in (None, str(cure.pain))]
    if not cures:
        parser.error(f"no cure of P{pain} is known")
    flaws = 0
    try:
        prove_whole(cures)
    except Flaw as flaw:
        print(flaw)
        flaws += 1
    for cure in cures:
        with tempfile.TemporaryDirectory() as folder:
            try:
                prove(cure, Path(folder))
            except Flaw as flaw:
                print(flaw, flush=True)
                flaws += 1
            else:
                print(f"P{cure.pain:<3} missed  {cure.what}", flush=True)
    print(f"{len(cures)} cures of {len({cure.pain for cure in cures})} pains, {flaws} flaws")
    return 1 if flaws else 0


if __name__ == "__main__":
    sys.exit(main())
