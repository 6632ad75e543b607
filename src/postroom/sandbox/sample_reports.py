"""Samples that programs write, or that programs stumble over: reports, lists, invitations, and broken messages."""

from __future__ import annotations

from datetime import timedelta

from postroom.sandbox.parts import CRLF, Letter, Maker, crlf, entity, header, multipart, text_entity, word
from postroom.sandbox.sample_texts import PLAIN

NULL = ""  # the null reverse-path of what must never be answered by a bounce (RFC 5321 section 4.5.5)


def _bounce(letter: Letter) -> bytes:
    """A delivery status notification (RFC 3464) in a multipart/report (RFC 6522)."""
    text = (
        "This is the mail system at host mail.example.org.\n\nYour message could not be delivered to one recipient.\n\n"
        "<nobody@example.org>: host mx.example.org[192.0.2.30] said:\n    550 5.1.1 User unknown (in reply to RCPT TO)"
    )
    status = crlf(f"""
Reporting-MTA: dns; mail.example.org
X-Queue-ID: 4Zk1tQ2
Arrival-Date: {letter.date}

Final-Recipient: rfc822; nobody@example.org
Original-Recipient: rfc822;nobody@example.org
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.example.org
Diagnostic-Code: smtp; 550 5.1.1 User unknown
""")
    returned = header(
        ("From", letter.to),
        ("To", "nobody@example.org"),
        ("Subject", "Your invoice 8841"),
        ("Message-ID", "<invoice-8841@example.test>"),
        ("Date", letter.date),
    )
    body = multipart(
        "report-4",
        entity("text/plain; charset=us-ascii", crlf(text), ("Content-Description", "Notification")),
        entity("message/delivery-status", status, ("Content-Description", "Delivery report")),
        entity("text/rfc822-headers", returned, ("Content-Description", "Undelivered message header")),
    )
    kind = ("Content-Type", 'multipart/report; report-type=delivery-status;\r\n boundary="report-4"')
    sender = "Mail Delivery System <MAILER-DAEMON@example.org>"
    subject = "Undelivered Mail Returned to Sender"
    return letter.head(sender, subject, ("Auto-Submitted", "auto-replied"), kind, return_path=NULL) + CRLF + body


def _automatic_reply(letter: Letter) -> bytes:
    """An answer that nobody wrote (RFC 3834)."""
    text = "I am out of the office until Monday and will read your message then.\n\nPriya Nair"
    original = "<invoice-8841@example.test>"
    fields = (("In-Reply-To", original), ("References", original), ("Auto-Submitted", "auto-replied (vacation)"))
    subject = "Automatic reply: Your invoice 8841"
    sender = "Priya Nair <priya@example.org>"
    head = letter.head(sender, subject, *fields, ("X-Auto-Response-Suppress", "All"), PLAIN, return_path=NULL)
    return head + CRLF + crlf(text)


def _mailing_list(letter: Letter) -> bytes:
    """A message that came over a list (RFC 2369, RFC 2919), with one click to leave it (RFC 8058)."""
    text = """
Hello all,

the next meeting of the cargo bike group is on the first Tuesday of the month, at seven.

Marek
_______________________________________________
cargo-bikes mailing list -- cargo-bikes@lists.example.org
"""
    fields = (
        ("List-Id", "Cargo bikes <cargo-bikes.lists.example.org>"),
        ("List-Post", "<mailto:cargo-bikes@lists.example.org>"),
        (
            "List-Unsubscribe",
            "<https://lists.example.org/leave/4711>,\r\n <mailto:cargo-bikes-leave@lists.example.org>",
        ),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ("Precedence", "list"),
        PLAIN,
    )
    sender = "Marek via Cargo bikes <cargo-bikes@lists.example.org>"
    head = letter.head(sender, "[cargo-bikes] Next meeting", *fields, return_path="bounces@lists.example.org")
    return head + CRLF + crlf(text)


