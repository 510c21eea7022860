from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from libs.common.errors import NULL
from libs.common.identity import Principal
from libs.common.meters.outcomes import Cause
from services.edge.exchange import Exchange
from services.edge.gateway import Anonymous, Visit
from services.edge.message import Message
from services.edge.settings import Settings
from services.edge.tally import LABELLED_MAX, Tally
from tests.meters import Since
from tests.services.edge.conftest import Edge, running
from tests.services.edge.stub import StubCatalog

pytestmark = pytest.mark.anyio

CALLS = "mcp.tool.call.duration"


class AsClient(Anonymous):
    """A caller who says which client it is, and in which groups."""

    async def __call__(self, visit: Visit) -> Principal:
        groups = tuple(visit.headers.get("x-test-groups", "").split())
        return Principal(subject="ann", client=visit.headers.get("x-test-client", ""), groups=groups)


class All:
    """The surface of all servers, as far as counting looks at it."""

    server = ""


async def test_a_call_is_counted_under_its_server_and_the_servers_own_name(edge: Edge) -> None:
    since = Since()
    await edge.execute("demo__echo", text="x")
    await edge.modern("tools/call", path="/mcp/demo", name="echo", arguments={})
    assert since.told(CALLS) == {("echo", "downstream", "demo", "success", "", "", "", "", ""): 2}
    assert since.told("nexus.mcp.requests") == {("tools/call", "success"): 2}
    assert since.told("nexus.mcp.request.latency") == {("tools/call",): 2}
    assert since.told("nexus.mcp.errors") == {}


async def test_a_search_tells_how_many_keywords_and_hits(edge: Edge) -> None:
    since = Since()
    await edge.modern("tools/call", name="search", arguments={"keywords": ["echo", "slow"]})
    await edge.modern("tools/call", name="search", arguments={"keywords": ["x"] * 25})
    assert since.told(CALLS) == {
        ("search", "builtin", "", "success", "", "2", "2", "", ""): 1,
        ("search", "builtin", "", "success", "", "10", "0", "", ""): 1,
    }


@pytest.mark.parametrize(
    ("tool", "error", "origin"),
    [
        ("down", "server_unavailable", "server"),
        ("often", "rate_limit_exceeded", "client"),
        ("rare", "rate_limit_exceeded", "client"),
        ("lost", "bus_unavailable", "gateway"),
        ("denied", "server_error", "server"),
        ("nomethod", "method_not_found", "client"),
        ("boom", "internal_error", "gateway"),
    ],
)
async def test_an_error_is_counted_under_its_type(edge: Edge, tool: str, error: str, origin: str) -> None:
    since = Since()
    await edge.execute(f"demo__{tool}")
    assert since.told("nexus.mcp.requests") == {("tools/call", "error"): 1}
    assert since.told("nexus.mcp.errors") == {("tools/call", error, origin): 1}
    assert since.told(CALLS) == {("other", "downstream", "", "error", error, "", "", "", ""): 1}


async def test_f8_names_that_nobody_has_add_one_series(edge: Edge) -> None:
    async def guess(number: int) -> None:
        await edge.execute(f"demo__guess{number}")
        await edge.modern("tools/call", path="/mcp/demo", name=f"guess{number}")
        await edge.modern("tools/call", path=f"/mcp/server{number}", name="echo")

    await guess(-1)
    since = Since()
    async with asyncio.TaskGroup() as tasks:
        for number in range(100):
            tasks.create_task(guess(number))
    assert since.series() == 0


async def test_f8_ten_thousand_names_add_one_series() -> None:
    tally = Tally(StubCatalog(), Settings(version="1"))
    exchange = Exchange("POST", receive=None, answer=None, surface=All(), headers={})  # type: ignore[arg-type]
    since = Since()
    for number in range(10_000):
        arguments = {"name": f"made__up{number}", "arguments": {}}
        message = Message("request", "tools/call", NULL, {"name": "execute", "arguments": arguments}, {})
        tally.count(exchange, message, 0.01, Cause())
    assert since.told(CALLS) == {("other", "downstream", "", "success", "", "", "", "", ""): 10_000}


@pytest.mark.parametrize(
    ("method", "params", "family", "name"),
    [
        ("tools/list", {}, "mcp.tools.list.duration", "list_tools"),
        ("prompts/list", {}, "mcp.prompt.request.duration", "list_prompts"),
        ("resources/list", {}, "mcp.resource.request.duration", "list_resources"),
        ("resources/templates/list", {}, "mcp.resource.request.duration", "list_resource_templates"),
    ],
)
async def test_lists_are_timed_by_what_they_list(
    edge: Edge, method: str, params: dict[str, Any], family: str, name: str
) -> None:
    since = Since()
    await edge.modern(method, **params)
    await edge.legacy(await edge.session(), method)
    assert since.told(family) == {(name, "success", "", "", ""): 2}
    assert since.told("nexus.mcp.requests") == {(method, "success"): 2, ("initialize", "success"): 1}


async def test_methods_that_mcp_does_not_have_share_one_label(edge: Edge) -> None:
    since = Since()
    for number in range(5):
        await edge.modern(f"made/up{number}")
    assert since.told("nexus.mcp.errors") == {("other", "method_not_found", "client"): 5}


async def test_a_client_that_leaves_is_counted_as_cancelled(edge: Edge) -> None:
    since = Since()
    call = asyncio.create_task(edge.execute("demo__slow"))
    with anyio.fail_after(5):
        await edge.gateway.started.wait()
        call.cancel()
        await edge.gateway.ended.wait()
        while not since.told("nexus.mcp.errors"):
            await anyio.sleep(0.01)
    assert since.told("nexus.mcp.errors") == {("tools/call", "cancelled", "client"): 1}
    assert edge.gateway.cancelled


async def test_clients_are_labels_only_where_they_are_configured_and_only_so_many() -> None:
    client = {"x-test-client": "ide", "x-test-groups": "dev ops"}
    async with running(identify=AsClient()) as edge:
        edge.http.headers.update(client)
        since = Since()
        await edge.execute("demo__echo")
        assert {labels[-2:] for labels in since.told(CALLS)} == {("", "")}
    async with running(identify=AsClient(), identified=True, groups=frozenset({"ops"})) as edge:
        edge.http.headers.update(client)
        since = Since()
        await edge.execute("demo__echo")
        assert {labels[-2:] for labels in since.told(CALLS)} == {("ide", "ops")}
        for number in range(LABELLED_MAX + 20):
            edge.http.headers["x-test-client"] = f"client{number}"
            await edge.execute("demo__echo")
    assert len(since.told(CALLS)) == LABELLED_MAX + 1
    assert since.told(CALLS)["echo", "downstream", "demo", "success", "", "", "", "other", "ops"] == 21
