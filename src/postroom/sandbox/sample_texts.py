"""Samples that people write: plain, with HTML, with files, in several scripts, and a thread of two."""

from __future__ import annotations

from postroom.sandbox.parts import (
    CRLF,
    Letter,
    Maker,
    as_base64,
    attachment,
    crlf,
    entity,
    multipart,
    pdf,
    png,
    text_entity,
    word,
)

PLAIN = ("Content-Type", 'text/plain; charset="us-ascii"')


def _plain(letter: Letter) -> bytes:
    text = """
Hello,

do you have the touring bicycle "Kestrel 7" in size L, and what does it cost to send it to Aberdeen? I would need it by
the end of next month.

Kind regards
Fiona Marsh

--\x20
Fiona Marsh, 12 Harbour Lane
"""
    head = letter.head("Fiona Marsh <fiona.marsh@example.com>", "Kestrel 7 in size L?", PLAIN)
    return head + CRLF + crlf(text)


def _html_with_picture(letter: Letter) -> bytes:
    plain = "Our autumn sale begins on Monday – 20 % off all lights and bags.\n\nSee you at the shop!"
    html = (
        '<!DOCTYPE html><html><body style="font-family: sans-serif">\n'
        '<p><img src="cid:logo@example.org" alt="Spoke and Chain" width="24" height="24"></p>\n'
        "<h1>Autumn sale</h1>\n<p>It begins on <b>Monday</b> – 20&nbsp;% off all lights and bags.</p>\n"
        "<p>See you at the shop!</p>\n</body></html>"
    )
    picture = entity(
        "image/png",
        as_base64(png()),
        ("Content-Transfer-Encoding", "base64"),
        ("Content-ID", "<logo@example.org>"),  # RFC 2392
        ("Content-Disposition", 'inline; filename="logo.png"'),
    )
    related = multipart("related-1", text_entity(html, subtype="html"), picture)
    body = multipart(
        "alternative-1",
        text_entity(plain),
        entity('multipart/related; type="text/html"; boundary="related-1"', related),
    )
    kind = ("Content-Type", 'multipart/alternative;\r\n boundary="alternative-1"')
    subject = word("Spoke and Chain: our autumn sale – from Monday", "utf-8")
    return letter.head("Spoke and Chain <news@example.org>", subject, kind) + CRLF + body


def _attachments(letter: Letter) -> bytes:
    order = pdf(("Order 2026-1187", "", "2 x Kestrel 7, size M (blue)", "1 x Repair stand", "", "Thank you."))
    rows = "item;quantity;price\r\nKestrel 7, M, blue;2;1249.00\r\nRepair stand;1;89.50\r\n"
    body = multipart(
        "mixed-2",
        text_entity("Dear team,\n\nplease find our order attached, as a PDF and as a table.\n\nYours\nOle Lindqvist"),
        attachment('application/pdf; name="order-2026-1187.pdf"', order, 'filename="order-2026-1187.pdf"'),
        attachment('text/csv; charset="utf-8"; name="order.csv"', rows.encode(), 'filename="order.csv"'),
        attachment('text/plain; charset="utf-8"', "Gate code: ask at the café.\r\n".encode(), 'filename="delivery.txt"'),
    )
    kind = ("Content-Type", 'multipart/mixed; boundary="mixed-2"')
    return letter.head("Ole Lindqvist <purchasing@example.net>", "Order 2026-1187", kind) + CRLF + body


def _japanese_iso_2022_jp(letter: Letter) -> bytes:
    text = "お世話になっております。\n\n自転車の修理についてお伺いします。来週の水曜日は営業していますか。\n\n田中 花子"
    kind = ("Content-Type", "text/plain; charset=ISO-2022-JP")
    sender = f"{word('田中 花子', 'iso-2022-jp')} <hanako@example.com>"
    head = letter.head(sender, word("修理の予約について", "iso-2022-jp"), kind, ("Content-Transfer-Encoding", "7bit"))
    return head + CRLF + crlf(text, "iso-2022-jp")  # each line returns to ASCII before its end (RFC 1468)


def _japanese_utf_8(letter: Letter) -> bytes:
    text = "担当者様\n\n先日注文した部品がまだ届いていません。配送状況を教えていただけますでしょうか。\n\n鈴木 一郎"
    sender = f"{word('鈴木 一郎', 'utf-8')} <ichiro@example.net>"
    head = letter.head(sender, word("注文番号 4471 の配送状況について教えてください", "utf-8"))
    return head + text_entity(text, encoding="base64")


def _arabic(letter: Letter) -> bytes:
    text = "السلام عليكم،\n\nأرغب في شراء ثلاث دراجات للأطفال. هل يتوفر لديكم خصم؟\n\nمع الشكر\nليلى حداد"
    sender = f"{word('ليلى حداد', 'utf-8')} <layla@example.org>"
    return letter.head(sender, word("استفسار عن الأسعار", "utf-8")) + text_entity(text, encoding="base64")


