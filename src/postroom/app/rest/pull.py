"""``/v1/pull``: applications read messages by lease."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import Path, Query, Request
from pydantic import BeforeValidator, Field
from pydantic.json_schema import SkipJsonSchema

from postroom.app.core import Core
from postroom.app.operations import pull as operation
from postroom.app.rest.messages import Message
from postroom.app.rest.operation import Answer, CoreHere, Form, KeyHere, problems, routes
from postroom.app.rest.problems import Problem, fault
from postroom.errors import ConfigError
from postroom.model import MessageRow
from postroom.settings import PullApplication
from postroom.store.apikeys import ApiKey
from postroom.store.pull import Verdict

router = routes("Pull")

Name = Annotated[
    str, Path(alias="application", max_length=120, description="The application's section, or the part after `pull-`.")
]
Tokens = Annotated[list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=1000)]
Seconds = Annotated[float, Field(ge=1, le=operation.LONGEST_LEASE)]
_STALE = problems(409)


def _whole(value: object) -> object:
    """JSON has one sort of numbers: 10.0 is a whole one (JSON Schema, "integer")."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class LeaseForm(Form):
    """What a consumer asks for."""

    limit: Annotated[int, BeforeValidator(_whole)] = Field(10, ge=1, le=operation.MOST, description="Most messages.")
    wait: float = Field(
        0.0, ge=0, le=operation.LONGEST_WAIT, description="Seconds to wait for one, where there is none: a long poll."
    )
    lease_seconds: Seconds | SkipJsonSchema[None] = Field(
        None, description="How long the messages belong to who asks; without it as `lease-time` says."
    )


class TokensForm(Form):
    """Leases that end well."""

    tokens: Tokens = Field(description="Of the leases.")


class RefuseForm(Form):
    """Leases that end otherwise."""

    tokens: Tokens = Field(description="Of the leases.")
    reason: str = Field("", max_length=1000, description="Kept with the message, and shown to persons.")
    retry_after: Annotated[float, Field(ge=0, le=30 * 86400)] | SkipJsonSchema[None] = Field(
        None, description="Seconds until they are handed out again; without it ever longer, from 5 seconds to a quarter of an hour."
    )
    dead: bool = Field(False, description="Never hand them out again, unless a person replays them.")


class ExtendForm(Form):
    """Leases that go on."""

    tokens: Tokens = Field(description="Of the leases.")
    seconds: Seconds = Field(description="How long they run from now on.")


class Person(Answer):
    """Who is named in a header."""

    name: str = Field(description="Empty where none is given.")
    address: str


class Item(Answer):
    """A message in the hands of who leased it."""

    token: str = Field(description="Tells this lease from all others; acknowledges, refuses and extends it.")
    leased_until: str = Field(description="Then it is handed out again (RFC 3339).")
    attempts: int = Field(description="How often it was handed out, this time included.")
    refusal: str | None = Field(description="Why it was not acknowledged the last time.")
    message: Message
    sender: Person | None = Field(alias="from", description="The first that From names; null where it names none.")
    reply_to: list[Person] = Field(description="Whom an answer should go to, where the message says so; else to `from`.")
    to: list[Person]
    cc: list[Person]
    text: str = Field(description="The text/plain part, else the text of the HTML, as well as the first 256 KiB tell.")
    text_cut: bool = Field(description="There may be more text: see `raw`.")
    raw: str = Field(description="Where the octets are.")


class Items(Answer):
    """Leased messages, the oldest first."""

    items: list[Item]


class Result(Answer):
    """What came of a token."""

    token: str
    result: Literal["done", "dead", "stale"] = Field(
        description="`dead`: laid aside. `stale`: the lease is over, and nothing was changed."
    )


class Results(Answer):
    """What came of each token, in the order of the request."""

    items: list[Result]


class Waiting(Answer):
    """What waits for an application."""

    application: str
    state: Literal["configured", "faulty", "absent"]
    waiting: int = Field(description="May be leased now.")
    deferred: int = Field(description="Refused for now.")
    leased: int
    dead: int = Field(description="Laid aside.")
    oldest_age: float | None = Field(description="Seconds since the oldest of the first three was captured.")


class AllWaiting(Answer):
    """Every application that reads by pull."""

    items: list[Waiting]


class Letter(Answer):
    """A message that was laid aside."""

    id: str
    client: str
    subject: str
    sender: str = Field(alias="from")
    attempts: int
    first_failed: str | None
    reason: str


