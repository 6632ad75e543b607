"""Every error says what happened and what can be done, and the engine knows what to make of it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import pytest

from postroom import errors
from postroom.errors import Fate, PostroomError

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, PostroomError)]

# Roots of the tree: what is raised is one of their branches, which brings the remedy.
ROOTS = {"PostroomError", "ProtocolError", "AuthError", "Reply"}


def made(cls: type[PostroomError], detail: str = "") -> PostroomError:
    error = cls.__new__(cls)
    PostroomError.__init__(error, detail)
    return error


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_has_a_message(cls: type[PostroomError]) -> None:
    message = cls.message()
    assert message
    assert "\n" not in message
    assert not message.endswith(".")
    assert str(made(cls)) == message
    assert str(made(cls, "the details")) == f"{message}: the details"
    assert "message" not in vars(cls) or cls is PostroomError


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_has_a_docstring_of_its_own(cls: type[PostroomError]) -> None:
    assert cls.__dict__.get("__doc__")
    parents = [base.__doc__ for base in cls.__mro__[1:]]
    assert cls.__doc__ not in parents


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls.__name__ not in ROOTS])
def test_every_class_that_is_raised_has_a_remedy(cls: type[PostroomError]) -> None:
    remedy = made(cls).remedy
    assert remedy.endswith(".")
    assert "\n" not in remedy


@pytest.mark.parametrize("cls", CLASSES)
def test_a_remedy_given_where_the_error_arose_comes_first(cls: type[PostroomError]) -> None:
    error = cls.__new__(cls)
    PostroomError.__init__(error, "x", remedy="Do that.")
    assert error.remedy == "Do that."


FATES = {
    "AuthError": Fate.REAUTHORIZE,
    "ConsentFailed": Fate.REAUTHORIZE,
    "ConsentMissing": Fate.REAUTHORIZE,
    "TokenRefused": Fate.REAUTHORIZE,
    "LoginRefused": Fate.REAUTHORIZE,
    "NoMechanism": Fate.REAUTHORIZE,
    "ConfigError": Fate.REAUTHORIZE,
    "ProxyRefused": Fate.REAUTHORIZE,
    "VaultLocked": Fate.REAUTHORIZE,
    "StoreNewer": Fate.GIVE_UP,
    "DraftRefused": Fate.GIVE_UP,
    "NotFound": Fate.GIVE_UP,
    "Ambiguous": Fate.GIVE_UP,
    "Conflict": Fate.GIVE_UP,
    "ChangedMeanwhile": Fate.GIVE_UP,
    "FaultyEdit": Fate.REAUTHORIZE,
    "StateRefused": Fate.GIVE_UP,
    "KeyReused": Fate.GIVE_UP,
}


@pytest.mark.parametrize("cls", CLASSES)
def test_what_is_not_known_to_be_final_is_tried_again(cls: type[PostroomError]) -> None:
    assert cls.fate is FATES.get(cls.__name__, Fate.RETRY)


def drawn() -> Iterator[tuple[str, str]]:
    """Each class of the drawing with its parent."""
    depths: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r" {4}((?:│   |    )*)(?:[├└]── )?([A-Z]\w+)", line)
        if found is None or found[2] not in vars(errors):
            continue
        depth = len(found[1]) // 4 + ("──" in line)
        depths[depth:] = [found[2]]
        yield found[2], depths[depth - 1] if depth else "Exception"


def test_the_drawing_shows_every_class_in_its_place() -> None:
    parents = {cls.__name__: cls.__bases__[0].__name__ for cls in CLASSES}
    assert dict(drawn()) == parents
    assert len(list(drawn())) == len(CLASSES)


def test_the_peers_own_words_are_fields() -> None:
    refused = errors.TokenRefused("x", error="invalid_grant", description="expired")
    assert (refused.error, refused.description) == ("invalid_grant", "expired")
    assert (refused.certain, refused.reason) == (True, "")
    uncertain = errors.TokenRefused("x", error="invalid_grant", certain=False, reason="microsoft-invalid-grant")
    assert (uncertain.certain, uncertain.reason) == (False, "microsoft-invalid-grant")
    assert not errors.LoginRefused("x").certain
    assert errors.LoginRefused("x", certain=True).certain
    assert errors.ConsentFailed("x", error="access_denied").error == "access_denied"
    missing = errors.ConsentMissing("[pop-client-a]")
    assert (missing.error, missing.reason) == ("consent_missing", "consent-missing")
    status = errors.ImapStatus("x", status="NO", code="OVERQUOTA", text="full")
    assert (status.status, status.code, status.text) == ("NO", "OVERQUOTA", "full")
    assert errors.Throttled("x", retry_after=5).retry_after == 5
    assert errors.HttpStatus("x", status=503).status == 503
    config = errors.ConfigError("x", place="a:1", option="port", value="0", valid="1..65535")
    assert (config.place, config.option, config.value, config.valid) == ("a:1", "port", "0", "1..65535")
