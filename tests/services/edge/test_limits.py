"""What clients see of limits, and the one that an edge keeps itself."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest

from libs.common.errors import TooManyRequests
from libs.common.identity import Principal
from libs.common.messages.calls import CallServer, ExecuteTool
from services.edge.crowded import Crowded
from tests.services.edge.conftest import Edge, running
from tests.services.edge.stub import StubGateway

pytestmark = pytest.mark.anyio

ANN, BOB = (Principal(name, "i", tier="authenticated") for name in ("ann", "bob"))
FIELDS = ("retry-after", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "ratelimit-policy")


async def test_l10_a_limit_of_the_caller_is_429_with_the_time_to_wait(edge: Edge) -> None:
    headers = await edge.session()
    arguments: dict[str, Any] = {"name": "execute", "arguments": {"name": "demo__often", "arguments": {}}}
    for answer in (await edge.execute("demo__often"), await edge.legacy(headers, "tools/call", **arguments)):
        assert answer.status_code == 429
        assert [answer.headers.get(field) for field in FIELDS] == ["13", "10", "0", "13", "10;w=60"]
        error = answer.json()["error"]
        assert (error["code"], error["message"]) == (-31007, "rate limit exceeded")
        assert error["data"] == {
            "scope": "user",
            "limit": 10,
            "interval_ms": 60_000,
            "retry_after_ms": 12_001,
            "executed": "no",
        }


async def test_l10_a_limit_of_a_tool_is_an_error_in_an_ordinary_answer(edge: Edge) -> None:
    answer = await edge.execute("demo__rare")
    assert answer.status_code == 200
    assert not set(FIELDS) & set(answer.headers)
    assert answer.json()["error"]["data"]["retry_after_ms"] == 500


async def test_where_a_request_came_from_is_told_where_limits_need_it() -> None:
    for limited, address in ((True, "127.0.0.1"), (False, "")):
        async with running(limited=limited) as edge:
            await edge.execute("demo__echo")
            await edge.modern("tools/call", "/mcp/demo", name="echo")
            await edge.modern("tools/call", name="search", arguments={"query": "x"})
            assert [message.principal.address for message in edge.gateway.seen] == [address] * 3


async def test_the_tool_of_a_transparent_call_is_named_and_nothing_else_is(edge: Edge) -> None:
    await edge.modern("tools/call", "/mcp/demo", name="echo")
    await edge.modern("prompts/get", "/mcp/demo", name="echo")
    tools = [message.tool for message in edge.gateway.seen if isinstance(message, CallServer)]
    assert tools == ["echo", ""]


def slow(who: Principal) -> ExecuteTool:
    return ExecuteTool("demo__slow", time.time() + 10, principal=who)


async def test_a_user_has_so_many_requests_under_way_and_no_more() -> None:
    stub = StubGateway()
    gateway = Crowded(stub, 2)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for who in (ANN, ANN, BOB):
                tasks.start_soon(gateway.request, slow(who))
            await anyio.wait_all_tasks_blocked()
            assert stub.running == 3
            with pytest.raises(TooManyRequests, match="2 of your requests are under way") as caught:
                await gateway.request(slow(ANN))
            listen = CallServer("demo", "subscriptions/listen", time.time() + 10, principal=ANN)
            assert await gateway.request(listen)
            stub.release.set()
        assert await gateway.request(slow(ANN))
    assert (caught.value.data["scope"], caught.value.failure().http) == ("user/in-flight", 429)


async def test_callers_without_a_name_are_told_apart_by_their_address() -> None:
    stub = StubGateway()
    gateway = Crowded(stub, 1)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for address in ("192.0.2.1", "192.0.2.2"):
                tasks.start_soon(gateway.request, slow(Principal(address=address)))
            await anyio.wait_all_tasks_blocked()
            assert stub.running == 2
            stub.release.set()
