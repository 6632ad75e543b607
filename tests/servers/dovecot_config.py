"""The configuration of a private Dovecot 2.3, for root and for an ordinary user.

The order of settings matters in Dovecot: what a test adds comes last and so has the last word.
"""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass, field
from pathlib import Path

PASSWORD = "pw"  # of every user
DOMAIN = "example.test"  # of the tests' users; any other is accepted too

SPECIAL_USE = {"Archive": "Archive", "Drafts": "Drafts", "Junk": "Junk", "Sent": "Sent", "Trash": "Trash"}

CAPABILITY = (
    "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT SORT=DISPLAY THREAD=REFERENCES THREAD=REFS "
    "THREAD=ORDEREDSUBJECT MULTIAPPEND URL-PARTIAL CATENATE UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED I18NLEVEL=1 "
    "CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES WITHIN CONTEXT=SEARCH LIST-STATUS BINARY MOVE SNIPPET=FUZZY PREVIEW=FUZZY "
    "PREVIEW STATUS=SIZE SAVEDATE LITERAL+ NOTIFY SPECIAL-USE COMPRESS=DEFLATE"
)  # of Dovecot 2.3.19 as configured here, after login

_PLUGINS = "mail_plugins = zlib imap_zlib"  # COMPRESS=DEFLATE (RFC 4978)


@dataclass(frozen=True)
class Identities:
    """The system users that Dovecot's parts run as."""

    internal_user: str
    internal_group: str
    login_user: str
    mail_uid: int  # owns the mail
    mail_gid: int

    @classmethod
    def of_this_process(cls) -> Identities:
        """Root must use Dovecot's own users, an ordinary user can only be everything itself."""
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            return cls("dovecot", "dovecot", "dovenull", nobody.pw_uid, nobody.pw_gid)
        me = pwd.getpwuid(os.geteuid())
        group = grp.getgrgid(os.getegid())
        return cls(me.pw_name, group.gr_name, me.pw_name, me.pw_uid, group.gr_gid)


@dataclass(frozen=True)
class Ports:
    """One port for each listener."""

    imap: int
    imaps: int
    pop3: int
    pop3s: int
    lmtp: int


@dataclass(frozen=True)
class Tokens:
    """Where Dovecot asks about access tokens."""

    introspection_url: str  # with the client's name and secret in it
    discovery_url: str  # only named to clients, in the challenge after a refusal
    applications: bool = False  # whether an application's own token opens mailboxes; a refusal asks twice then


@dataclass(frozen=True)
class Additions:
    """What a test adds to the configuration."""

    everywhere: str = ""
    imap: str = ""  # goes into ``protocol imap``
    pop3: str = ""  # goes into ``protocol pop3``


def imap_without(*extensions: str) -> str:
    """The addition to ``protocol imap`` that keeps Dovecot from announcing these, before and after login.

    It still obeys a client that uses them unannounced: a test looks at what the client sent.
    """
    if unknown := set(extensions) - set(CAPABILITY.split()):
        raise ValueError(f"Dovecot never announces {', '.join(sorted(unknown))}")
    return f"imap_capability = {' '.join(name for name in CAPABILITY.split() if name not in extensions)}"


def pop3_settings(*, uidl_format: str = "%08Xu%08Xv", lock_session: bool = False) -> str:
    """The addition to ``protocol pop3`` for these: how a UIDL is made, and whether a second session is refused.

    In a format ``%u`` is the UID, ``%v`` UIDVALIDITY, ``%g`` the GUID (of Maildir: the file's name), ``%m`` the MD5 of the
    header. UIDL, TOP and PIPELINING cannot be taken away from Dovecot.
    """
    return f"pop3_uidl_format = {uidl_format}\npop3_lock_session = {'yes' if lock_session else 'no'}"


@dataclass(frozen=True)
class Settings:
    """All that decides what the configuration says."""

    directory: Path
    ports: Ports
    certificate: Path
    key: Path
    tokens: Tokens | None = None  # None: no OAuth
    sasl: Path | None = None  # where Postfix asks about logins; None: nowhere
    additions: Additions = field(default_factory=Additions)
    identities: Identities = field(default_factory=Identities.of_this_process)


def oauth2_conf(tokens: Tokens) -> str:
    """The file that the oauth2 passdb reads. Every login asks the authority anew, so revoking bites at once."""
    return _oauth2_conf(tokens, "username_attribute = email")


