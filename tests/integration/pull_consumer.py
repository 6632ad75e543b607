"""An application as a process of its own, to be killed: leases by long poll, writes down what it does, acknowledges.

``python pull_consumer.py ADDRESS KEY LOG``. A line of the log: time, word, id of the message, end of the lease.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from typing import Any


def main() -> None:
    address, key, log = sys.argv[1:]
    with open(log, "a", buffering=1) as file:

        def note(word: str, item: dict[str, Any]) -> None:
            file.write(f"{time.time()} {word} {item['message']['id']} {item['leased_until']}\n")

        def post(verb: str, body: object) -> Any:
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            request = urllib.request.Request(f"{address}/v1/pull/app/{verb}", json.dumps(body).encode(), headers)
            with urllib.request.urlopen(request, timeout=90) as answer:
                return json.load(answer)

        while True:
            try:
                items = post("lease", {"limit": 3, "wait": 60, "lease_seconds": 1})["items"]
                for item in items:
                    note("leased", item)
                for item in items:
                    post("acknowledge", {"tokens": [item["token"]]})
                    note("acknowledged", item)
            except urllib.error.HTTPError as error:
                if error.code != 409:  # a lease that ran out: another has the message
                    raise
            except OSError:  # the service was killed; it comes back
                pass


if __name__ == "__main__":
    main()
