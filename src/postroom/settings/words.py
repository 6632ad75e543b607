"""The words that options may be, as enumerations."""

from __future__ import annotations

import enum


class MailboxType(enum.Enum):
    """The protocol of a mailbox."""

    IMAP = "IMAP"
    POP3 = "POP3"


class ServerType(enum.Enum):
    """The protocol by which an account sends."""

    SMTP = "SMTP"


class InDoubt(enum.Enum):
    """What becomes of a recipient whose acceptance is not known."""

    HOLD = "hold"
    RESEND = "resend"


class Security(enum.Enum):
    """How a connection is protected."""

    NONE = "none"
    START_TLS = "start-tls"
    SSL_TLS = "ssl-tls"


class GrantType(enum.Enum):
    """How an access token is obtained. The first three values are words of RFC 6749."""

    REFRESH_TOKEN = "refresh_token"  # noqa: S105 - section 6
    CLIENT_CREDENTIALS = "client_credentials"  # section 4.4: the application's own token
    PASSWORD = "password"  # noqa: S105 - section 4.3: the resource owner's password, legacy
    SERVICE_ACCOUNT = "service_account"  # Google, domain-wide delegation (RFC 7523 section 2.1)
    EXTERNAL = "external"  # a command or an address that answers with a token


class BigMessages(enum.Enum):
    """What becomes of a message above the limit."""

    HEADERS = "headers"
    LEAVE = "leave"
    DELETE = "delete"


class FirstRead(enum.Enum):
    """What of a mailbox that was never read is read."""

    ALL = "all"
    NEW = "new"


class PublishingStatus(enum.Enum):
    """How far a Google application is published: it decides how long its refresh tokens live."""

    TESTING = "testing"  # user type External, status Testing: seven days
    PRODUCTION = "production"  # user type External, status In production
    INTERNAL = "internal"  # user type Internal, a Workspace organisation's own
