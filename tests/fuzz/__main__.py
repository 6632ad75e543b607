"""Run the fuzzer. A defect is kept in the corpus as ``crash-…``, printed with its trace, and ends the run with status 1."""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
import traceback
from pathlib import Path

from fuzz.mutate import mutated
from fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"


def seeds(name: str) -> list[bytes]:
    """The kept inputs of a target."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def fuzz(name: str, seed: int, *, seconds: float = 0, count: int = 0) -> int:
    """Feed one target for so many seconds of processor time, or so many inputs; return how many it took. Raises its defect."""
    noise = random.Random(f"{name}{seed}")
    corpus = seeds(name)
    done, end = 0, time.process_time() + seconds
    while done < count or time.process_time() < end:
        octets = mutated(noise, corpus)
        try:
            TARGETS[name](octets)
        except Exception:
            kept = CORPUS / name / f"crash-{hashlib.sha256(octets).hexdigest()[:12]}"
            kept.write_bytes(octets)
            print(f"{name}: a defect, kept as {kept}", file=sys.stderr)
            raise
        done += 1
        if done % 500 == 0 and len(corpus) < 2000:
            corpus.append(octets)  # drift away from the seeds
    return done


def main() -> int:
    """One share of the time for each target, or so many inputs."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="processor time in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=TARGETS, help="one target alone")
    parser.add_argument("--count", type=int, default=0, help="so many inputs for each target, instead of a time")
    asked = parser.parse_args()
    names = [asked.only] if asked.only else list(TARGETS)
    for name in names:
        try:
            done = fuzz(name, asked.seed, seconds=0 if asked.count else asked.seconds / len(names), count=asked.count)
        except Exception:  # noqa: BLE001 - whatever a codec raises is what we look for
            traceback.print_exc()
            return 1
        print(f"{name}: {done} inputs, no defect", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
