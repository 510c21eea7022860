"""What is told outside of any call: changed lists, changed resources, and the client's changed roots."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from tests.bridges.clients import Caller, until
from tests.bridges.conftest import Bridge
from tests.bridges.matrix import Cell, proves
from tests.system.wire import Message

pytestmark = pytest.mark.anyio

TOOLS = "notifications/tools/list_changed"
UPDATED = "notifications/resources/updated"
ROOTS = "notifications/roots/list_changed"
WATCHED = "test://watched-resource"


async def heard(
    caller: Caller, news: AsyncIterator[Message], method: str, tool: str, **arguments: str
) -> Message:
    """The notification that the tool leads to.

    With a session nothing tells that the stream stands, so the tool is called until something comes.
    """
    found: list[Message] = []

    async def listen(scope: anyio.CancelScope) -> None:
        found.append(await until(news, method, 20))
        scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(listen, group.cancel_scope)
        while True:
            await caller.call(tool, **arguments)
            await anyio.sleep(0.1)
    return found[0]


@proves("list changed")
async def test_a_client_hears_that_the_tools_have_changed(bridge: Bridge, cell: Cell) -> None:
    listener, other = await bridge.client(cell), await bridge.client(cell)
    async with listener.news() as news:
        message = await heard(other, news, TOOLS, "test_trigger_tool_change")
    tagged = "io.modelcontextprotocol/subscriptionId" in message.get("params", {}).get("_meta", {})
    assert tagged == cell.modern


@proves("resource updated")
async def test_a_client_hears_of_the_resource_that_it_follows(bridge: Bridge, cell: Cell) -> None:
    listener, other = await bridge.client(cell), await bridge.client(cell)
    async with listener.news(WATCHED) as news:
        message = await heard(other, news, UPDATED, "probe_update", uri=WATCHED)
    assert message["params"]["uri"] == WATCHED


@proves("resource updated")
async def test_a_client_hears_of_no_resource_that_it_does_not_follow(bridge: Bridge, cell: Cell) -> None:
    """Another client follows it, so that the gateway hears of it and has to tell them apart."""
    follower, listener, other = [await bridge.client(cell) for _ in range(3)]
    got: list[Message] = []

    async def collect(news: AsyncIterator[Message]) -> None:
        while True:
            got.append(await anext(news))

    async with follower.news(WATCHED) as followed, listener.news() as news:
        await heard(other, news, TOOLS, "test_trigger_tool_change")
        async with anyio.create_task_group() as group:
            group.start_soon(collect, news)
            await heard(other, followed, UPDATED, "probe_update", uri=WATCHED)
            group.cancel_scope.cancel()
    assert UPDATED not in [message["method"] for message in got]


@proves("roots changed", cells="M?-*")
async def test_a_modern_client_has_no_roots_to_tell_of(bridge: Bridge, cell: Cell) -> None:
    """Its revision has no such notification: it is taken and dropped."""
    client = await bridge.client(cell)
    before = (await client.call("probe_notified", method=ROOTS)).said
    assert (await client.notify(ROOTS)).status_code == 202
    assert (await client.call("probe_notified", method=ROOTS)).said == before


@proves("roots changed", cells="LM-*")
async def test_a_modern_server_is_not_told_of_changed_roots(bridge: Bridge, cell: Cell) -> None:
    """It asks for them when it needs them."""
    client = await bridge.client(cell, roots={"listChanged": True})
    assert (await client.notify(ROOTS)).status_code == 202
    assert (await client.call("probe_notified", method=ROOTS)).said == 0


@proves("roots changed", cells="LL-*")
async def test_a_legacy_server_is_told_of_changed_roots(bridge: Bridge, cell: Cell) -> None:
    client = await bridge.client(cell, roots={"listChanged": True})
    before = (await client.call("probe_notified", method=ROOTS)).said
    assert (await client.notify(ROOTS)).status_code == 202
    assert (await client.call("probe_notified", method=ROOTS, times=before + 1)).said > before
