"""Answers every message once, whatever is killed and when: leases by long poll, hands the answer in, acknowledges."""

import json
import sys
import time
from http.client import HTTPException
from os import environ
from urllib import error, request


def post(path, body, **more):
    headers = {"Authorization": "Bearer " + environ["POSTROOM_KEY"], "Content-Type": "application/json", **more}
    return json.load(request.urlopen(request.Request(environ["POSTROOM"] + path, json.dumps(body).encode(), headers), timeout=90))


while True:
    try:
        for item in post("/v1/pull/desk/lease", {"wait": 60})["items"]:
            answer = {"in_reply_to_message": item["message"]["id"], "text": "We have your letter.", "auto_submitted": True}
            try:
                post("/v1/submissions", answer, **{"Idempotency-Key": item["message"]["id"]})
                post("/v1/pull/desk/acknowledge", {"tokens": [item["token"]]})
            except error.HTTPError as refused:
                post("/v1/pull/desk/refuse", {"tokens": [item["token"]], "reason": refused.read().decode()[:1000]})
    except (OSError, HTTPException) as fault:  # the service is not there just now; or it knows no such key or application
        sys.exit(fault.read().decode()) if getattr(fault, "code", 0) in (401, 403, 404) else time.sleep(1)
