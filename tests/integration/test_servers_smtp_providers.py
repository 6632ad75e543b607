"""Microsoft's and Gmail's ways of taking mail, as the faulty SMTP server has them."""

from __future__ import annotations

import contextlib
import json
import smtplib
import time
from dataclasses import replace

import pytest
from faulty import OTHER, READER, SENDER, connected, letter, logged_in

from servers.dovecot import Dovecot
from servers.dovecot_config import PASSWORD
from servers.sasl import log_in
from servers.smtp_faults import (
    BASIC_AUTH_DISABLED,
    GMAIL,
    MAILBOX_FULL,
    MICROSOFT,
    SMTP_AUTH_DISABLED,
    Fault,
    SmtpFaults,
)
from servers.waiting import wait_for


def test_microsoft_refuses_a_fourth_connection_at_the_end_of_its_message(smtp_faults: SmtpFaults) -> None:
    smtp_faults.behave(replace(MICROSOFT, sent_folder=""))
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(logged_in(smtp_faults)) for _ in range(4)]
        for connection in connections[:3]:
            assert connection.sendmail(SENDER, [READER], letter()[1]) == {}
        with pytest.raises(smtplib.SMTPDataError) as refused:
            connections[3].sendmail(SENDER, [READER], letter()[1])
        assert refused.value.smtp_code == 432
        assert refused.value.smtp_error.startswith(b"4.3.2 ")
        with logged_in(smtp_faults, OTHER) as another:
            assert another.sendmail(OTHER, [READER], letter()[1]) == {}
        connections[0].quit()
        wait_for(lambda: smtp_faults.logins().count(SENDER) == 3, "the end of one")
        assert connections[3].sendmail(SENDER, [READER], letter()[1]) == {}


def test_microsoft_slows_down_and_has_a_quota(smtp_faults: SmtpFaults) -> None:
    smtp_faults.behave(replace(MICROSOFT, per_minute=2, minute=0.5, recipients_per_day=5, sent_folder=""))
    with logged_in(smtp_faults) as connection:
        before = time.monotonic()
        for _ in range(2):
            connection.sendmail(SENDER, [READER], letter()[1])
        assert time.monotonic() - before < 0.5
        connection.sendmail(SENDER, [READER], letter()[1])
        assert time.monotonic() - before >= 0.5
        connection.sendmail(SENDER, [READER, OTHER], letter()[1])
        with pytest.raises(smtplib.SMTPDataError) as refused:
            connection.sendmail(SENDER, [READER], letter()[1])
        assert refused.value.smtp_code == 554
        assert refused.value.smtp_error.startswith(b"5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException")
        smtp_faults.go_ahead(24 * 3600 + 1)
        assert connection.sendmail(SENDER, [READER], letter()[1]) == {}


def test_microsoft_files_what_it_took(smtp_faults: SmtpFaults, dovecot: Dovecot, mailbox_user: str) -> None:
    smtp_faults.behave(MICROSOFT)
    first, second = letter()[1], letter()[1]
    with logged_in(smtp_faults, mailbox_user) as connection:
        connection.sendmail(mailbox_user, [READER], first)
        smtp_faults.fail(Fault("dot", do="cut", taken=True))
        with pytest.raises(smtplib.SMTPServerDisconnected):
            connection.sendmail(mailbox_user, [READER], second)
    assert list(dovecot.raw(mailbox_user, "Sent").values()) == [first, second]


def test_microsoft_refuses_logins_in_its_words(smtp_faults: SmtpFaults) -> None:
    smtp_faults.behave(MICROSOFT)
    smtp_faults.allow({"good": SENDER})
    with connected(smtp_faults) as connection:
        login = log_in(connection, SENDER, "bad")
        assert (login.code, login.words[:6], login.challenges) == (535, b"5.7.3 ", ())
        smtp_faults.fail(SMTP_AUTH_DISABLED)
        login = log_in(connection, SENDER, "good")
        assert (login.code, login.words[:8]) == (535, b"5.7.139 ")
        smtp_faults.reset()
        smtp_faults.fail(BASIC_AUTH_DISABLED, MAILBOX_FULL)
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            connection.login(SENDER, PASSWORD)
        assert refused.value.smtp_code == 550
    smtp_faults.reset()
    smtp_faults.fail(MAILBOX_FULL)
    with logged_in(smtp_faults) as connection, pytest.raises(smtplib.SMTPDataError) as full:
        connection.sendmail(SENDER, [READER], letter()[1])
    assert (full.value.smtp_code, full.value.smtp_error[:6]) == (554, b"5.2.2 ")


def test_gmail_challenges_a_bad_token_and_takes_any_answer(smtp_faults: SmtpFaults) -> None:
    smtp_faults.behave(GMAIL)
    with connected(smtp_faults) as connection:
        login = log_in(connection, SENDER, "bad")
        assert json.loads(login.challenges[0])["scope"] == "https://mail.google.com/"
        assert login.code == 535
        assert login.words.startswith(b"5.7.8 Username and Password not accepted.")
        connection.docmd("AUTH", "XOAUTH2 dXNlcj1hAWF1dGg9QmVhcmVyIGIBAQ==")
        assert connection.docmd(".")[0] == 535


def test_gmail_has_limits_on_recipients_and_days(smtp_faults: SmtpFaults) -> None:
    smtp_faults.behave(replace(GMAIL, messages_per_day=1, recipients_per_message=2, sent_folder=""))
    with logged_in(smtp_faults) as connection:
        assert "dsn" not in connection.esmtp_features
        refused = connection.sendmail(SENDER, [READER, OTHER, SENDER], letter()[1])
        assert [code for code, _ in refused.values()] == [452]
        with pytest.raises(smtplib.SMTPDataError) as over:
            connection.sendmail(SENDER, [READER], letter()[1])
        assert (over.value.smtp_code, over.value.smtp_error[:6]) == (550, b"5.4.5 ")
        smtp_faults.go_ahead(24 * 3600 + 1)
        assert connection.sendmail(SENDER, [READER], letter()[1]) == {}


def test_a_session_ends_with_the_hour_of_its_token(smtp_faults: SmtpFaults) -> None:
    smtp_faults.behave(GMAIL)
    smtp_faults.allow({"good": SENDER})
    with connected(smtp_faults) as connection, logged_in(smtp_faults) as by_password:
        log_in(connection, SENDER, "good")
        connection.mail(SENDER)
        smtp_faults.go_ahead(3599)
        assert connection.rcpt(READER)[0] == 250
        smtp_faults.go_ahead(3600)
        assert connection.docmd("DATA")[0] == 421
        with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
            connection.noop()
        assert by_password.noop()[0] == 250