def _cyrillic_koi8_r(letter: Letter) -> bytes:
    text = "Здравствуйте!\n\nПодскажите, пожалуйста, есть ли в наличии зимние шины?\n\nС уважением,\nИван Петров"
    kind = ("Content-Type", "text/plain; charset=koi8-r")
    sender = f"{word('Иван Петров', 'koi8-r')} <petrov@example.com>"
    head = letter.head(sender, word("Зимние шины", "koi8-r"), kind, ("Content-Transfer-Encoding", "8bit"))
    return head + CRLF + crlf(text, "koi8-r")


def _emoji(letter: Letter) -> bytes:
    text = "The bike is wonderful, we love it! 🚲💙\n\nZoë & the twins 👩‍👧‍👦"
    subject = word("Thank you so much! 🎉🚲 It arrived today – just in time for the birthday 🎂", "utf-8")
    return letter.head(f"{word('Zoë', 'utf-8')} <zoe@example.net>", subject) + text_entity(text)


def _long_file_names(letter: Letter) -> bytes:
    body = multipart(
        "mixed-3",
        text_entity("Hallo,\n\nanbei die Unterlagen.\n\nViele Grüße\nJörg Weiß", charset="iso-8859-15"),
        attachment(  # RFC 2231 sections 3 and 4: continued, in a character set, with a language
            "application/pdf",
            pdf(("Kostenvoranschlag", "Summe: 480,00 EUR")),
            "filename*0*=utf-8'de'Kostenvoranschlag%20f%C3%BCr%20die",
            "filename*1*=%20gro%C3%9Fe%20Inspektion%20",
            'filename*2="2026.pdf"',
        ),
        attachment("image/png", png(16, 16), "filename*=utf-8''%E8%87%AA%E8%BB%A2%E8%BB%8A.png"),
        attachment(f'text/plain; name="{word("Übersicht.txt", "utf-8")}"', b"1. Bremsen\r\n2. Licht\r\n"),
    )
    kind = ("Content-Type", "multipart/mixed; boundary=mixed-3")
    sender = f"{word('Jörg Weiß', 'iso-8859-15')} <weiss@example.org>"
    return letter.head(sender, word("Unterlagen für die Inspektion", "iso-8859-15"), kind) + CRLF + body


def _question(letter: Letter) -> bytes:
    text = "Hi,\n\nthe rear light of my bike (bought in May) stays dark. Is that covered by the warranty?\n\nThanks, Noor"
    return letter.head("Noor Haddad <noor@example.com>", "Rear light stays dark", PLAIN) + CRLF + crlf(text)


def _second_question(letter: Letter) -> bytes:
    text = """
Sorry, I forgot the serial number: SC-20417-B.

Noor

> Hi,
>
> the rear light of my bike (bought in May) stays dark. Is that covered by the warranty?
>
> Thanks, Noor
"""
    fields = (("In-Reply-To", letter.earlier), ("References", letter.earlier), PLAIN)
    return letter.head("Noor Haddad <noor@example.com>", "Re: Rear light stays dark", *fields) + CRLF + crlf(text)


MAKERS: tuple[tuple[str, str, Maker], ...] = (
    ("plain", "example.com", _plain),
    ("html-with-picture", "example.org", _html_with_picture),
    ("attachments", "example.net", _attachments),
    ("japanese-iso-2022-jp", "example.com", _japanese_iso_2022_jp),
    ("japanese-utf-8", "example.net", _japanese_utf_8),
    ("arabic", "example.org", _arabic),
    ("cyrillic-koi8-r", "example.com", _cyrillic_koi8_r),
    ("emoji", "example.net", _emoji),
    ("long-file-names", "example.org", _long_file_names),
    ("question", "example.com", _question),
    ("second-question", "example.com", _second_question),  # answers the one before it
)
"""Name, domain of the Message-ID, and maker."""

SHORT = (
    ("Fiona Marsh <fiona.marsh@example.com>", "Opening hours on Saturday?", "Until when are you open on Saturday?"),
    ("Ole Lindqvist <purchasing@example.net>", "Order 2026-1187: one more stand", "Please make it two repair stands."),
    ("Noor Haddad <noor@example.com>", "Rear light arrived", "The new light is here and works. Thank you!"),
    ("Priya Nair <priya@example.org>", "Invoice 8841", "Could you send me the invoice once more, please?"),
    ("Tomas Novak <tomas@example.net>", "Test ride", "I would like to try the Kestrel 7 on Thursday at four."),
    ("Grace Obi <grace@example.com>", "Wrong size", "I got size S instead of M. How do I send it back?"),
    ("Help desk <helpdesk@example.org>", "Ticket 55102 updated", "Your ticket 55102 was answered. See the portal."),
)
"""Sender, subject and text of the messages that keep coming."""