class Letters(Answer):
    """Messages that were laid aside, the longest ago first."""

    items: list[Letter]


class Replayed(Answer):
    """How many are handed out anew."""

    messages: int


@router.get("/pull")
async def list_applications(core: CoreHere, key: KeyHere) -> AllWaiting:
    """List the applications that read by pull, and what waits for them."""
    found = [each for each in await operation.waiting(core) if _may(key, each.section)]
    return AllWaiting(items=[Waiting.model_validate(operation.waiting_dict(each)) for each in found])


@router.post("/pull/{application}/lease", response_model_exclude_unset=True)
async def lease_messages(request: Request, core: CoreHere, key: KeyHere, name: Name, body: LeaseForm) -> Items:
    """Lease messages, the oldest first. Nobody else gets them until they are refused or their lease runs out."""
    application = _application(core, key, name)
    wish = operation.Wish(key.name, body.limit, body.wait, body.lease_seconds)
    leased = await operation.lease(core, application, wish, request.is_disconnected)
    found = await operation.items(core.store, leased)
    return Items(items=[Item.model_validate({**item, "raw": _raw(each.row)}) for each, item in zip(leased, found, strict=True)])


@router.post("/pull/{application}/acknowledge", responses=_STALE)
async def acknowledge_messages(core: CoreHere, key: KeyHere, name: Name, body: TokensForm) -> Results:
    """Acknowledge messages: they are never handed out again. May be repeated. 409: no lease of these stands."""
    return _results(body.tokens, await operation.acknowledge(core, _application(core, key, name), body.tokens))


@router.post("/pull/{application}/refuse", responses=_STALE)
async def refuse_messages(core: CoreHere, key: KeyHere, name: Name, body: RefuseForm) -> Results:
    """Refuse messages: they are handed out again later, or laid aside. 409: no lease of these stands."""
    application = _application(core, key, name)
    verdicts = await operation.refuse(core, application, body.tokens, body.reason, retry_after=body.retry_after, dead=body.dead)
    return _results(body.tokens, verdicts)


@router.post("/pull/{application}/extend", responses=_STALE)
async def extend_leases(core: CoreHere, key: KeyHere, name: Name, body: ExtendForm) -> Results:
    """Keep messages for longer. 409: no lease of these stands."""
    return _results(body.tokens, await operation.extend(core, _application(core, key, name), body.tokens, body.seconds))


@router.get("/pull/{application}/dead")
async def list_dead_letters(
    core: CoreHere,
    key: KeyHere,
    name: Name,
    limit: Annotated[int, Query(ge=1, le=500, description="Most items.")] = 50,
) -> Letters:
    """List what was laid aside, and why."""
    letters = await core.store.pull.dead(_application(core, key, name).section, limit)
    return Letters(items=[Letter.model_validate(operation.letter_dict(letter)) for letter in letters])


@router.post("/pull/{application}/replay")
async def replay_messages(core: CoreHere, key: KeyHere, name: Name) -> Replayed:
    """Hand out anew what was laid aside."""
    return Replayed(messages=await operation.revive(core, _application(core, key, name)))


def _raw(row: MessageRow) -> str:
    return f"/v1/messages/{row.id if row.copy is None else row.copy.id}/raw"


def _application(core: Core, key: ApiKey, name: str) -> PullApplication:
    try:
        found = operation.find_application(core.live, name)
    except ConfigError:
        found = None
    if found is None or not _may(key, found.section):
        raise Problem(404, "There is no application with this name, or it is not one of the key's.")
    return found


def _may(key: ApiKey, section: str) -> bool:
    """A key that names clients must not read others' mail by an application that it does not name."""
    return section in key.applications if key.applications or key.clients else True


def _results(tokens: Sequence[str], verdicts: Sequence[Verdict]) -> Results:
    """What came of each; where nothing did, that is a conflict."""
    if all(verdict is Verdict.STALE for verdict in verdicts):
        errors = [fault("the lease is over, and nothing was changed", path=("tokens", at)) for at in range(len(tokens))]
        raise Problem(
            409, "No lease of these stands: they ran out and others have the messages, or they were ended.", errors=errors
        )
    pairs = zip(tokens, verdicts, strict=True)
    return Results(items=[Result(token=token, result=verdict.value) for token, verdict in pairs])
