"""The ``postroom.ini`` that reads a sandbox and sends by it, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

_HEAD = """\
# Reads the mailboxes of a Postroom sandbox, and sends by them. Written by the sandbox, anew at each of its starts: the tokens, the
# client secret and the certificates in it are good for one run. Keep what you add elsewhere too.

[settings]
data-directory = {data_directory}

# Replaces the built-in authority "google" by the sandbox's own, so that nothing here reaches the internet. A mailbox
# at Google needs no such section.
[authority-google]
issuer = {issuer}
authorization_endpoint = {authorization_endpoint}
token_endpoint = {token_endpoint}

# The application's secret, which the clients below name with "secret = sandbox".
[secret-sandbox]
password = {client_secret}
# No application in testing, whose refresh tokens Google ends after seven days.
publishing-status = internal
"""

_CLIENT = """
[pop-client-{name}]
type = IMAP
server = localhost
port = {imap_port}
pop-connection-security = ssl-tls
# The sandbox's own certificate authority. A real server needs none named.
tls-ca-file = {ca_file}
mailbox = {account}
mail.imap.auth.mechanisms = XOAUTH2
tenant-authority = google
client-id = {client_id}
secret = sandbox
{consent}
# Short, for watching. New mail does not wait for it: the server announces it.
cycle-time = 00:00:10

[smtp-client-{name}]
server = localhost
port = {smtp_port}
smtp-connection-security = start-tls
tls-ca-file = {ca_file}
enable-authentication = true
user = {account}
mail.smtp.auth.mechanisms = XOAUTH2
tenant-authority = google
client-id = {client_id}
secret = sandbox
{consent}
# Whatever is from this address leaves by this account.
addresses = {account}
"""

_CONSENTED = """\
# With XOAUTH2 at Google, password is the refresh token of the account.
password = {refresh_token}"""

_UNCONSENTED = """\
# No password here: nobody has consented yet. "postroom authorize {name}" asks, once for both sections.
# The refresh token is in the vault then."""


def text(
    *,
    data_directory: Path,
    metadata: Mapping[str, str],
    client_id: str,
    client_secret: str,
    ca_file: Path,
    imap_port: int,
    smtp_port: int,
    refresh_tokens: Mapping[str, str | None],
) -> str:
    """The whole file: one client for each account. One whose refresh token is None has yet to be consented to."""
    head = _HEAD.format(data_directory=data_directory.absolute(), client_secret=client_secret, **metadata)
    shared = {"client_id": client_id, "ca_file": ca_file.absolute(), "imap_port": imap_port, "smtp_port": smtp_port}
    names = section_names(list(refresh_tokens))
    clients = (
        _CLIENT.format(
            name=name,
            account=account,
            consent=_consent(name, token),
            **shared,
        )
        for name, (account, token) in zip(names, refresh_tokens.items(), strict=True)
    )
    return head + "".join(clients)


def _consent(name: str, refresh_token: str | None) -> str:
    return _UNCONSENTED.format(name=name) if refresh_token is None else _CONSENTED.format(refresh_token=refresh_token)


def section_names(accounts: Sequence[str]) -> list[str]:
    """A short name for each account: what stands before the @ where that is unique, else the whole with a hyphen."""
    local = [account.partition("@")[0] for account in accounts]
    return [name if local.count(name) == 1 else account.replace("@", "-") for name, account in zip(local, accounts, strict=True)]
