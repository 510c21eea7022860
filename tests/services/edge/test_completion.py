"""Completion through the aggregate."""

from __future__ import annotations

from typing import Any

import pytest

from libs.common.codec import decode
from libs.common.messages.calls import CallServer
from tests.services.edge.conftest import Edge
from tests.services.edge.shelves import server

pytestmark = pytest.mark.anyio

ARGUMENT = {"name": "who", "value": "c"}


@pytest.fixture(autouse=True)
def shelves(edge: Edge) -> None:
    edge.catalog.list(server("ark", prompts=("two",), templates=("file:///{name}",)))
    edge.catalog.list(server("zoo", prompts=("two",), templates=("file:///{name}",)))


async def complete(edge: Edge, ref: Any) -> Any:
    context = {"arguments": {"a": "b"}}
    return (await edge.modern("completion/complete", ref=ref, argument=ARGUMENT, context=context)).json()


@pytest.mark.parametrize(
    ("ref", "reached", "own"),
    [
        ({"name": "zoo__two", "title": "T"}, "zoo", {"name": "two", "title": "T"}),
        ({"uri": "file:///{name}"}, "ark", {"uri": "file:///{name}"}),
        ({"uri": "zoo+file:///{name}"}, "zoo", {"uri": "file:///{name}"}),
        ({"uri": "zoo+file:///x"}, "zoo", {"uri": "file:///x"}),
    ],
)
async def test_a_reference_is_completed_by_its_server_under_its_own_name(
    edge: Edge, ref: dict[str, str], reached: str, own: dict[str, str]
) -> None:
    kind = "ref/prompt" if "name" in ref else "ref/resource"
    await complete(edge, {"type": kind, **ref})
    (sent,) = edge.gateway.seen
    assert isinstance(sent, CallServer)
    assert (sent.server, sent.method) == (reached, "completion/complete")
    assert decode(sent.params) == {
        "ref": {"type": kind, **own},
        "argument": ARGUMENT,
        "context": {"arguments": {"a": "b"}},
    }


async def test_a_server_that_completes_nothing_is_not_asked(edge: Edge) -> None:
    edge.catalog.list(server("ark", prompts=("two",), capabilities={"prompts": {}}))
    result = (await complete(edge, {"type": "ref/prompt", "name": "ark__two"}))["result"]
    assert result["completion"] == {"values": [], "total": 0, "hasMore": False}
    assert edge.gateway.seen == []


@pytest.mark.parametrize(
    "ref",
    [
        None,
        "ark__two",
        {},
        {"type": "ref/prompt"},
        {"type": "ref/prompt", "name": "two"},
        {"type": "ref/prompt", "name": 5},
        {"type": "ref/resource", "uri": 5},
        {"type": "ref/tool", "name": "ark__two"},
        {"type": "ref/resource", "uri": "odd:1"},
    ],
)
async def test_an_odd_or_unknown_reference_is_refused(edge: Edge, ref: Any) -> None:
    assert (await complete(edge, ref))["error"]["code"] == -32602
    assert edge.gateway.seen == []
