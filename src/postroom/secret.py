"""Secrets are a type of their own, so that no log, error, trace or test output can print one by accident."""

from __future__ import annotations

import hmac


class Secret:
    """Text that prints as ``***``. ``reveal()`` is the only way to the text; call it where it leaves for its server.

    Two secrets are equal when their texts are; the comparison takes the same time whatever they hold.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself. The caller must neither log nor store it unsealed."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(("secret", self._text))

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")
