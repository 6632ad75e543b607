"""The options of a pop-client that concern its mailbox: where it is, what is read, what becomes of it."""

# ruff: noqa: RUF009 - ``option()`` makes a field, as dataclasses.field() does

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from postroom.model import Disposition
from postroom.secret import Secret
from postroom.settings import values
from postroom.settings.option import Effect, option
from postroom.settings.words import BigMessages, FirstRead, MailboxType, Security

RECENT = "recent:"
"""Before a login name at Gmail's POP3 server: show what came in the last 30 days, to every client."""

_WHOLE = "The option."


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxOptions:
    """Where a mailbox is, what of it is read, and what becomes of it there."""

    section: str  # whole name of the section, as written
    name: str  # the part after "pop-client-", or "pop-client"

    type: MailboxType = option(
        "type",
        values.one_of(MailboxType, "is none that this version reads; it reads IMAP and POP3"),
        required=True,
        valid="IMAP, POP3, in any case",
        effect=Effect.NEXT_CYCLE,
        ours="It must be written.",
        sentence="The protocol of the mailbox.",
    )
    server: str | None = option(
        "server",
        values.host,
        default_words="By provider",
        valid="the name or address of a host",
        effect=Effect.NEXT_CYCLE,
        ours="The default.",
        sentence="The server of the mailbox. Where the provider is known, from the authority or from the address in "
        "`mailbox`, it need not be written.",
    )
    port: int | None = option(
        "port",
        values.integer(1, 65535),
        default_words="By type and security: IMAP 993 with ssl-tls, else 143; POP3 995 with ssl-tls, else 110",
        valid="1..65535",
        effect=Effect.NEXT_CYCLE,
        ours="The default.",
        sentence="The port of the server.",
    )
    mailbox: str = option(
        "mailbox",
        values.text,
        required=True,
        valid="the login name",
        effect=Effect.NEXT_CYCLE,
        ours="It must be written.",
        sentence="The user's name at the server, with OAuth too. For a shared mailbox it is the shared one's address. "
        "With POP3 at Gmail `recent:` may stand before it: the same mailbox, of which each client is shown the last 30 days.",
    )
    oauth_user: str | None = option(
        "oauth-user",
        values.text,
        default_words="The value of mailbox",
        valid="the login name of the account that consents, or whose password is used",
        effect=Effect.NEXT_CYCLE,
        ours=_WHOLE,
        oauth=True,
        sentence="The account whose token opens the mailbox, where that is another's: a shared mailbox.",
    )
    password: Secret | None = option(
        "password",
        values.secret,
        valid=f"a password or a refresh_token, as {values.SECRET_FORMS}",
        effect=Effect.NEXT_CYCLE,
        modified=("8.5.205.03",),
        ours="The forms env:NAME and file:PATH.",
        secret=True,
        sentence="With basic authentication the password; blanks in Google's application passwords do not count. "
        "With OAuth (`mail.<type>.auth.mechanisms`) what `grant-type` says: the mailbox's refresh token, its password, or "
        "with `client_credentials` the application's secret. After `postroom authorize` the refresh token is in the vault; "
        "a new value written here wins over it.",
    )
    folder_path: tuple[str, ...] = option(
        "folder-path",
        values.folders,
        default="INBOX",
        valid="one or more folders, with commas between them",
        effect=Effect.NEXT_CYCLE,
        introduced="8.1.4",
        ours="The default.",
        sentence="The folders that are read. New mail in the first is noticed at once where the server can say so; "
        "the others are looked at in every cycle. A name such as `\\Sent`, `\\All` or `\\Archive` means the folder of that "
        "use, whatever the server calls it.",
    )
    security: Security = option(
        "pop-connection-security",
        values.one_of(Security),
        default="ssl-tls",
        valid="none, start-tls, ssl-tls",
        effect=Effect.NEXT_CYCLE,
        ours="The default.",
        sentence="How the connection is protected. With `none` the password or token crosses the network in clear.",
    )
    tls_ca_file: Path | None = option(
        "tls-ca-file",
        values.certificates,
        default_words="The system's authorities alone",
        valid="a file with certificates in PEM form",
        effect=Effect.NEXT_CYCLE,
        ours=_WHOLE,
        sentence="Further certificate authorities to trust, such as a company's own. Names and dates are always checked.",
    )
    connect_timeout: float = option(
        "connect-timeout",
        values.time_span(minimum=1),
        default="00:00:30",
        valid=f"{values.TIME_SPAN}, at least 1s",
        effect=Effect.NEXT_CYCLE,
        ours="The default.",
        sentence="How long a connection may take to come about.",
    )
    protocol_timeout: float = option(
        "protocol-timeout",
        values.time_span(minimum=1),
        default="00:01:00",
        valid=f"{values.TIME_SPAN}, at least 1s",
        effect=Effect.NEXT_CYCLE,
        ours="The default.",
        sentence="How long the server may be silent when it owes an answer.",
    )
    enable_client: bool = option(
        "enable-client",
        values.boolean,
        default="true",
        valid=values.BOOLEAN,
        effect=Effect.NEXT_CYCLE,
        ours="The default.",
        sentence="Switches the mailbox off without losing how far it was read.",
    )
    enable_debug: bool = option(
        "enable-debug",
        values.boolean,
        default="false",
        valid=values.BOOLEAN,
        effect=Effect.NEXT_CYCLE,
        sentence="Writes this client's conversation with its server into the log. Secrets are masked.",
    )
    cycle_time: float = option(
        "cycle-time",
        values.time_span(minimum=1),
        default="00:01:00",
        valid=f"{values.TIME_SPAN}, at least 1s",
        effect=Effect.NEXT_CYCLE,
        ours="The default.",
        sentence="The longest pause between two POP cycles.",
    )
    maximum_msg_number: int = option(
        "maximum-msg-number",
        values.integer(0),
        default="0",
        valid="0 or more; 0 is no limit",
        effect=Effect.NEXT_CYCLE,
        ours="The default.",
        sentence="The most messages that one cycle takes. The rest follows in the next cycles.",
    )
    after_capture: Disposition = option(
        "after-capture",
        values.one_of(Disposition, without=(Disposition.RETRIEVED,)),
        default="keep",
        valid="keep, seen, delete, move",
        effect=Effect.NEXT_CYCLE,
        ours=_WHOLE,
        sentence="What is done with a message at the server once it is safe here. It is decided when the message is "
        "captured, so a change acts on what is captured from then on.",
    )
    processed_folder_path: str | None = option(
        "processed-folder-path",
        values.folder,
        valid="a folder that is not read itself",
        effect=Effect.NEXT_CYCLE,
        ours=_WHOLE,
        sentence="Where `after-capture=move` puts a message.",
    )
    failed_items_folder_path: str | None = option(
        "failed-items-folder-path",
        values.folder,
        valid="a folder that is not read itself",
        effect=Effect.NEXT_CYCLE,
        ours=_WHOLE,
        sentence="Where a message is moved that the server lists and, asked again for a day, does not hand over. Without it, "
        "and with POP3, which has no folders, such a message stays where it is. It is a trouble either way, and `postroom "
        "status` shows it.",
    )
    maximum_msg_size: int = option(
        "maximum-msg-size",
        values.size_of(1),
        default="50m",
        valid=f"{values.SIZE}, at least 1",
        effect=Effect.NEXT_CYCLE,
        ours="The default.",
        sentence="The largest message that is taken whole, its attachments included; of a larger one `big-messages` says what "
        "becomes.",
    )
    big_messages: BigMessages = option(
        "big-messages",
        values.one_of(BigMessages),
        default="headers",
        valid="headers, leave, delete",
        effect=Effect.NEXT_CYCLE,
        ours=_WHOLE,
        sentence="What becomes of a message above `maximum-msg-size`: its header is captured with a note in the place of its "
        "text, and the message stays at the server; it is left there, and is a trouble that status shows; or its header is "
        "captured and the message is deleted at the server.",
    )
    first_read: FirstRead | datetime.date = option(
        "first-read",
        values.first_read,
        default="all",
        valid="all, new, or a day: YYYY-MM-DD",
        effect=Effect.NEXT_CYCLE,
        ours=_WHOLE,
        sentence="What of an existing mailbox is read the first time: all of it, only what comes from then on, or what the "
        "server got on that day (UTC) or later. It acts on a folder that was never read.",
    )
    address: str | None = option(
        "address",
        values.mail_address,
        default_words="The value of mailbox, if it is an address",
        valid="an e-mail address",
        effect=Effect.NEXT_CYCLE,
        ours="The default.",
        sentence="The address that this mailbox serves, where its login name is none: a shared mailbox, an alias. Messages are "
        "shown and handed on with it.",
    )
    copy_message_to_recipients: bool = option(
        "copy-message-to-recipients",
        values.boolean,
        default="false",
        valid=values.BOOLEAN,
        effect=Effect.NEXT_CYCLE,
        introduced="8.5.108.00",
        ours="The duplicate check stays on, for each message and recipient.",
        sentence="Whether each unique recipient in To and CC gets a copy of the message of its own: its octets with the header "
        "`copy-message-with-header` before them. The message itself stays beside its copies. It is decided when a message is "
        "captured, so a change of this option or of the two that follow acts on what is captured from then on.",
    )
    copy_message_with_header: str = option(
        "copy-message-with-header",
        values.header_name,
        default="X-Genesys-To",
        valid="any valid name of a header (RFC 5322 section 2.2)",
        effect=Effect.NEXT_CYCLE,
        introduced="8.5.108.00",
        sentence="The header that names the recipient of a copy.",
    )
    inbound_msg_copy_limit: int = option(
        "inbound-msg-copy-limit",
        values.integer(1, 50),
        default="10",
        valid="1..50",
        effect=Effect.NEXT_CYCLE,
        introduced="8.5.108.00",
        ours="The recipients that are left out are recorded and shown.",
        sentence="The most copies of one message. The address that the mailbox serves comes first, then To, then CC.",
    )

    @property
    def account(self) -> str:
        """Whose mailbox it is: the login name, without Gmail's ``recent:``, which says how the same mailbox is shown."""
        return self.mailbox[len(RECENT) :] if self.wants_recent else self.mailbox

    @property
    def wants_recent(self) -> bool:
        """Whether Gmail is to show the last 30 days, to each client: https://support.google.com/mail/answer/7104828"""
        return self.type is MailboxType.POP3 and self.mailbox.lower().startswith(RECENT)

    @property
    def serves(self) -> str:
        """The address that this mailbox serves; empty where none is known."""
        return self.address or (self.account if "@" in self.account else "")
