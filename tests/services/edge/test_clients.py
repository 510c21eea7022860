"""The SDK's own client against the edge, in both eras."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest
from mcp import Client
from mcp_types import TextContent

from tests.services.edge.conftest import Edge

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["legacy", "2026-07-28", "auto"])
async def client(request: pytest.FixtureRequest, edge: Edge) -> AsyncIterator[Client]:
    with anyio.fail_after(20):
        async with Client(f"{edge.url}/mcp", mode=request.param) as client:
            yield client


async def test_the_client_lists_searches_and_executes(client: Client, edge: Edge) -> None:
    listed = await client.list_tools()
    assert [tool.name for tool in listed.tools] == ["search", "execute"]
    found = await client.call_tool("search", {"query": "echo"})
    assert found.structured_content is not None
    name = found.structured_content["results"][0]["name"]
    result = await client.call_tool("execute", {"name": name, "arguments": {"text": "hi"}})
    (item,) = result.content
    assert isinstance(item, TextContent)
    assert item.text == "demo__echo {'text': 'hi'}"


async def test_the_client_sees_progress_in_order(client: Client, edge: Edge) -> None:
    edge.gateway.release.set()
    seen: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    await client.call_tool("execute", {"name": "demo__events", "arguments": {}}, progress_callback=note)
    assert seen == [1, 2]


async def test_a_call_the_client_abandons_is_cancelled_downstream(client: Client, edge: Edge) -> None:
    with anyio.move_on_after(30) as scope:
        async with anyio.create_task_group() as group:

            async def abandon() -> None:
                await edge.gateway.started.wait()
                scope.cancel()

            group.start_soon(abandon)
            await client.call_tool("execute", {"name": "demo__slow", "arguments": {}})
    with anyio.fail_after(5):
        await edge.gateway.ended.wait()
    assert edge.gateway.cancelled


async def test_the_client_reaches_one_server_by_its_own_names(edge: Edge) -> None:
    for mode in ("legacy", "2026-07-28"):
        with anyio.fail_after(20):
            async with Client(f"{edge.url}/mcp/demo", mode=mode) as client:
                assert [tool.name for tool in (await client.list_tools()).tools] == ["echo", "slow"]
                result = await client.call_tool("echo", {"a": 1})
                assert isinstance(result.content[0], TextContent)
                assert result.content[0].text == "demo__echo {'a': 1}"
