"""``/v1/clients``: the sections of the file that log in somewhere, how they fare, and what they are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import Depends, Header, Path, Request, Response
from pydantic import Field
from pydantic.config import JsonDict

from postroom.app.operations import commands
from postroom.app.operations.clients import Client as Found
from postroom.app.operations.clients import Clients, find, warnings
from postroom.app.operations.status import ClientStatus
from postroom.app.rest.operation import Answer, CoreHere, Form, KeyHere, problems, routes
from postroom.settings import Fault

router = routes("Clients")

Section = Annotated[str, Field(pattern=r"^(pop|smtp)-client(-[^\[\]\x00-\x20/]+)?$", max_length=120)]
Option = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9._-]*$", max_length=100)]
Value = Annotated[str, Field(max_length=20_000)]
Label = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$")]
LabelValue = Annotated[str, Field(max_length=200)]
ClientId = Annotated[str, Path(alias="id", max_length=120, description="The client's section, or its short name.")]
IfMatch = Annotated[
    str | None, Header(max_length=80, description="The ETag that was read: nothing is done where it is no longer that one.")
]
_NO_OTHERS: JsonDict = {"additionalProperties": False}  # names that the pattern does not have
_TAG = {"ETag": {"description": "Changes with everything that can be edited.", "schema": {"type": "string"}}}


class Queue(Answer):
    """What an smtp-client has to send."""

    ready: int = Field(description="Wait to be sent.")
    sending: int
    in_doubt: int = Field(description="Wait for a person.")
    failed: int = Field(description="Were given up; each can be replayed.")
    oldest_age: float | None = Field(description="Of the oldest that waits to be sent.")


class State(Answer):
    """How a client fares, as `postroom status` has it. Ages are seconds."""

    client: str
    address: str | None
    shadow: bool
    queue: Queue | None = Field(description="Null for a mailbox, which sends nothing.")
    restart_pending: list[str] = Field(description="Options of an smtp-client, written and not acting before its restart.")
    labels: dict[str, str]
    health: Literal["starting", "working", "retrying", "paused", "needs a person", "disabled", "stale"]
    proved_age: float | None = Field(description="Since the last check that demonstrated the path to the mailbox.")
    messages: int
    octets: int
    open_work: int
    last_message_age: float | None
    fault: str
    remedy: str
    retry_in: float | None
    process: str | None = Field(description="The living process that reads the mailbox now.")
    troubles: list[dict[str, Any]]
    folders: list[dict[str, Any]]
    endings: list[dict[str, Any]]
    audit: dict[str, Any] | None


class Summary(Answer):
    """A client in a list."""

    id: str = Field(description="The section.")
    kind: Literal["pop-client", "smtp-client"]
    state: State


class AllClients(Answer):
    """Every client, in the order of the file."""

    items: list[Summary]


class Written(Answer):
    """An option as it stands in the file."""

    name: str
    value: str = Field(description="*** for a secret: what was given once is never told again.")
    secret: bool
    effect: str = Field(description="When a change of it acts.")
    line: int
    shared: bool = Field(description="It stands in the section of shared values.")


class Remark(Answer):
    """A fault or warning of the section."""

    severity: Literal["fault", "warning"]
    line: int
    option: str
    problem: str
    valid: str
    remedy: str


class Client(Summary):
    """A client."""

    options: list[Written]
    faults: list[Remark] = Field(description="What is wrong in its section, warnings among it.")


class NewClient(Form):
    """A section to be written."""

    id: Section = Field(description="The section: pop-client-<name> or smtp-client-<name>.")
    options: dict[Option, Value] = Field(
        max_length=100, json_schema_extra=_NO_OTHERS, description="Options by name, as `postroom options` has them."
    )
    labels: dict[Label, LabelValue] = Field(
        default_factory=dict, max_length=32, json_schema_extra=_NO_OTHERS, description="Names and values of your own."
    )


class ClientChange(Form):
    """What to change; all else stays."""

    options: dict[Option, Value | None] = Field(
        default_factory=dict,
        max_length=100,
        json_schema_extra=_NO_OTHERS,
        description="Options by name; null takes one out of the section.",
    )
    labels: dict[Label, LabelValue | None] = Field(
        default_factory=dict, max_length=32, json_schema_extra=_NO_OTHERS, description="Labels; null takes one away."
    )


class Edited(Answer):
    """What came of an edit."""

    id: str
    warnings: list[str]


def _clients(request: Request) -> Clients:
    clients: Clients = request.app.state.clients
    return clients


ClientsHere = Annotated[Clients, Depends(_clients)]


@router.get("/clients")
async def list_clients(clients: ClientsHere) -> AllClients:
    """List the clients with how they fare."""
    found = await clients.list_clients()
    return AllClients(items=[_summary(kind, status) for kind, status in found])


@router.post("/clients", status_code=201, responses=problems(409))
async def create_client(
    request: Request, response: Response, core: CoreHere, clients: ClientsHere, key: KeyHere, new: NewClient
) -> Edited:
    """Write a section into the file; all else in it stays as it is. Refused with all faults before it is touched."""
    remarks = await clients.create_client(new.id, new.options, new.labels, key.name)
    request.app.state.reload()
    response.headers["Location"] = f"/v1/clients/{new.id}"
    response.headers["ETag"] = await _tag(clients, find(core.live, new.id))
    return Edited(id=new.id, warnings=list(warnings(remarks)))


@router.get("/clients/{id}", responses={200: {"headers": _TAG}})
async def get_client(response: Response, core: CoreHere, clients: ClientsHere, client_id: ClientId) -> Client:
    """Get one client: its options with secrets masked and when a change of each acts, its faults, and how it fares."""
    found = await clients.get_client(find(core.live, client_id))
    response.headers["ETag"] = f'"{found.version}"'
    return _client(found)


@router.patch("/clients/{id}", responses=problems(412))
async def change_client(
    request: Request,
    response: Response,
    core: CoreHere,
    clients: ClientsHere,
    key: KeyHere,
    client_id: ClientId,
    change: ClientChange,
    if_match: IfMatch = None,
) -> Edited:
    """Set options and labels; every other line of the file stays as it is. A change acts when its option promises."""
    section = find(core.live, client_id)
    remarks = await clients.change_client(section, change.options, change.labels, _version(if_match), key.name)
    request.app.state.reload()
    response.headers["ETag"] = await _tag(clients, section)
    return Edited(id=section, warnings=list(warnings(remarks)))


@router.delete("/clients/{id}", status_code=204, response_class=Response, responses=problems(412))
async def delete_client(
    request: Request, core: CoreHere, clients: ClientsHere, key: KeyHere, client_id: ClientId, if_match: IfMatch = None
) -> None:
    """Take the section out of the file, with its labels and its consent; what was captured stays."""
    await clients.delete_client(find(core.live, client_id), _version(if_match), key.name)
    request.app.state.reload()


@router.post("/clients/{id}/restart", status_code=202, response_class=Response)
async def restart_client(core: CoreHere, key: KeyHere, client_id: ClientId) -> None:
    """End the client's conversation and begin it anew, with its settings as they are; within a second."""
    await commands.restart_client(core, find(core.live, client_id), key.name)


