"""A private Exim: SMTP of another family than Postfix', in a directory of its own.

``install.py`` unpacked it. Here it is copied beside its spool and runs as the owner of Dovecot's mail, or as whoever
runs the tests: no part of it ever is root. Its program was made for a user "Debian-exim", whom an unpacked one has not;
``nss_wrapper`` lets it find that name, and behind it the user that it is already. Passwords and access tokens it judges
itself, and a refused token gets no challenge: 535 at once, unlike at Postfix and Google. What is for the tests' domain
goes into Dovecot's mailboxes by LMTP, all else is thrown away.

A client that speaks before its turn is cut off while TLS is not on (``smtp_enforce_sync``): its PIPELINING is judged here.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal

from servers.certificates import LOOPBACK, Certificates
from servers.dovecot import Dovecot
from servers.dovecot_config import DOMAIN, PASSWORD, Identities
from servers.install import EXIM
from servers.postfix_config import REFUSED
from servers.waiting import free_ports, greets, removed, running_from, wait_for

HOST = "exim.example.test"  # how it calls itself
USER = "Debian-exim"  # as it was made

Keyword = Literal["PIPELINING", "CHUNKING", "DSN", "SMTPUTF8"]


class EximError(AssertionError):
    """Exim did not do as told; the words are its own."""


@dataclass(frozen=True)
class EximOptions:
    """What a test may want otherwise than usual."""

    refused: Mapping[str, str] = field(default_factory=lambda: REFUSED)  # recipients, and the answer to RCPT
    without: tuple[Keyword, ...] = ()  # of EHLO's answer
    message_size_limit: int = 10_000_000  # octets; announced with SIZE (RFC 1870)
    auth_in_clear: bool = False  # AUTH before STARTTLS too
    main: str = ""  # further settings of the main section, with the last word


class Exim:
    """A running Exim. As a context manager it is started on entry, stopped and wiped on exit.

    Everybody may log in with the password ``pw``, or with a token that ``allow`` named; nothing goes without a login.
    """

    host = "localhost"  # a name that the certificate holds; it listens on 127.0.0.1 only

    def __init__(self, dovecot: Dovecot, *, certificates: Certificates | None = None, options: EximOptions | None = None) -> None:
        self._cleanup = contextlib.ExitStack()
        certificates = certificates or self._cleanup.enter_context(Certificates())
        self.ca_file = certificates.ca_file
        self.submission_port, self.submissions_port = free_ports(2)
        self._lmtp_port = dovecot.lmtp_port
        self._options = options or EximOptions()
        self._owner = Identities.of_this_process()
        self._directory = Path(tempfile.mkdtemp(prefix="pr-", dir="/tmp"))
        self._process: subprocess.Popen[bytes] | None = None
        self._prepare(*certificates.issue(*LOOPBACK))

    def _prepare(self, certificate: Path, key: Path) -> None:
        for part in ("usr/sbin", "usr/lib", "lib"):
            shutil.copytree(EXIM / part, self._directory / part, symlinks=True)
        for part in ("spool", "log"):
            (self._directory / part).mkdir()
        shutil.copy(certificate, self._directory / "cert.pem")
        shutil.copy(key, self._directory / "key.pem")
        uid, gid = self._owner.mail_uid, self._owner.mail_gid
        self._write("passwd", f"root:x:0:0::/:/bin/false\n{USER}:x:{uid}:{gid}::/:/bin/false\n")
        self._write("group", f"root:x:0:\n{USER}:x:{gid}:\n")
        self._write("tokens", "")
        self._write("refused", "".join(f"{address}: {words}\n" for address, words in self._options.refused.items()))
        self._write("exim.conf", self._configuration())
        if os.geteuid() == 0:
            for path in (self._directory, *self._directory.rglob("*")):
                os.chown(path, uid, gid, follow_symlinks=False)

    def _write(self, name: str, text: str) -> None:
        """Put a file in place at once: Exim may be reading the old one."""
        new = self._directory / f"{name}.new"
        new.write_text(text)
        if os.geteuid() == 0:
            os.chown(new, self._owner.mail_uid, self._owner.mail_gid)
        new.rename(self._directory / name)

    def _configuration(self) -> str:
        options, directory = self._options, self._directory
        hosts = {keyword: "" if keyword in options.without else "*" for keyword in ("PIPELINING", "CHUNKING", "DSN", "SMTPUTF8")}
        return _CONFIGURATION.format(
            directory=directory,
            host=HOST,
            domain=DOMAIN,
            password=PASSWORD,
            ports=f"{self.submission_port} : {self.submissions_port}",
            tls_port=self.submissions_port,
            lmtp_port=self._lmtp_port,
            limit=options.message_size_limit,
            auth="*" if options.auth_in_clear else "${if eq{$tls_in_cipher}{}{}{*}}",
            advertised="\n".join(f"{keyword.lower()}_advertise_hosts = {value}" for keyword, value in hosts.items()),
            further=options.main,
        )

    # Running

    def start(self) -> None:
        """Start it; both listeners answer afterwards."""
        # Exim's hints (when to try which host) are no promise, and a database that a kill left half made stops all delivery.
        shutil.rmtree(self._directory / "spool" / "db", ignore_errors=True)
        root = os.geteuid() == 0
        with (self._directory / "log" / "stderr").open("ab") as log:
            self._process = subprocess.Popen(
                self._command("-bdf", "-q2s"),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                user=self._owner.mail_uid if root else None,
                group=self._owner.mail_gid if root else None,
                extra_groups=[] if root else None,
            )
        wait_for(functools.partial(self._greets, self._process), f"Exim on port {self.submission_port}")

    def _command(self, *arguments: str) -> list[str]:
        return [str(self._directory / "usr/sbin/exim4"), "-C", str(self._directory / "exim.conf"), *arguments]

    def _environment(self) -> dict[str, str]:
        (wrapper,) = Path("/usr/lib").glob("*/libnss_wrapper.so")
        return {
            "PATH": "/usr/bin:/bin",
            "LD_LIBRARY_PATH": ":".join(map(str, self._directory.glob("**/lib/*-linux-gnu"))),
            "LD_PRELOAD": str(wrapper),
            "NSS_WRAPPER_PASSWD": str(self._directory / "passwd"),
            "NSS_WRAPPER_GROUP": str(self._directory / "group"),
        }

    def _greets(self, process: subprocess.Popen[bytes]) -> bool:
        if process.poll() is not None:
            raise EximError(f"exim ended with {process.returncode}: {self.log_text()}")
        return greets("127.0.0.1", self.submission_port)

    def stop(self) -> None:
        """Kill it with all its connections; the ports are free afterwards, and the queue stays as it is on the disk."""
        if self._process:
            while living := running_from(self._directory):  # one that was just starting another is seen at the next look
                for process in living:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
                self._process.poll()  # so that it is no zombie
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End it at once and remove every trace."""
        self.stop()
        wait_for(functools.partial(removed, self._directory), "an empty place")
        self._cleanup.close()

    def __enter__(self) -> Exim:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # Orders and what it tells

    def allow(self, tokens: Mapping[str, str]) -> None:
        """Access tokens that are good, and whose each is; those named before are forgotten."""
        self._write("tokens", "".join(f'"{token}": {user}\n' for token, user in tokens.items()))

    def log_text(self) -> str:
        """All that Exim logged until now: receptions and deliveries, refusals, and its fatal errors."""
        files = (self._directory / "log" / name for name in ("mainlog", "rejectlog", "paniclog", "stderr"))
        return "".join(file.read_text(errors="replace") for file in files if file.exists())

    def queue(self) -> list[str]:
        """The numbers of the messages that are accepted and not delivered."""
        return sorted(file.name.removesuffix("-H") for file in (self._directory / "spool" / "input").glob("*-H"))

    def tls(self) -> ssl.SSLContext:
        """A client's TLS context that trusts the tests' authority only."""
        return ssl.create_default_context(cafile=str(self.ca_file))


