"""Answers every message once, whatever is killed and when: leases by long poll, hands the answer in, acknowledges."""

import json
import os
import time
from http.client import HTTPException
from urllib import error, request

SERVICE, KEY = os.environ["POSTROOM"], os.environ["POSTROOM_KEY"]


def post(path, body, **more):
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", **more}
    return json.load(request.urlopen(request.Request(SERVICE + path, json.dumps(body).encode(), headers), timeout=90))


while True:
    try:
        for item in post("/v1/pull/desk/lease", {"wait": 60})["items"]:
            answer = {"in_reply_to_message": item["message"]["id"], "text": "We have your letter.", "auto_submitted": True}
            try:
                post("/v1/submissions", answer, **{"Idempotency-Key": item["message"]["id"]})
                post("/v1/pull/desk/acknowledge", {"tokens": [item["token"]]})
            except error.HTTPError as refused:
                post("/v1/pull/desk/refuse", {"tokens": [item["token"]], "reason": refused.read().decode()[:1000]})
    except (OSError, HTTPException):  # the service is not there just now
        time.sleep(1)
