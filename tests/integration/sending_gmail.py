"""An smtp-client as the documented steps configure it for Gmail, at the faulty SMTP server; and what came of what it sent.

That server keeps a record of what it took over, so that what was sent twice is seen.
"""

from __future__ import annotations

from running import PATIENCE, Here, Record, Service
from test_rest_service import ask, new_key

from servers.authority import TEST, Authority
from servers.dovecot_config import PASSWORD
from servers.smtp_faults import SmtpFaults, Taken
from servers.waiting import wait_for

S, P = "smtp-client", "pop-client"


def at_google(here: Here, authority: Authority) -> Here:
    """The built-in authorities of Google and Microsoft are this machine's from now on."""
    here.put("authority-google", {"token_endpoint": authority.token_url, "authorization_endpoint": authority.authorize_url})
    here.put("authority-microsoft", {"token_endpoint": f"{authority.url}/{{tenant}}/oauth2/v2.0/token"})
    here.put("secret-gmail", {"password": TEST.secret})
    return here


def basic(server: SmtpFaults, user: str, **more: object) -> dict[str, object]:
    """An account with its password, after STARTTLS; whether it logs in is not written."""
    options = {"server": server.host, "port": server.port, "tls-ca-file": server.ca_file, "user": user, "password": PASSWORD}
    return {**options, **{name.replace("_", "-"): value for name, value in more.items()}}


def gmail(server: SmtpFaults, user: str, refresh_token: str, **more: object) -> dict[str, object]:
    """An account as the text's own steps configure it, and what they leave out."""
    google = {"client-id": TEST.id, "password": refresh_token, "secret": "gmail", "tenant-authority": "google"}
    options = {**google, "mail.smtp.auth.mechanisms": "XOAUTH2"}
    return {**basic(server, user), **options, **{name.replace("_", "-"): value for name, value in more.items()}}


def send(here: Here, user: str) -> Record:
    """Send a message without a service; what became of it."""
    given = ("--from", user, "--to", "reader@example.test", "--subject", "hello", "--text", "hello")
    return here.command("send", *given, "--json", "--wait").object


class Api:
    """A running service's API, with which mail is handed in and looked at."""

    def __init__(self, here: Here, service: Service, user: str, key: str = "k") -> None:
        self._key = new_key(here, name=key)
        self.service, self.user = service, user

    def hand_in(self, **more: object) -> str:
        """Hand a message in, a small one unless told otherwise; its Message-ID."""
        document = {"from": self.user, "to": ["reader@example.test"], "subject": "hello", "text": "hello", **more}
        status, answer = ask(self.service, self._key, "POST", "/v1/submissions", document)
        assert status == 202, answer
        return str(answer["message_id"])

    def sent(self) -> dict[str, str]:
        """The state of each submission by its Message-ID."""
        items = ask(self.service, self._key, "GET", "/v1/submissions")[1]["items"]
        return {known["message_id"]: known["state"] for known in items}

    def shows_pending(self, *options: str) -> None:
        """What waits for the account's restart comes to be just this."""

        def look() -> bool:
            return bool(ask(self.service, self._key, "GET", f"/v1/clients/{S}")[1]["state"]["restart_pending"] == [*options])

        wait_for(look, f"pending {options}", timeout=PATIENCE)


def taken(server: SmtpFaults, user: str) -> list[Taken]:
    """What the server took over of a sender."""
    return [known for known in server.taken() if known.sender == user]