@router.post("/clients/{id}/pause", status_code=204, response_class=Response)
async def pause_client(core: CoreHere, key: KeyHere, client_id: ClientId) -> None:
    """Let the client stand still after the cycle that runs, until it is resumed; a restart of the service does not end it."""
    await commands.pause_client(core, find(core.live, client_id), key.name)


@router.post("/clients/{id}/resume", status_code=204, response_class=Response)
async def resume_client(core: CoreHere, client_id: ClientId) -> None:
    """Let the client go on. One that was not paused goes on all the same."""
    await commands.resume_client(core, find(core.live, client_id))


def _summary(kind: str, status: ClientStatus) -> Summary:
    return Summary.model_validate({"id": status.client, "kind": kind, "state": status.as_dict()})


def _client(found: Found) -> Client:
    options: Sequence[Mapping[str, object]] = [
        {"name": o.name, "value": o.value, "secret": o.secret, "effect": o.effect, "line": o.line, "shared": o.shared}
        for o in found.options
    ]
    return Client.model_validate(
        {
            "id": found.id,
            "kind": found.kind,
            "state": found.status.as_dict(),
            "options": options,
            "faults": [_remark(fault) for fault in found.faults],
        }
    )


def _remark(fault: Fault) -> dict[str, object]:
    return {
        "severity": fault.severity.value,
        "line": fault.line,
        "option": fault.option,
        "problem": fault.problem,
        "valid": fault.valid,
        "remedy": fault.remedy,
    }


async def _tag(clients: Clients, section: str) -> str:
    return f'"{(await clients.get_client(section)).version}"'


def _version(if_match: str | None) -> str | None:
    """What a conditional request names (RFC 9110 section 13.1.1); None where anything will do."""
    return None if if_match is None or if_match.strip() == "*" else if_match.strip().strip('"')
