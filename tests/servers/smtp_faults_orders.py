"""What the faulty SMTP server is told: its manner, which holds, and its faults, which happen once, n times or always.

The manners of Microsoft and Gmail are those that their pages and many logs of other senders show; where a number is
theirs, a test may replace it by a small one (``dataclasses.replace``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

At = Literal["greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "bdat", "content", "dot", "rset", "noop", "quit"]
"""A command that is answered; ``auth`` is the end of a login, ``dot`` that of a message by DATA or by BDAT LAST, and
``content`` its octets, within which every fault ends the connection."""

Do = Literal[
    "answer",  # ``reply`` in the place of the true answer; after 421 the connection ends (RFC 5321 section 3.8)
    "cut",  # an orderly end instead of the answer
    "reset",  # a reset instead of the answer
    "hang",  # nothing is said any more; the connection stays until the client ends it
    "half",  # the first half of the answer, then an orderly end
    "half-hang",  # the first half of the answer, then nothing
    "silence",  # the command is carried out, its answer is lost, and all goes on
    "hold",  # the command is carried out, its answer waits for ``go_on``
    "discard",  # the true answer, and what the client had sent ahead of it is thrown away
]


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""

    at: At
    reply: str = ""  # several lines with "\\n" between them; empty: the true answer
    do: Do = "answer"
    taken: bool = False  # the command is carried out nevertheless: at ``dot``, the message is taken over
    after: int = 0  # at ``content``: so many octets of it are read before
    seconds: float = 0.0  # pause before it
    skip: int = 0  # occasions that pass before it begins
    times: int = 1  # then it happens so often; 0: always
    recipient: str = ""  # at ``rcpt``: of this address alone
    session: int = 0  # in this connection alone, counted from 1
    called: str = ""  # in connections alone whose client calls itself so, from its EHLO on


@dataclass(frozen=True)
class Manner:
    """What it announces, how it takes logins, and its limits; 0 is no limit."""

    greeting: str = "220 smtp.example.test ESMTP"
    keywords: tuple[str, ...] = (
        "PIPELINING",  # else what came with a command before it was answered is thrown away
        "SIZE 35882577",
        "8BITMIME",
        "SMTPUTF8",
        "CHUNKING",
        "DSN",
        "ENHANCEDSTATUSCODES",
    )
    mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER")
    auth_in_clear: bool = False  # AUTH before STARTTLS too
    auth_required: bool = True
    challenge: bool = True  # a refused token gets a JSON object as challenge before it is refused
    refused: str = "535 5.7.8 Authentication credentials invalid"
    connections: int = 0  # of one account at a time; a message over a further one is refused at its end
    too_many: str = "421 4.7.0 Too many connections"
    per_minute: int = 0  # messages of one account; the answer to a further one is held back
    minute: float = 60.0  # seconds
    recipients_per_message: int = 0
    too_many_recipients: str = "452 4.5.3 Too many recipients"
    messages_per_day: int = 0  # of one account, as are the recipients
    recipients_per_day: int = 0
    over_quota: str = "550 5.4.5 Daily user sending limit exceeded"
    session_seconds: float = 0.0  # from a login by token on; the next command gets ``session_over``, and the connection ends
    session_over: str = "421 4.7.0 Session expired, log in again"
    sent_folder: str = ""  # where it files a copy of what it took over; needs a Dovecot


MICROSOFT = Manner(
    greeting="220 AM0PR01CA0001.outlook.office365.com Microsoft ESMTP MAIL Service ready",
    keywords=(
        "SIZE 157286400",
        "PIPELINING",
        "DSN",
        "ENHANCEDSTATUSCODES",
        "8BITMIME",
        "BINARYMIME",
        "CHUNKING",
        "SMTPUTF8",
    ),
    mechanisms=("LOGIN", "XOAUTH2"),
    challenge=False,
    refused="535 5.7.3 Authentication unsuccessful [AM0PR01CA0001.eurprd01.prod.exchangelabs.com]",
    connections=3,
    too_many="432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information.",
    per_minute=30,
    recipients_per_day=10_000,
    over_quota="554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message due to a "
    "permanent exception with message The message can't be submitted because the sender's submission quota was exceeded.",
    session_seconds=3600.0,
    sent_folder="Sent",
)
"""smtp.office365.com. The limits: learn.microsoft.com/exchange/troubleshoot/send-emails/smtp-submission-improvements (more
messages a minute are delayed, not refused; every message sent lands in Sent Items). 432 comes as the answer to the end of
the message. 535 5.7.3 at once, without a challenge: Microsoft's page on OAuth for IMAP, POP and SMTP."""

GMAIL = Manner(
    greeting="220 smtp.gmail.com ESMTP a1-20020a05600c000100b003a0b1c2d3e4sm1 - gsmtp",
    keywords=("SIZE 35882577", "8BITMIME", "ENHANCEDSTATUSCODES", "PIPELINING", "CHUNKING", "SMTPUTF8"),
    mechanisms=("LOGIN", "PLAIN", "XOAUTH2", "PLAIN-CLIENTTOKEN", "OAUTHBEARER", "XOAUTH"),
    refused="535-5.7.8 Username and Password not accepted. For more information, go to\n"
    "535 5.7.8  https://support.google.com/mail/?p=BadCredentials a1-20020a05600c000100b003a0b1c2d3e4sm1 - gsmtp",
    recipients_per_message=100,
    too_many_recipients="452 4.5.3 Your message has too many recipients. For more information regarding Google's sending limits, "
    "visit https://support.google.com/mail/?p=TooManyRecipientsError",
    messages_per_day=2000,
    recipients_per_day=10_000,
    over_quota="550-5.4.5 Daily user sending limit exceeded. For more information on Gmail sending limits go to\n"
    "550 5.4.5 https://support.google.com/a/answer/166852 a1-20020a05600c000100b003a0b1c2d3e4sm1 - gsmtp",
    session_seconds=3600.0,
    session_over="421 4.7.0 Session expired, closing connection.",
    sent_folder="Sent",
)
"""smtp.gmail.com. The limits: support.google.com/a/answer/166852; it has no DSN; the length of a session:
developers.google.com/gmail/imap/imap-smtp; the challenge: developers.google.com/gmail/imap/xoauth2-protocol."""

SMTP_AUTH_DISABLED = Fault(
    "auth",
    "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit "
    "https://aka.ms/smtp_auth_disabled for more information.",
    times=0,
)
"""Microsoft: SMTP AUTH is off for the tenant, or the mailbox; a good token is refused too."""

BASIC_AUTH_DISABLED = Fault("auth", "550 5.7.30 Basic authentication is not supported for Client Submission.", times=0)
"""Microsoft, for passwords from the end of 2026 on (MC786329)."""

MAILBOX_FULL = Fault("dot", "554 5.2.2 mailbox full; STOREDRV.Submission.Exception:QuotaExceededException", times=0)
"""Microsoft: the copies in Sent Items have filled the mailbox."""

TRY_LATER = Fault("greeting", "421 4.7.0 Try again later, closing connection. a1-20020a05600c000100b003a0b1c2d3e4sm1 - gsmtp")
"""Gmail, to an address or an account that comes too often."""
