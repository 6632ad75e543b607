"""A secret is printed by nothing."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from io import StringIO

import pytest

from postroom.model import AccessToken, Grant
from postroom.net.grants import Application, RefreshToken
from postroom.net.tokens import TokenRequest
from postroom.secret import Secret
from postroom.settings import MailboxType, PopClient, SecretSection

TEXT = "s3cr3t-t0ken"
SECRET = Secret(TEXT)


@dataclasses.dataclass
class Record:
    name: str
    token: Secret


def logged() -> str:
    stream = StringIO()
    logger = logging.Logger("test")
    logger.addHandler(logging.StreamHandler(stream))
    logger.error("%s %r", SECRET, SECRET)
    logger.error("all: %s", {"token": SECRET, "list": [SECRET]})
    return stream.getvalue()


def traced() -> str:
    def fail(token: Secret) -> None:
        kept = {"token": token}
        raise ValueError(f"{token} {kept}")

    try:
        fail(SECRET)
    except ValueError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    return ""


PRINTERS: dict[str, Callable[[], str]] = {
    "str": lambda: str(SECRET),
    "repr": lambda: repr(SECRET),
    "ascii": lambda: ascii(SECRET),
    "format": lambda: format(SECRET),
    "format with a width": lambda: format(SECRET, ">30"),
    "f-string": lambda: f"{SECRET} {SECRET!r} {SECRET!s:>10} {SECRET!a}",
    "str.format": lambda: "{} {0!r}".replace("{}", "{0}").format(SECRET),
    "percent": lambda: "%s %r" % (SECRET, SECRET),  # noqa: UP031 - the old way is a way too
    "join": lambda: " ".join(map(str, [SECRET])),
    "list": lambda: str([SECRET]),
    "dict": lambda: repr({"token": SECRET}),
    "json": lambda: json.dumps({"token": SECRET}, default=str),
    "logging": logged,
    "traceback": traced,
    "exception": lambda: repr(ValueError(SECRET)) + str(ValueError(SECRET)),
    "dataclass": lambda: repr(Record("x", SECRET)),
    "access token": lambda: repr(AccessToken(SECRET, 1, 2, 3)),
    "grant": lambda: repr(Grant(1, SECRET, 1, 0, AccessToken(SECRET, 1, 2, 3), None)),
    "token request": lambda: repr(TokenRequest("https://a", Application("c", SECRET), RefreshToken(SECRET), None, None, 0)),
    "section": lambda: repr(PopClient(section="a", name="a", type=MailboxType.IMAP, mailbox="a@b", password=SECRET)),
    "secret section": lambda: repr(SecretSection(name="a", password=SECRET)),
    "dir": lambda: repr(dir(SECRET)),
}


@pytest.mark.parametrize("how", PRINTERS)
def test_it_is_printed_by_nothing(how: str) -> None:
    assert TEXT not in PRINTERS[how]()


def test_it_prints_as_stars() -> None:
    assert f"{SECRET}|{SECRET!r}|{SECRET:>5}|{SECRET:.1}" == "***|***|  ***|*"


@pytest.mark.parametrize("copying", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_is_neither_pickled_nor_copied(copying: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match="not pickled"):
        copying(SECRET)


def test_json_without_a_way_out_refuses_it() -> None:
    with pytest.raises(TypeError):
        json.dumps(SECRET)


def test_it_has_no_attributes_to_be_listed() -> None:
    with pytest.raises(TypeError):
        vars(SECRET)


def test_it_reveals_itself_when_asked() -> None:
    assert SECRET.reveal() == TEXT
    assert bool(SECRET)
    assert not Secret("")


def test_equality_is_by_text() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != Secret("ä")
    assert Secret("a") != "a"
    assert hash(Secret("a")) == hash(Secret("a"))
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
