"""Every event and metric is declared once, used somewhere, and told of with the declared fields."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import postroom
from fakes import Recorder
from postroom import events
from postroom.events import EVENTS, METRICS, Event, Metric

SOURCE = Path(postroom.__file__).parent
DECLARED = {name: value for name, value in vars(events).items() if isinstance(value, Event | Metric)}


class Call:
    """One place in the source that tells of something."""

    def __init__(self, place: str, verb: str, names: list[str], fields: set[str]) -> None:
        self.place = place
        self.verb = verb
        self.names = names  # which events, where a condition chooses between two
        self.fields = fields


def _names(node: ast.expr, local: dict[str, ast.expr]) -> list[str]:
    """The declarations that an expression may stand for."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "events":
        return [node.attr]
    if isinstance(node, ast.IfExp):
        return _names(node.body, local) + _names(node.orelse, local)
    if isinstance(node, ast.Name) and node.id in local:
        return _names(local[node.id], local)
    return []


def _calls(path: Path) -> Iterator[Call]:
    tree = ast.parse(path.read_text("utf-8"))
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        local = {
            target.id: node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(function):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
                continue
            verb = node.func.attr
            if verb.lstrip("_") not in ("event", "count", "gauge") or not (names := _names(node.args[0], local)):
                continue
            fields = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
            if verb == "_event":  # FolderCycle adds where it is
                fields |= {"client", "folder"}
            yield Call(f"{path.relative_to(SOURCE)}:{node.lineno}", verb.lstrip("_"), names, fields - {"amount", "value"})


CALLS = [call for path in sorted(SOURCE.rglob("*.py")) for call in _calls(path)]


def test_there_are_places_that_tell() -> None:
    assert len(CALLS) > 20


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.place)
def test_what_is_told_is_what_was_declared(call: Call) -> None:
    for name in call.names:
        declared = DECLARED[name]
        if isinstance(declared, Event):
            assert call.verb == "event"
            assert call.fields == set(declared.fields)
        else:
            assert call.verb == {"counter": "count", "gauge": "gauge"}[declared.kind]
            assert call.fields == set(declared.labels)


@pytest.mark.parametrize("name", DECLARED)
def test_every_declaration_is_used(name: str) -> None:
    used = re.compile(rf"\b{name}\b")
    places = [path for path in SOURCE.rglob("*.py") if path.name != "events.py" and used.search(path.read_text("utf-8"))]
    assert places


def test_names_are_unique() -> None:
    names = [event.name for event in EVENTS] + [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    assert len(EVENTS) + len(METRICS) == len(DECLARED)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_events_are_well_formed(event: Event) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", event.name)
    assert event.level in ("debug", "info", "warning", "error")
    assert event.sentence.endswith(".")
    assert len(set(event.fields)) == len(event.fields)
    assert DECLARED[event.name.upper()] is event


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_metrics_are_named_as_prometheus_wants_them(metric: Metric) -> None:
    assert re.fullmatch(r"postroom_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.kind in ("counter", "gauge")
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.sentence.endswith(".")


def test_the_recorder_is_strict() -> None:
    recorder = Recorder()
    recorder.event(events.STOPPED)
    recorder.count(events.CYCLES_TOTAL, client="a", outcome="read")
    with pytest.raises(AssertionError, match="stopped"):
        recorder.event(events.STOPPED, why="no reason")
    with pytest.raises(AssertionError, match="cycles"):
        recorder.count(events.CYCLES_TOTAL, client="a")
    with pytest.raises(AssertionError, match="gauge"):
        recorder.count(events.WORKING, client="a")
    assert recorder.names() == ["stopped"]
    assert recorder.counted(events.CYCLES_TOTAL, client="a", outcome="read") == 1
