"""Logins with an access token through Python's own SMTP client, for the tests of the servers and for peers."""

from __future__ import annotations

import smtplib
from dataclasses import dataclass


@dataclass(frozen=True)
class Login:
    """What came of a login."""

    code: int  # 235, or that of the refusal
    words: bytes
    challenges: tuple[bytes, ...]  # decoded; a good token gets none


def log_in(connection: smtplib.SMTP, user: str, token: str, mechanism: str = "XOAUTH2") -> Login:
    """Log in by XOAUTH2 (Google) or OAUTHBEARER (RFC 7628), answering a challenge as these want it."""
    first, further = {
        "XOAUTH2": (f"user={user}\x01auth=Bearer {token}\x01\x01", ""),
        "OAUTHBEARER": (f"n,a={user},\x01auth=Bearer {token}\x01\x01", "\x01"),
    }[mechanism]
    challenges: list[bytes] = []

    def answer(challenge: bytes | None = None) -> str:
        if challenge is None:
            return first  # the initial response (RFC 4954 section 4)
        challenges.append(challenge)
        return further

    try:
        code, words = connection.auth(mechanism, answer)
    except smtplib.SMTPAuthenticationError as error:
        code, words = error.smtp_code, error.smtp_error if isinstance(error.smtp_error, bytes) else error.smtp_error.encode()
    return Login(code, words, tuple(challenges))
