"""Real servers for the tests: Dovecot, two OAuth 2.0 authorities, a proxy that breaks connections, and a browser.

Rule: nothing here knows Postroom. What a test learns from these servers it learns over the wire or from the files they
keep, so a fault of ours cannot hide behind a fake of ours. Read ``dovecot.py`` first, then ``authority.py`` with
``authority/server.mjs`` (what the standards say) and ``deviant.py`` (what Google and Microsoft say beside them), then
``browser.py`` and ``proxy.py``; ``install.py`` fetches what they need.
"""
