"""Real servers for the tests: Dovecot, Courier and pymap, Postfix and Exim, POP3 in Gmail's way and SMTP that does wrong,
two OAuth 2.0 authorities, a proxy that breaks connections, other systems that read and send mail, and a browser.

Rule: nothing here knows Postroom. What a test learns from these servers it learns over the wire or from the files they
keep, so a fault of ours cannot hide behind a fake of ours. Read ``dovecot.py`` first, then ``authority.py`` with
``authority/server.mjs`` (what the standards say) and ``deviant.py`` (what Google and Microsoft say beside them), then
``gmail_pop3.py``, ``courier.py``, ``browser.py`` and ``proxy.py``; ``install.py`` fetches what they need.

Mail is sent to ``postfix.py``, which asks the same Dovecot about logins and delivers into its mailboxes, so that what was
sent is read back; to ``exim.py``, of another family; to ``smtp_faults.py``, which fails as it is told and keeps a record
of what it took over all the same; and, where only speed counts, to ``sink.py``.
"""
