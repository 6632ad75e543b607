"""``python -m bench [NAME ...] [--rounds N] [--quick] [--json FILE] [--directory FOLDER]``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.capture import capture, large, pop3
from bench.idle import idle
from bench.line import distance, distance_pop3, unchanged, unchanged_pop3
from bench.many import many
from bench.report import Report
from bench.rig import Rig
from bench.sending import post, queue, send, send_postfix
from bench.start import start
from servers.dovecot import Dovecot

BENCHES: Mapping[str, Callable[[Rig], Report]] = {
    "start": start,
    "capture": capture,
    "pop3": pop3,
    "large": large,
    "many": many,
    "unchanged": unchanged,
    "unchanged-pop3": unchanged_pop3,
    "distance": distance,
    "distance-pop3": distance_pop3,
    "idle": idle,
    "send": send,
    "send-postfix": send_postfix,
    "post": post,
    "queue": queue,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Measure Postroom beside its peers; report ratios.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHES)}; all where none is named")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each contender, interleaved (5)")
    parser.add_argument("--quick", action="store_true", help="small numbers and one round, to see that all of it works")
    parser.add_argument("--mailbox", type=int, metavar="N", help="messages of the largest mailbox (200,000; quick: 500)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to a file as well")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="on the disk that is measured (/var/tmp)")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHES):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    if arguments.rounds < 1:
        parser.error("--rounds is 1 or more")
    return arguments


def _told(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _equal_conditions(folder: Path) -> None:
    """Programs in Python find their modules compiled, as installed ones do, whatever this shell says of that."""
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONUNBUFFERED"):
        os.environ.pop(name, None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")


def main() -> None:
    """Measure, print each report as soon as it stands, write the JSON."""
    arguments = _arguments()
    reports = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=arguments.directory) as name, Dovecot() as dovecot:
        Path(name).chmod(0o711)
        _equal_conditions(Path(name))
        rounds = 1 if arguments.quick else arguments.rounds
        mailbox = arguments.mailbox or (500 if arguments.quick else 200_000)
        rig = Rig(dovecot, Path(name), rounds, arguments.quick, mailbox, _told)
        rig.warm()
        for bench in arguments.names or BENCHES:
            _told(f"{bench} ...")
            report = BENCHES[bench](rig)
            reports.append(report)
            print(report.text(), flush=True)
        machine = rig.machine()
    print(machine)
    if arguments.json is not None:
        everything = {"machine": machine, "rounds": rig.rounds, "quick": rig.quick, "benches": [r.as_json() for r in reports]}
        arguments.json.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
