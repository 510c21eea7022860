"""The two endpoints of MCP 2024-11-05."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from mcp import ClientSession
from mcp.client.sse import sse_client

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.codec import decode
from libs.common.fleet import Fleet
from libs.common.identity import Principal
from libs.common.messages.calls import CallServer
from libs.common.rpc import Client as Rpc
from services.edge import lines
from services.edge.dispatch import Dispatch
from services.edge.gateway import Anonymous, Visit
from services.edge.holding import holding
from services.edge.journal import Journals
from services.edge.lines import Lines
from tests.broker import Broker
from tests.services.edge.conftest import Edge, connect, running

pytestmark = pytest.mark.anyio

PATH = "/mcp/demo"
JSON = {"content-type": "application/json"}
INFO = {"name": "old", "version": "1"}
HELLO: dict[str, Any] = {"protocolVersion": "2024-11-05", "capabilities": {"roots": {}}, "clientInfo": INFO}


@dataclass
class Stream:
    """One open stream, and the address it told."""

    address: str
    http: httpx.AsyncClient
    lines: AsyncIterator[str]

    async def say(
        self, method: str, number: Any = None, at: httpx.AsyncClient | None = None, **params: Any
    ) -> int:
        body = {"jsonrpc": "2.0", "method": method, "params": params}
        if number is not None:
            body["id"] = number
        return (await (at or self.http).post(self.address, json=body)).status_code

    async def hear(self) -> Any:
        """The next message on the stream."""
        async for line in self.lines:
            if line.startswith("data: "):
                return json.loads(line.removeprefix("data: "))
        pytest.fail("the stream has ended")

    async def initialize(self) -> Any:
        assert await self.say("initialize", 0, **HELLO) == 202
        answer = await self.hear()
        assert await self.say("notifications/initialized") == 202
        return answer


@asynccontextmanager
async def opened(edge: Edge, path: str = PATH) -> AsyncIterator[Stream]:
    with anyio.fail_after(20):
        async with (
            connect(edge.url) as http,
            http.stream("GET", f"{path}/sse", headers={"accept": "text/event-stream"}) as answer,
        ):
            assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
            lines = answer.aiter_lines()
            assert await anext(lines) == "event: endpoint"
            address = (await anext(lines)).removeprefix("data: ")
            yield Stream(address, http, lines)


async def until(true: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not true():
            await anyio.sleep(0.005)


@pytest.mark.parametrize("path", ["/mcp", PATH])
async def test_the_first_event_is_an_address_of_the_same_origin(edge: Edge, path: str) -> None:
    async with opened(edge, path) as stream:
        parts = urlsplit(stream.address)
        assert (parts.scheme, parts.netloc, parts.path) == ("", "", f"{path}/messages")


async def test_answers_arrive_on_the_stream(edge: Edge) -> None:
    async with opened(edge) as stream:
        hello = await stream.initialize()
        assert hello["id"] == 0
        assert hello["result"]["protocolVersion"] == "2024-11-05"
        assert (await stream.hear())["method"] == "notifications/tools/list_changed"
        assert await stream.say("tools/call", "a", name="echo", arguments={"x": 1}) == 202
        answer = await stream.hear()
        assert (answer["id"], answer["result"]["content"][0]["text"]) == ("a", "demo__echo {'x': 1}")


async def test_progress_and_cancelling_work_as_on_any_transport(edge: Edge) -> None:
    async with opened(edge, "/mcp") as stream:
        await stream.initialize()
        arguments = {"name": "demo__events", "arguments": {}}
        await stream.say("tools/call", 5, name="execute", arguments=arguments, _meta={"progressToken": "t"})
        while (await stream.hear()).get("params", {}).get("progress") != 2:
            pass
        assert await stream.say("notifications/cancelled", requestId=5) == 202
        await until(lambda: edge.gateway.cancelled)


async def test_a_client_is_asked_on_the_stream_and_answers_by_posting(edge: Edge) -> None:
    async with opened(edge) as stream:
        hello = {**HELLO, "protocolVersion": "2025-06-18", "capabilities": {"roots": {}, "elicitation": {}}}
        await stream.say("initialize", 0, **hello)
        await stream.hear()
        await stream.say("tools/call", 1, name="asks", arguments={})
        for _ in range(2):
            question = await stream.hear()
            reply = {"jsonrpc": "2.0", "id": question["id"], "result": {"said": question["method"]}}
            assert (await stream.http.post(stream.address, json=reply)).status_code == 202
        final = await stream.hear()
        assert "elicitation/create" in final["result"]["content"][0]["text"]


async def test_what_goes_wrong_is_told_on_the_stream(edge: Edge) -> None:
    async with opened(edge) as stream:
        await stream.say("tools/list", 1)
        assert "initialize first" in (await stream.hear())["error"]["message"]
        await stream.say("initialize", 2)
        assert (await stream.hear())["error"]["code"] == -32602
        await stream.say("initialize", 3, **HELLO)
        assert "result" in await stream.hear()
        await stream.say("initialize", 4, **HELLO)
        assert "already" in (await stream.hear())["error"]["message"]


async def test_an_address_is_good_for_its_principal_and_path_and_life_alone(edge: Edge) -> None:
    async with opened(edge) as stream:
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        address, elsewhere = stream.address, stream.address.replace("/mcp/demo/", "/mcp/")
        for url, user in ((elsewhere, "anonymous"), (address, "bob"), (address[:-1], "anonymous")):
            answer = await edge.http.post(url, json=body, headers={"x-test-user": user})
            assert answer.status_code == 404
        assert (await edge.http.post(f"{PATH}/messages", json=body)).status_code == 404
    with anyio.fail_after(10):
        while (await edge.http.post(address, json=body)).status_code != 404:
            await anyio.sleep(0.01)


@pytest.mark.parametrize(("body", "status"), [
    (b"[]", 400), (b"{}", 400), (b"nonsense", 400), (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', 400),
])  # fmt: skip
async def test_what_is_no_message_is_refused_at_once(edge: Edge, body: bytes, status: int) -> None:
    async with opened(edge) as stream:
        assert (await stream.http.post(stream.address, content=body, headers=JSON)).status_code == status


async def test_each_address_takes_its_own_verb(edge: Edge) -> None:
    async with opened(edge) as stream:
        assert (await edge.http.get(stream.address)).status_code == 405
        assert (await edge.http.post("/mcp/sse", json={})).status_code == 405
        assert (await edge.http.get("/mcp/sse", headers={"accept": "application/json"})).status_code == 406


async def test_losing_the_stream_cancels_nothing(edge: Edge) -> None:
    async with opened(edge) as stream:
        await stream.initialize()
        await stream.say("tools/call", 1, name="slow", arguments={})
        await edge.gateway.started.wait()
        await until(lambda: edge.gateway.running >= 2)
    await until(lambda: edge.gateway.running == 1)
    assert len(edge.flights) == 1
    edge.gateway.release.set()
    await until(lambda: len(edge.flights) == 0)


async def test_a_session_with_too_much_to_do_is_told_so(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "WORK_MAX", 1)
    async with opened(edge, "/mcp") as stream:
        await stream.say("initialize", 0, **HELLO)
        await stream.hear()
        arguments = {"name": "demo__slow", "arguments": {}}
        await until(lambda: True)
        assert await stream.say("tools/call", 1, name="execute", arguments=arguments) == 202
        assert await stream.say("ping", 2) == 503


async def test_streams_are_bounded_and_idle_ones_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LINES_MAX", 1)
    monkeypatch.setattr(lines, "IDLE", 0.05)
    async with running() as edge, opened(edge) as stream:
        refused = await edge.http.get("/mcp/sse", headers={"accept": "text/event-stream"})
        assert refused.status_code == 503
        assert [line async for line in stream.lines if line] == []


async def test_a_drain_ends_streams_when_their_calls_are_done(edge: Edge) -> None:
    async with opened(edge, "/mcp") as stream:
        await stream.initialize()
        await stream.say("tools/call", 1, name="execute", arguments={"name": "demo__slow", "arguments": {}})
        await edge.gateway.started.wait()
        edge.standing.close()
        edge.gateway.release.set()
        while (await stream.hear()).get("id") != 1:
            pass
        assert [line async for line in stream.lines if line] == []


@pytest.mark.parametrize(("said", "status"), [(b"1", 202), (b"0", 404), (b"", 404), (b"2", 503), (None, 503)])
async def test_a_message_for_another_replica_is_brought_there(said: bytes | None, status: int) -> None:
    async with running(lines=Lines("far")) as far, running() as near, opened(far) as stream:
        near.gateway.taken = said
        assert await stream.say("ping", 1, at=near.http) == status
        ((replica, posted),) = near.gateway.posted
        assert (replica, decode(posted.message)["method"]) == ("far", "ping")


async def test_messages_reach_the_stream_of_another_replica_over_the_bus(broker: Broker, other: Bus) -> None:
    far = Bus(broker.url, "edge")
    near = Bus(broker.url, "edge")
    await far.connect()
    await near.connect()
    held = Lines(far.client)
    try:
        async with Rpc(near) as client, running(lines=held) as edge, opened(edge) as stream:
            await far.subscribe(subjects.held(far.client), holding(Journals(far), held))
            await far.settled()
            async with running() as elsewhere:
                dispatch = Dispatch(near, client, Fleet([]))
                elsewhere.gateway.post_elsewhere = dispatch.post_elsewhere  # type: ignore[method-assign]  # the way
                assert await stream.say("initialize", 0, elsewhere.http, **HELLO) == 202
                assert (await stream.hear())["id"] == 0
                await far.close()
                with anyio.fail_after(10):
                    # The broker learns of the end when it reads it, and then says that nobody is there.
                    while await near.ask(subjects.held(far.client), b"", 0.5) != b"":
                        pass
                assert await stream.say("ping", 1, elsewhere.http) == 404
    finally:
        await far.close()
        await near.close()


async def test_the_client_of_the_sdk_speaks_it(edge: Edge) -> None:
    with anyio.fail_after(20):
        async with sse_client(f"{edge.url}/mcp/sse") as (read, write), ClientSession(read, write) as client:
            await client.initialize()
            assert {tool.name for tool in (await client.list_tools()).tools} == {"search", "execute"}
            result = await client.call_tool("execute", {"name": "demo__echo", "arguments": {"x": 1}})
    assert "demo__echo" in str(result.content)


class ByGroup(Anonymous):
    """One user, whose groups change with what is sent."""

    async def __call__(self, visit: Visit) -> Principal:
        return Principal("ann", groups=tuple(visit.headers.get("x-test-groups", "admins").split()))


async def test_a_message_may_do_what_its_own_credentials_say() -> None:
    async with running(identify=ByGroup()) as edge, opened(edge) as stream, connect(edge.url) as less:
        await stream.initialize()
        less.headers["x-test-groups"] = "guests"
        assert await stream.say("tools/call", 1, less, name="echo", arguments={}) == 202
        while (await stream.hear()).get("id") != 1:
            pass
    call = next(
        each for each in edge.gateway.seen if isinstance(each, CallServer) and each.method == "tools/call"
    )
    assert call.principal.groups == ("guests",)
