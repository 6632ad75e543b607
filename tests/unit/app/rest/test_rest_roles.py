"""Every role at every operation, and that the document names them all."""

from __future__ import annotations

import re

import pytest

from asking import Web
from postroom.app.operations.roles import ALLOWED, MEANINGS, Role
from postroom.app.rest.application import api

NOWHERE = "01890000-0000-7000-8000-000000000000"
OPERATIONS = {
    operation["operationId"]: (method.upper(), path)
    for path, methods in api().openapi()["paths"].items()
    for method, operation in methods.items()
}


def test_the_table_and_the_document_name_the_same_operations() -> None:
    assert set(OPERATIONS) == set(ALLOWED)
    assert set(MEANINGS) == set(Role)


@pytest.mark.parametrize("name", OPERATIONS)
async def test_every_role(web: Web, name: str) -> None:
    """Who may not is told so before the body is read; who may is answered in another way."""
    method, path = OPERATIONS[name]
    path = re.sub(r"\{\w+\}", NOWHERE, path)
    for role in Role:
        told = await web.ask(method, path, key=await web.key(role.value, name=role.value), data=b"{")
        assert (told.status == 403) == (role not in ALLOWED[name]), (role, told)
        assert told.status != 500