_CONFIGURATION = """\
exim_path = {directory}/usr/sbin/exim4
spool_directory = {directory}/spool
log_file_path = {directory}/log/%slog
pid_file_path = {directory}/pid
keep_environment = LD_LIBRARY_PATH : LD_PRELOAD : ^NSS_WRAPPER_
primary_hostname = {host}
domainlist local_domains = {domain}
local_interfaces = <; 127.0.0.1
daemon_smtp_ports = {ports}
tls_on_connect_ports = {tls_port}
tls_advertise_hosts = *
tls_certificate = {directory}/cert.pem
tls_privatekey = {directory}/key.pem
auth_advertise_hosts = {auth}
pipelining_connect_advertise_hosts =
{advertised}
message_size_limit = {limit}
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
smtp_accept_max_nonmail = 1000
recipients_max = 0
host_lookup =
helo_allow_chars = _
rfc1413_hosts =
deliver_drop_privilege = true
syslog_timestamp = false
acl_smtp_rcpt = check_recipient
acl_smtp_data = accept
{further}

begin acl

check_recipient:
  deny set acl_m_words = ${{lookup{{$local_part@$domain}}lsearch{{{directory}/refused}}}}
       condition = ${{if !eq{{$acl_m_words}}{{}}}}
       condition = ${{if match{{$acl_m_words}}{{^5}}}}
       message = $acl_m_words
  defer condition = ${{if !eq{{$acl_m_words}}{{}}}}
        message = $acl_m_words
  accept authenticated = *
  deny message = 530 5.7.0 Authentication required

begin routers

here:
  driver = manualroute
  domains = +local_domains
  transport = dovecot
  route_list = * 127.0.0.1 byname
  self = send

elsewhere:
  driver = redirect
  data = :blackhole:

begin transports

dovecot:
  driver = smtp
  protocol = lmtp
  port = {lmtp_port}
  allow_localhost
  hosts_avoid_tls = *

begin retry

* * F,1h,1s

begin authenticators

plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if eq{{$auth3}}{{{password}}}}}
  server_set_id = $auth2

login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = <| Username: | Password:
  server_condition = ${{if eq{{$auth2}}{{{password}}}}}
  server_set_id = $auth1

xoauth2:
  driver = plaintext
  public_name = XOAUTH2
  server_prompts = :
  server_condition = \\
    ${{if match{{$auth1}}{{\\N^user=([^\\x01]+)\\x01auth=Bearer ([^\\x01]+)\\x01\\x01$\\N}} \\
      {{${{if eqi{{${{lookup{{$2}}lsearch{{{directory}/tokens}}}}}}{{$1}}}}}} {{false}}}}
  server_set_id = ${{if match{{$auth1}}{{\\N^user=([^\\x01]+)\\N}}{{$1}}}}
"""
