"""Headers of clients that go on to servers: those that rules name, to the servers of those rules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs.common.messages.calls import CallServer, ExecuteTool, NotifyServer
from services.edge.carried import VALUE_MAX
from tests.services.edge.conftest import Edge, modern_body, modern_headers, running

pytestmark = pytest.mark.anyio

SENT = {"x-tenant": "acme", "x-stray": "1"}


@pytest.fixture
async def ruled() -> AsyncIterator[Edge]:
    """An edge whose server `demo` gets one header of its clients."""
    async with running(forwarded={"demo": frozenset({"x-tenant"})}) as edge:
        yield edge


def carried(edge: Edge) -> dict[str, str]:
    message = edge.gateway.seen[-1]
    assert isinstance(message, ExecuteTool | CallServer | NotifyServer)
    return message.headers


async def execute(edge: Edge, tool: str = "demo__echo", **headers: str) -> Any:
    body = modern_body("tools/call", name="execute", arguments={"name": tool, "arguments": {}})
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await edge.http.post("/mcp", json=body, headers=modern_headers("tools/call", "execute", **sent))
    return answer.json()


async def test_execute_carries_what_the_rules_of_the_server_of_its_tool_name(ruled: Edge) -> None:
    await execute(ruled, x_tenant="acme", x_stray="1")
    assert carried(ruled) == {"x-tenant": "acme"}
    await execute(ruled)
    assert carried(ruled) == {}


async def test_another_server_gets_nothing(ruled: Edge) -> None:
    await execute(ruled, "other__echo", x_tenant="acme")
    assert all(not getattr(each, "headers", None) for each in ruled.gateway.seen)


async def test_the_path_of_a_server_carries_them_in_either_era(ruled: Edge) -> None:
    body = modern_body("tools/call", name="echo", arguments={})
    headers = modern_headers("tools/call", "echo", **SENT)
    assert (await ruled.http.post("/mcp/demo", json=body, headers=headers)).status_code == 200
    assert carried(ruled) == {"x-tenant": "acme"}
    session = await ruled.session("/mcp/demo")
    await ruled.legacy({**session, **SENT}, "tools/call", "/mcp/demo", name="echo", arguments={})
    assert carried(ruled) == {"x-tenant": "acme"}


async def test_a_notification_carries_them_as_well(ruled: Edge) -> None:
    session = await ruled.session("/mcp/demo")
    await ruled.notify({**session, **SENT}, "notifications/roots/list_changed", "/mcp/demo")
    assert carried(ruled) == {"x-tenant": "acme"}


async def test_nothing_is_carried_without_a_rule(edge: Edge) -> None:
    await execute(edge, x_tenant="acme")
    assert carried(edge) == {}


@pytest.mark.parametrize("value", ["x" * (VALUE_MAX + 1), "tab\there", "\xe9"])
async def test_a_value_that_cannot_go_on_is_refused_and_not_replaced(ruled: Edge, value: str) -> None:
    body = modern_body("tools/call", name="execute", arguments={"name": "demo__echo", "arguments": {}})
    headers = modern_headers("tools/call", "execute")
    raw = [(name.encode(), text.encode()) for name, text in headers.items()]
    raw.append((b"x-tenant", value.encode("latin-1")))
    answer = (await ruled.http.post("/mcp", json=body, headers=raw)).json()
    assert "x-tenant" in str(answer["error"]["message"])
    assert ruled.gateway.seen == []


async def test_a_value_of_the_full_length_goes_on(ruled: Edge) -> None:
    await execute(ruled, x_tenant="x" * VALUE_MAX)
    assert carried(ruled) == {"x-tenant": "x" * VALUE_MAX}
