"""What a token endpoint's answer means: a token, or the error that the engine and a person can act on."""

from __future__ import annotations

import json

from postroom.errors import PostroomError, Throttled, TokenRefused, TokenUnavailable
from postroom.net.http import HttpAnswer
from postroom.net.refusals import Heard, Verdict, explain, heard_from_token_body
from postroom.secret import Secret
from postroom.wire import oauth

INTERRUPTED = (
    "The last refresh was interrupted before its answer came here (the process ended or the connection was lost); an authority "
    "that gives each refresh token once takes the second use for theft and ends the whole consent."
)
_SENT_IN_SECRET = (
    "refresh_token",
    "client_secret",
    "password",
    "code",
    "code_verifier",
    "client_assertion",
    "assertion",
    "device_code",
)
_ELSEWHERE = (
    "Check tenant-authority, or token_endpoint of the authority- section; else the authority has trouble and it is tried again."
)


def token_of(answer: HttpAnswer, form: oauth.Form, authority: str) -> oauth.TokenAnswer:
    """The token in an answer.

    Raises ``TokenRefused`` where a person must act, ``Throttled`` where the authority asks for patience, ``TokenUnavailable``
    for passing trouble, ``RemoteProtocolError`` for a token that cannot be used. Nothing sent in secret is repeated.
    """
    token = oauth.read_answer(answer.status, answer.body)
    if token is not None:
        return token
    raise refusal_of(answer, form, authority)


def refusal_of(answer: HttpAnswer, form: oauth.Form, authority: str) -> PostroomError:
    """The error that an answer without a token is."""
    heard = heard_from_token_body(authority, answer.status, _masked(answer.body, form))
    rule = explain(heard)
    words = _words(heard) if heard.error else f"the authority answered {answer.status} without a token"
    words = f"429 Too Many Requests: {words}" if answer.status == 429 else words
    explained = f"{rule.means} {rule.remedy}" if rule is not None else ""
    if answer.status == 429 or (rule is not None and rule.fate is Verdict.THROTTLE):
        return Throttled(words, retry_after=answer.retry_after, remedy=explained)
    if answer.status >= 500 or (rule is not None and rule.fate is Verdict.RETRY):
        if answer.retry_after is not None:
            return Throttled(words, retry_after=answer.retry_after, remedy=explained)
        return TokenUnavailable(words, remedy=explained)
    if not heard.error:
        return TokenUnavailable(words, remedy=_ELSEWHERE)
    reason, certain = (rule.name, rule.certain) if rule is not None else ("", False)
    return TokenRefused(words, error=heard.error, description=heard.words, remedy=explained, certain=certain, reason=reason)


def _words(heard: Heard) -> str:
    parts = (heard.error, f"({heard.suberror})" if heard.suberror else "")
    error = " ".join(part for part in parts if part)
    return ": ".join(part for part in (error, heard.words) if part)


def outside_body(answer: HttpAnswer, url: str) -> bytes:
    """What a token-url answered. Raises ``Throttled`` and ``TokenUnavailable``."""
    if answer.status == 429 or (answer.status == 503 and answer.retry_after is not None):
        raise Throttled(f"{url} answered {answer.status}", retry_after=answer.retry_after)
    if answer.status != 200:
        raise TokenUnavailable(f"{url} answered {answer.status}", remedy="Open token-url by hand: it must answer 200 with a token.")
    return answer.body


def outside_token(body: bytes, place: str) -> tuple[Secret, float | None]:
    """A token that a command printed or an address answered: JSON as of RFC 6749 section 5.1, or bare; and its lifetime if told."""
    text = body.decode("utf-8", "replace").strip()
    if not text.startswith("{"):
        if not text or any(character.isspace() for character in text):
            raise TokenUnavailable(f"{place} gave no token: a bare token is one word")
        return Secret(text), None
    token = oauth.read_answer(200, body)
    if token is None:
        raise TokenUnavailable(f"{place} gave JSON without an access_token (RFC 6749 section 5.1)")
    told = "expires_in" in json.loads(body)
    return token.access_token, token.expires_in if told else None


def _masked(body: bytes, form: oauth.Form) -> bytes:
    """The answer without what was sent in secret: an authority may repeat it in its words."""
    for name in _SENT_IN_SECRET:
        if secret := form.get(name, "").encode():
            body = body.replace(secret, b"***")
    return body
