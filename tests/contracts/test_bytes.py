"""Replicas of two versions run side by side: what one wrote, the other must read."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from libs.common.codec import decoder, encode
from libs.common.facts import FACTS as KINDS
from libs.common.messages import calls, catalog, edges, metrics, routers, search, streams
from tests.contracts.examples import FACTS, MESSAGES, STATE

V1 = Path(__file__).parent / "v1"
STRUCTS = {**MESSAGES, **STATE}
PARTS = {"Client", "Hit", "Why", "Held", "Hint"}
"""Structs that only travel inside others."""


def stored(name: str) -> bytes:
    return (V1 / f"{name}.json").read_bytes().rstrip(b"\n")


def grown(text: bytes) -> bytes:
    """`text` as a later version may write it: with one field more, in the parts that are ours as well."""
    for part in (b'"principal":', b'"client":', b'"error":', b'"hits":[', b'"why":', b'"servers":{"git":'):
        text = text.replace(part + b"{", part + b'{"later":null,')
    return b'{"later":{"added":[1]},' + text[1:]


def structs(*modules: ModuleType) -> set[str]:
    return {
        name
        for module in modules
        for name, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, msgspec.Struct) and kind.__module__ == module.__name__
    }


@pytest.mark.parametrize("name", STRUCTS)
def test_the_bytes_of_version_1_still_decode_to_the_same_value(name: str) -> None:
    kind, value = STRUCTS[name]
    assert decoder(kind).decode(stored(name)) == value


@pytest.mark.parametrize("name", STRUCTS)
def test_what_is_written_today_is_what_version_1_wrote(name: str) -> None:
    assert encode(STRUCTS[name][1]) == stored(name)


@pytest.mark.parametrize("name", STRUCTS)
def test_the_stored_bytes_show_every_field(name: str) -> None:
    value = STRUCTS[name][1]
    config = type(value).__struct_config__
    expected = set(value.__struct_encode_fields__) | ({config.tag_field} - {None})
    assert set(json.loads(stored(name))) == expected


@pytest.mark.parametrize("name", STRUCTS)
def test_fields_of_a_later_version_are_skipped(name: str) -> None:
    kind, value = STRUCTS[name]
    assert decoder(kind).decode(grown(stored(name))) == value


@pytest.mark.parametrize("name", FACTS)
def test_a_stored_fact_still_reads_and_is_still_written_alike(name: str) -> None:
    fact = FACTS[name]
    assert type(fact).model_validate_json(stored(name)) == fact
    assert json.loads(fact.model_dump_json()) == json.loads(stored(name))
    assert set(json.loads(stored(name))) == set(type(fact).model_fields)


@pytest.mark.parametrize("name", FACTS)
def test_a_fact_of_a_later_version_is_read(name: str) -> None:
    later = json.dumps({"later": {"added": [1]}, **json.loads(stored(name))})
    assert type(FACTS[name]).model_validate_json(later) == FACTS[name]


def test_every_message_and_every_fact_has_its_stored_bytes() -> None:
    assert structs(calls, catalog, edges, metrics, routers, search, streams) - PARTS <= set(STRUCTS)
    assert {kind.__name__ for kind in KINDS} == set(FACTS)
    assert {path.stem for path in V1.glob("*.json")} == {*STRUCTS, *FACTS, "subjects"}


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        (calls.Request, {"t": "execute", "name": "a__b", "deadline": 1}),
        (calls.Request, {"t": "call", "server": "a", "method": "ping", "deadline": 1}),
        (calls.Request, {"t": "notify", "server": "a", "method": "x", "deadline": 1}),
        (calls.Request, {"t": "search", "deadline": 1}),
        (calls.Query, {"t": "resolve", "name": "a__b", "deadline": 1}),
        (calls.Call, {"t": "call", "server": "a", "method": "ping", "deadline": 1}),
        (calls.CancelCall, {"t": "cancel", "call": "1"}),
        (calls.CancelRequest, {"session": "1", "request": 1}),
        (calls.Frame, {"t": "failed", "error": {"code": 1, "message": "no"}}),
        (routers.RouterAlive, {"router": "r1"}),
        (metrics.MetricsTold, {"process": "p", "service": "edge", "worker": "e1"}),
        (search.ToolsFound, {}),
        (catalog.Listing, {"server": "a", "digest": "1"}),
        (catalog.Worker, {"worker": "w1", "servers": {"a": {"state": "ready", "since": 1}}}),
    ],
)
def test_a_message_needs_no_more_than_version_1_needed(kind: Any, least: dict[str, Any]) -> None:
    assert encode(decoder(kind).decode(encode(least)))
