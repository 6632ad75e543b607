"""The configuration of a private Postfix 3.7: what ``main.cf``, ``master.cf`` and the lookup tables say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from servers.dovecot_config import DOMAIN

HOST = "mx.example.test"  # how it calls itself
DIST = Path("/usr/share/postfix/master.cf.dist")

Keyword = Literal["PIPELINING", "CHUNKING", "DSN", "SMTPUTF8", "8BITMIME", "SIZE", "ENHANCEDSTATUSCODES", "STARTTLS", "AUTH"]

REFUSED: Mapping[str, str] = {
    f"nobody@{DOMAIN}": "550 5.1.1 No such user here",
    f"list@{DOMAIN}": "550 5.7.1 You may not write to this list",
    f"slow@{DOMAIN}": "450 4.2.1 Too much mail for this user at present",
}
"""Recipients that are refused at RCPT, and with what."""

BOUNCED: Mapping[str, str] = {
    f"gone@{DOMAIN}": "550 5.1.1 The mailbox was removed",
    f"full@{DOMAIN}": "554 5.2.2 The mailbox is full",
    f"spam@{DOMAIN}": "554 5.7.1 Refused as spam",
    f"later@{DOMAIN}": "451 4.7.1 Greylisted, come again",
}
"""Recipients that are accepted and then refused by the server behind, so that a report comes back (RFC 3464)."""

ALIASES: Mapping[str, str] = {f"grüße@{DOMAIN}": f"gruesse@{DOMAIN}"}
"""Addresses beyond ASCII (RFC 6531), of which Dovecot knows none, and who gets their mail; for ``delivery="lda"``."""


@dataclass(frozen=True)
class Options:
    """What a test may want otherwise than usual."""

    refused: Mapping[str, str] = field(default_factory=lambda: REFUSED)
    bounced: Mapping[str, str] = field(default_factory=lambda: BOUNCED)
    own_sender_only: bool = False  # a sender other than the login: 553 5.7.1
    recipient_restrictions: tuple[str, ...] = ()  # asked before all others, of submissions (postconf(5))
    message_size_limit: int = 10240000  # octets; announced with SIZE (RFC 1870)
    without: tuple[Keyword, ...] = ()  # of EHLO's answer; what is not announced is not served
    auth_in_clear: bool = False  # AUTH before STARTTLS, for a proxy that cuts what it can read
    delivery: Literal["lmtp", "lda"] = "lmtp"  # Dovecot's LMTP has no SMTPUTF8; its delivery agent takes all
    main: Mapping[str, str] = field(default_factory=dict)  # further settings of main.cf, with the last word


@dataclass(frozen=True)
class Ports:
    """One port for each listener."""

    submission: int
    submissions: int
    relay: int
    behind: int


@dataclass(frozen=True)
class Settings:
    """All that decides what the configuration says."""

    directory: Path
    ports: Ports
    certificate: Path
    key: Path
    sasl: Path  # Dovecot's socket
    lmtp_port: int
    deliver: str  # the command of Dovecot's delivery agent, with Postfix' own macros
    owner: str  # USER:GROUP that owns the mail
    options: Options


def main_cf(settings: Settings) -> str:
    """The whole of ``main.cf``.

    Nothing leaves this machine: what is for another domain than the tests' is accepted and thrown away.
    """
    directory, options = settings.directory, settings.options
    lines = {
        "compatibility_level": "3.6",
        "queue_directory": f"{directory}/queue",
        "data_directory": f"{directory}/data",
        "command_directory": "/usr/sbin",
        "daemon_directory": "/usr/lib/postfix/sbin",
        "meta_directory": "/etc/postfix",
        "shlib_directory": "no",
        "mail_owner": "postfix",
        "setgid_group": "postdrop",
        "maillog_file": f"{directory}/log",
        "maillog_file_prefixes": str(directory),
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "disable_dns_lookups": "yes",
        "smtpd_peername_lookup": "no",
        "myhostname": HOST,
        "mynetworks": "127.0.0.0/8",
        "mydestination": "",
        "alias_maps": "",
        "local_recipient_maps": "",
        "local_header_rewrite_clients": "",  # it would complete addresses in the header of what comes over loopback
        "virtual_mailbox_domains": DOMAIN,
        "virtual_transport": f"lmtp:inet:127.0.0.1:{settings.lmtp_port}" if options.delivery == "lmtp" else "lda:",
        "lda_destination_recipient_limit": "1",
        "default_transport": "discard:",
        "relay_transport": "discard:",
        "virtual_alias_maps": f"regexp:{directory}/etc/aliases",
        "transport_maps": f"regexp:{directory}/etc/transport",
        "message_size_limit": str(options.message_size_limit),
        "line_length_limit": "16384",  # of AUTH's lines too: a token that is a JWT is longer than the default
        "smtpd_discard_ehlo_keywords": " ".join(("silent-discard", *options.without)),
        "smtpd_tls_cert_file": str(settings.certificate),
        "smtpd_tls_key_file": str(settings.key),
        "smtpd_sasl_type": "dovecot",
        "smtpd_sasl_path": str(settings.sasl),
        "smtpd_sender_login_maps": f"regexp:{directory}/etc/logins",
        "smtpd_error_sleep_time": "0",
        "smtpd_client_connection_count_limit": "0",
        "in_flow_delay": "0",  # it would hold back a client that sends faster than is delivered
        "queue_run_delay": "30s",
        "minimal_backoff_time": "30s",
        **options.main,
    }
    return "".join(f"{name} = {value}\n" for name, value in lines.items())


def master_cf(settings: Settings) -> str:
    """The whole of ``master.cf``: Debian's services without chroot, and the listeners."""
    services = [
        re.sub(r"^(\S+\s+\S+\s+\S+\s+\S+\s+)\S+", r"\1n", line)
        for line in DIST.read_text().splitlines()
        if line and not line.startswith(("#", "smtp      inet"))
    ]
    options, ports = settings.options, settings.ports
    refusing = f"check_recipient_access regexp:{settings.directory}/etc/refused"
    allowing = (refusing, "permit_sasl_authenticated", "reject")
    sender = "reject_sender_login_mismatch" if options.own_sender_only else ""
    submits = {
        "smtpd_sasl_auth_enable": "yes",
        "smtpd_sender_restrictions": sender,
        "smtpd_recipient_restrictions": ", ".join((*options.recipient_restrictions, *allowing)),
        "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
        "smtpd_tls_auth_only": "no" if options.auth_in_clear else "yes",
    }
    behind = {"smtpd_recipient_restrictions": f"check_recipient_access regexp:{settings.directory}/etc/behind, reject"}
    return "\n".join(
        [
            *services,
            _service("lda unix - n n - 4 pipe", {}),
            f"  flags=DR user={settings.owner} argv={settings.deliver}",
            _service(f"127.0.0.1:{ports.submission} inet n - n - - smtpd", {**submits, "smtpd_tls_security_level": "may"}),
            _service(f"127.0.0.1:{ports.submissions} inet n - n - - smtpd", {**submits, "smtpd_tls_wrappermode": "yes"}),
            _service(f"127.0.0.1:{ports.relay} inet n - n - - smtpd", {"smtpd_recipient_restrictions": refusing}),
            _service(f"127.0.0.1:{ports.behind} inet n - n - - smtpd", {**behind, "message_size_limit": "0"}),
            "",
        ]
    )


def _service(line: str, settings: Mapping[str, str]) -> str:
    return "\n".join([line, *(f"  -o {{ {name} = {value} }}" for name, value in settings.items())])


def tables(settings: Settings) -> dict[str, str]:
    """The lookup tables by their file names (regexp_table(5))."""
    options = settings.options
    behind = f"smtp:[127.0.0.1]:{settings.ports.behind}"
    return {
        "refused": _table(options.refused),
        "transport": _table(dict.fromkeys(options.bounced, behind)),
        "behind": _table(options.bounced),
        "aliases": _table(ALIASES),
        "logins": "/^(.*)$/ $1\n",  # each login is the only owner of the sender of this name
    }


def _table(values: Mapping[str, str]) -> str:
    return "".join(f"/^{re.escape(address)}$/ {value}\n" for address, value in values.items())
