"""Run one program, or several at once, and print what they cost as JSON: WORDS-FILE PROGRAMS, as JSON, a list of lists.

The time runs from the first start to the last end. A process's peak counts what it shared with the one that started it, so
that must be smaller than what is measured: this program imports next to nothing.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    words = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, words, 1), (os.POSIX_SPAWN_DUP2, words, 2)]
    programs = json.loads(sys.argv[2])
    began_at, began = time.time(), time.perf_counter()
    living = {os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions) for argv in programs}
    cpu, peak, status = 0.0, 0, 0
    while living:
        pid, ended, usage = os.wait4(-1, 0)
        living.remove(pid)
        cpu += usage.ru_utime + usage.ru_stime
        peak += usage.ru_maxrss * 1024
        status = status or os.waitstatus_to_exitcode(ended)
    wall = time.perf_counter() - began
    print(json.dumps({"status": status, "began_at": began_at, "wall": wall, "cpu": cpu, "peak": peak}))


if __name__ == "__main__":
    main()