def _invitation(letter: Letter) -> bytes:
    """A calendar invitation (RFC 5545, RFC 6047)."""
    begin = (letter.when + timedelta(days=5)).replace(hour=14, minute=0, second=0)
    calendar = crlf(
        f"""
BEGIN:VCALENDAR
PRODID:-//Example//Calendar 1.0//EN
VERSION:2.0
METHOD:REQUEST
BEGIN:VEVENT
UID:{letter.message_id.strip("<>")}
DTSTAMP:{letter.when:%Y%m%dT%H%M%SZ}
DTSTART:{begin:%Y%m%dT%H%M%SZ}
DTEND:{begin + timedelta(hours=1):%Y%m%dT%H%M%SZ}
SUMMARY:Spring orders – who needs what
LOCATION:Meeting room 2
ORGANIZER;CN=Ole Lindqvist:mailto:purchasing@example.net
ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:{letter.to}
SEQUENCE:0
STATUS:CONFIRMED
END:VEVENT
END:VCALENDAR
""",
        "utf-8",
    )
    body = multipart(
        "alternative-5",
        text_entity(f"Spring orders – who needs what\n\n{begin:%d %B %Y, %H:%M} UTC, meeting room 2"),
        entity('text/calendar; charset="utf-8"; method=REQUEST', calendar, ("Content-Transfer-Encoding", "8bit")),
    )
    kind = ("Content-Type", 'multipart/alternative; boundary="alternative-5"')
    subject = word("Invitation: Spring orders – who needs what", "utf-8")
    return letter.head("Ole Lindqvist <purchasing@example.net>", subject, kind) + CRLF + body


def _without_message_id(letter: Letter) -> bytes:
    """What a small device sends: no Message-ID, and no MIME either."""
    head = header(
        ("Date", letter.date),
        ("From", "scanner@example.net"),
        ("To", letter.to),
        ("Subject", "Toner low"),
    )
    return head + CRLF + crlf("Device MFP-2 (second floor): black toner at 8 percent.")


def _broken_charset(letter: Letter) -> bytes:
    """Octets of windows-1252 under a name that no character set has, and raw in the subject."""
    kind = ("Content-Type", 'text/plain; charset="x-ansi-8859-latin_1"')
    head = letter.head("Rene Lefevre <rene@example.com>", "@", kind, ("Content-Transfer-Encoding", "8bit"))
    head = head.replace(b"Subject: @", b"Subject: Pi\xe8ces d\xe9tach\xe9es")
    text = "Bonjour,\n\navez-vous des pièces détachées pour un vélo de 1987 ? Je paierais jusqu’à 50 €.\n\nRené Lefèvre"
    return head + CRLF + crlf(text, "windows-1252")


def _forwarded(letter: Letter) -> bytes:
    """A complaint passed on as an attachment (message/rfc822), whole with its own header and attachment."""
    inner = header(
        ("Date", letter.date),
        ("From", "Grace Obi <grace@example.com>"),
        ("To", "info@example.org"),
        ("Subject", "Wrong size delivered"),
        ("Message-ID", f"<{letter.when:%Y%m%d}.complaint@example.com>"),
        ("MIME-Version", "1.0"),
        ("Content-Type", 'multipart/mixed; boundary="inner-6"'),
    )
    inner_body = multipart(
        "inner-6",
        text_entity("I ordered size M and got size S. The delivery note is attached."),
        entity(
            "text/plain; charset=us-ascii",
            crlf("Delivery note 3317: 1 x Kestrel 7, S"),
            ("Content-Disposition", 'attachment; filename="note.txt"'),
        ),
    )
    body = multipart(
        "mixed-6",
        text_entity("Hello,\n\nthis one reached us by mistake, can you take care of it?\n\nSpoke and Chain, Leeds"),
        entity("message/rfc822", inner + CRLF + inner_body, ("Content-Disposition", "inline")),
    )
    kind = ("Content-Type", 'multipart/mixed; boundary="mixed-6"')
    return letter.head("Spoke and Chain <info@example.org>", "Fwd: Wrong size delivered", kind) + CRLF + body


MAKERS: tuple[tuple[str, str, Maker], ...] = (
    ("bounce", "example.org", _bounce),
    ("automatic-reply", "example.org", _automatic_reply),
    ("mailing-list", "lists.example.org", _mailing_list),
    ("invitation", "example.net", _invitation),
    ("without-message-id", "example.net", _without_message_id),
    ("broken-charset", "example.com", _broken_charset),
    ("forwarded", "example.org", _forwarded),
)
"""Name, domain of the Message-ID, and maker."""
