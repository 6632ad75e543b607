"""SMTP without I/O (RFC 5321, RFC 6409): ``replies`` and ``capabilities`` come in, ``commands`` and ``content`` go out."""
