"""Python's own client on one connection: so many messages of 4 kB, kept nowhere.

``smtp_send.py HOST PORT COUNT OCTETS``
"""

import smtplib
import sys

host, port, count, octets = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
body = ("x" * 70 + "\r\n") * (octets // 72)
with smtplib.SMTP(host, port) as connection:
    connection.ehlo()
    for number in range(count):
        head = (
            f"From: a@example.test\r\nTo: b@example.net\r\nSubject: Letter {number}\r\nMessage-ID: <{number}@example.test>\r\n\r\n"
        )
        connection.sendmail("a@example.test", ["b@example.net"], head + body)
