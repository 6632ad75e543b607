"""Real servers for the tests: Dovecot, Courier and pymap, POP3 in Gmail's way, two OAuth 2.0 authorities, a proxy that
breaks connections, other systems that read mail, and a browser.

Rule: nothing here knows Postroom. What a test learns from these servers it learns over the wire or from the files they
keep, so a fault of ours cannot hide behind a fake of ours. Read ``dovecot.py`` first, then ``authority.py`` with
``authority/server.mjs`` (what the standards say) and ``deviant.py`` (what Google and Microsoft say beside them), then
``gmail_pop3.py``, ``courier.py``, ``browser.py`` and ``proxy.py``; ``install.py`` fetches what they need.
"""