def oauth2_app_conf(tokens: Tokens) -> str:
    """The file of the second oauth2 passdb: an application's token opens every mailbox of the domain of ``app``.

    Whatever the token is, the authority's answer must have ``email`` and ``app``, else a refusal becomes [UNAVAILABLE].
    """
    return _oauth2_conf(tokens, "username_attribute = app\nusername_format = %Ld")


def _oauth2_conf(tokens: Tokens, whose: str) -> str:
    return f"""\
introspection_mode = post
introspection_url = {tokens.introspection_url}
{whose}
active_attribute = active
active_value = true
timeout_msecs = 5000
max_parallel_connections = 10
openid_configuration_url = {tokens.discovery_url}
"""


def dovecot_conf(settings: Settings) -> str:
    """The whole of ``dovecot.conf``."""
    parts = [
        _general(settings),
        _passdbs(settings),
        _services(settings.ports),
        _sasl(settings.sasl) if settings.sasl else "",
        _namespace(),
        settings.additions.everywhere,
        f"protocol imap {{\n{_PLUGINS}\n{settings.additions.imap}\n}}",
        f"protocol pop3 {{\n{settings.additions.pop3}\n}}",
    ]
    if os.geteuid() != 0:
        parts.insert(3, _without_chroot())
    return "\n".join(parts) + "\n"


def _general(settings: Settings) -> str:
    identities, home = settings.identities, settings.directory
    oauth = " xoauth2 oauthbearer" if settings.tokens else ""
    return f"""\
base_dir = {home}/run
stats_writer_socket_path =
state_dir = {home}/state
log_path = {home}/log
protocols = imap pop3 lmtp
listen = 127.0.0.1
default_internal_user = {identities.internal_user}
default_internal_group = {identities.internal_group}
default_login_user = {identities.login_user}
default_process_limit = 2000
default_client_limit = 8000
default_vsz_limit = 1G
mail_location = maildir:~/Maildir
mail_fsync = never
ssl = yes
ssl_cert = <{settings.certificate}
ssl_key = <{settings.key}
disable_plaintext_auth = no
auth_mechanisms = plain login{oauth}
auth_failure_delay = 0
auth_verbose = yes
mail_max_userip_connections = 0
pop3_logout_format = in=%i out=%o top=%t/%p, retr=%r/%b, del=%d/%m, size=%s"""


def _passdbs(settings: Settings) -> str:
    identities = settings.identities
    files = ["oauth2.conf"] + ["oauth2-app.conf"] * (settings.tokens is not None and settings.tokens.applications)
    oauth = "".join(
        f"""
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {settings.directory}/{file}
}}"""
        for file in files
    )
    return f"""\
passdb {{
  driver = static
  mechanisms = plain login
  args = password={PASSWORD}
}}{oauth if settings.tokens else ""}
userdb {{
  driver = static
  args = uid={identities.mail_uid} gid={identities.mail_gid} home={settings.directory}/mail/%u allow_all_users=yes
}}"""


def _services(ports: Ports) -> str:
    """One login process serves all, and some mail processes wait ready: tests log in by the thousand.

    ``anvil-auth-penalty`` without permissions ends the growing penalty of an address whose logins fail.
    """
    return f"""\
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  service_count = 0
  process_min_avail = 1
  inet_listener imap {{
    port = {ports.imap}
  }}
  inet_listener imaps {{
    port = {ports.imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  service_count = 0
  inet_listener pop3 {{
    port = {ports.pop3}
  }}
  inet_listener pop3s {{
    port = {ports.pop3s}
    ssl = yes
  }}
}}
service imap {{
  process_min_avail = 4
}}
service lmtp {{
  inet_listener lmtp {{
    port = {ports.lmtp}
  }}
}}"""


def _sasl(socket: Path) -> str:
    """The socket that an SMTP server of another user asks about logins."""
    user = "postfix" if os.geteuid() == 0 else ""
    return f"""\
service auth {{
  unix_listener {socket} {{
    mode = 0600
    user = {user}
  }}
}}"""


def _namespace() -> str:
    """Folders are separated by a slash, as the great providers do it; a test may set another character.

    A folder with a use of its own (RFC 6154) is listed with it when somebody has made it.
    """
    uses = "\n".join(f"  mailbox {name} {{\n    special_use = \\{use}\n  }}" for name, use in SPECIAL_USE.items())
    return f"namespace inbox {{\n  inbox = yes\n  separator = /\n{uses}\n}}"


def _without_chroot() -> str:
    """Only root may change the root directory; with these left in, Dovecot starts and every login fails."""
    return "\n".join(f"service {name} {{\n  chroot =\n}}" for name in ("anvil", "imap-login", "pop3-login"))
