"""IMAP4 (RFC 9051, RFC 3501) as a client speaks it, without I/O.

``fragments`` cuts the stream into responses and knows only lines and literals; ``grammar`` gives one response its
meaning, so that a malformed one is dropped alone and the connection stays in step; ``commands`` writes; ``types`` names
what there is; ``utf7`` is for folder names; ``quirks`` names what servers do otherwise.
"""
