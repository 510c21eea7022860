"""What a client of older revisions began at one edge goes on at another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest
from mcp import ClientSession
from mcp.client.sse import sse_client

from tests.broker import free_port
from tests.conformance.proxy import Proxy
from tests.system.parts import witness
from tests.system.replicas import Replicas
from tests.system.wire import Message, answered, begin, called, http, text, verdict

pytestmark = [pytest.mark.anyio, pytest.mark.system]


@pytest.fixture(scope="module")
async def replicas(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replicas]:
    async with Replicas(tmp_path_factory.mktemp("replicas"), peer=witness()) as replicas:
        yield replicas


async def test_a_session_that_was_ended_is_unknown_at_the_other_edge_at_once(replicas: Replicas) -> None:
    async with http() as client:
        for number in range(100):
            here, there = number % 2, 1 - number % 2
            headers = await begin(client, replicas.url(here))
            assert (await client.delete(replicas.url(here), headers=headers)).status_code == 204
            after = await client.post(replicas.url(there), json=called(1, "peer__echo"), headers=headers)
            assert after.status_code == 404, number


def stepping(number: int, until: Path, count: int = 3) -> Message:
    """A call that tells of its steps and is answered once `until` exists."""
    message = called(number, "peer__steps", {"count": count, "until": str(until)})
    message["params"]["_meta"] = {"progressToken": "t"}
    return message


async def leave(url: str, headers: dict[str, str], message: Message, events: int) -> str:
    """Hang up after so many events of a call; the id of the last."""
    ids: list[str] = []
    with anyio.fail_after(10):
        async with http() as client, client.stream("POST", url, json=message, headers=headers) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("id: "):
                    ids.append(line.removeprefix("id: "))
                if not line and len(ids) == events:
                    return ids[-1]
    pytest.fail(f"the stream ended early: {ids}")


async def come_back(url: str, headers: dict[str, str], last: str) -> httpx.Response:
    async with http() as client:
        return await client.get(url, headers={**headers, "Last-Event-ID": last})


async def test_a_call_that_was_left_is_answered_at_the_other_edge(replicas: Replicas, tmp_path: Path) -> None:
    async with http() as client:
        headers = await begin(client, replicas.url(0))
    last = await leave(replicas.url(0), headers, stepping(7, tmp_path / "go"), 2)
    (tmp_path / "go").touch()
    with anyio.fail_after(10):
        response = await come_back(replicas.url(1), headers, last)
    assert response.text.count("notifications/progress") == 2
    assert answered(response)["id"] == 7


async def test_a_call_whose_edge_was_killed_ends_with_a_verdict_at_the_other(tmp_path: Path) -> None:
    async with Replicas(tmp_path, peer=witness()) as replicas:
        async with http() as client:
            headers = await begin(client, replicas.url(0))
        last = await leave(replicas.url(0), headers, stepping(7, tmp_path / "go"), 3)
        # What had been told is kept by the time that a client at the other edge has read it.
        async with (
            http() as client,
            client.stream("GET", replicas.url(1), headers={**headers, "Last-Event-ID": last}) as answer,
        ):
            lines = answer.aiter_lines()
            assert '"progress":3' in await anext(line async for line in lines if "data: " in line)
            replicas.edges[0].kill()
            await anyio.to_thread.run_sync(replicas.edges[0].wait)
            with anyio.fail_after(10):
                rest = [line async for line in lines]
        assert verdict(answered(answer_of(rest))) == "unknown"
        with anyio.fail_after(10):
            whole = await come_back(replicas.url(1), headers, last.rpartition("-")[0] + "-0")
        assert whole.text.count("notifications/progress") == 3
        assert verdict(answered(whole)) == "unknown"


def answer_of(lines: list[str]) -> httpx.Response:
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, text="\n".join(lines))


async def test_the_older_transport_works_behind_a_balancer_without_memory(replicas: Replicas) -> None:
    port = free_port()
    with anyio.fail_after(30):
        async with (
            Proxy(replicas.ports, port) as proxy,
            sse_client(f"http://127.0.0.1:{port}/mcp/sse") as (read, write),
            ClientSession(read, write) as client,
        ):
            await client.initialize()
            for number in range(10):
                result = await client.call_tool("execute", {"name": "peer__echo", "arguments": {"n": number}})
                assert f'"n": {number}' in str(result.content)
            assert min(proxy.served.values()) >= 5


async def test_a_batch_is_answered_at_every_edge(replicas: Replicas) -> None:
    async with http() as client:
        headers = await begin(client, replicas.url(0), "2025-03-26")
        for edge in (0, 1):
            batch = [called(1, "peer__echo", {"n": 1}), called(2, "peer__echo", {"n": 2})]
            response = await client.post(replicas.url(edge), json=batch, headers=headers)
            assert {each["id"]: text(each) for each in response.json()} == {1: '{"n": 1}', 2: '{"n": 2}'}
