"""An smtp-client of a ``postroom.ini`` at the tests' Postfix, and what came of what it sent."""

from __future__ import annotations

from running import Options, Record

from servers.authority import TEST
from servers.certificates import Certificates
from servers.dovecot_config import PASSWORD
from servers.postfix import Postfix
from servers.waiting import wait_for

SENDER = "sender@example.test"


def account(postfix: Postfix, certificates: Certificates, user: str = SENDER, **more: object) -> dict[str, object]:
    """An account that logs in with its password, after STARTTLS."""
    return {
        "server": "localhost",
        "port": postfix.submission_port,
        "tls-ca-file": certificates.ca_file,
        "enable-authentication": "true",
        "user": user,
        "password": PASSWORD,
        **{name.replace("_", "-"): value for name, value in more.items()},
    }


def oauth_account(
    postfix: Postfix,
    certificates: Certificates,
    refresh_token: str,
    user: str = SENDER,
    *,
    mechanism: str = "XOAUTH2",
    **more: object,
) -> dict[str, object]:
    """The same with OAuth, from the authority and the secret that ``rig_sections`` names."""
    options: Options = {
        "mail.smtp.auth.mechanisms": mechanism,
        "tenant-authority": "rig",
        "client-id": TEST.id,
        "secret": "rig",
        "enable-authentication": None,
        "password": refresh_token,
    }
    whole = {**account(postfix, certificates, user), **options, **{name.replace("_", "-"): value for name, value in more.items()}}
    return {name: value for name, value in whole.items() if value is not None}


def draft(to: str, subject: str = "An order", **more: object) -> Record:
    """A draft."""
    return {"from": SENDER, "to": [to], "subject": subject, "text": "Thank you.\n", **more}


__all__ = ["SENDER", "account", "draft", "oauth_account", "wait_for"]
