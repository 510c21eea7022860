from __future__ import annotations

from typing import Any

import anyio
import pytest

from libs.common.codec import decode
from libs.common.messages.calls import ExecuteTool
from tests.services.edge.conftest import LEGACY, Edge

pytestmark = pytest.mark.anyio

SLOW: dict[str, Any] = {"name": "execute", "arguments": {"name": "demo__slow", "arguments": {}}}
ECHO: dict[str, Any] = {"name": "execute", "arguments": {"name": "demo__echo", "arguments": {}}}


@pytest.mark.parametrize(
    ("requested", "agreed"),
    [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ],
)
async def test_initialize_agrees_on_a_revision(edge: Edge, requested: str, agreed: str) -> None:
    answer = await edge.initialize(protocolVersion=requested)
    assert answer.json()["result"]["protocolVersion"] == agreed


async def test_initialize_introduces_the_aggregate(edge: Edge) -> None:
    answer = await edge.initialize()
    assert answer.status_code == 200
    result = answer.json()["result"]
    assert result["serverInfo"] == {"name": "nexus", "version": "1.2.3"}
    assert result["capabilities"]["tools"] == {}
    assert "search" in result["instructions"]
    assert answer.headers["mcp-session-id"].isascii()


@pytest.mark.parametrize(
    "params",
    [
        {"protocolVersion": None},
        {"protocolVersion": 1},
        {"capabilities": []},
        {"clientInfo": "me"},
        {"capabilities": {"experimental": {"x": "y" * 4000}}},
    ],
)
async def test_initialize_with_odd_parameters_is_refused(edge: Edge, params: dict[str, Any]) -> None:
    answer = await edge.initialize(**params)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)
    assert "mcp-session-id" not in answer.headers


async def test_a_session_id_stays_small_whatever_the_client_calls_itself(edge: Edge) -> None:
    answer = await edge.initialize(clientInfo={"name": "n" * 100_000, "version": 7, "icons": ["x" * 9999]})
    assert len(answer.headers["mcp-session-id"]) < 1024


async def test_a_call_carries_what_the_client_said_in_initialize(edge: Edge) -> None:
    started = await edge.initialize(capabilities={"roots": {}}, clientInfo={"name": "me", "version": "7"})
    headers = {**LEGACY, "mcp-session-id": started.headers["mcp-session-id"]}
    await edge.legacy(headers, "tools/call", **ECHO)
    (call,) = edge.gateway.seen
    assert isinstance(call, ExecuteTool)
    assert call.client.version == "2025-11-25"
    assert decode(call.client.capabilities) == {"roots": {}}
    assert decode(call.client.info) == {"name": "me", "version": "7"}


async def test_ping_is_answered_by_the_edge(edge: Edge) -> None:
    answer = await edge.legacy(await edge.session(), "ping")
    assert answer.json() == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert edge.gateway.seen == []


async def test_notifications_and_responses_are_accepted(edge: Edge) -> None:
    headers = await edge.session()
    noted = await edge.notify(headers, "notifications/initialized")
    reply = {"jsonrpc": "2.0", "id": 1, "result": {}}
    replied = await edge.http.post("/mcp", json=reply, headers=headers)
    assert (noted.status_code, noted.content, replied.status_code) == (202, b"", 202)


async def test_a_legacy_client_sees_no_result_type(edge: Edge) -> None:
    arguments = {"name": "demo__strange", "arguments": {}}
    answer = await edge.legacy(await edge.session(), "tools/call", name="execute", arguments=arguments)
    assert "resultType" not in answer.json()["result"]
    assert b'"x-odd":1.50' in answer.content


@pytest.mark.parametrize(
    ("tool", "status"), [("demo__nomethod", 200), ("demo__denied", 200), ("demo__lost", 503)]
)
async def test_a_failed_call_never_looks_like_a_lost_session(edge: Edge, tool: str, status: int) -> None:
    arguments = {"name": tool, "arguments": {}}
    answer = await edge.legacy(await edge.session(), "tools/call", name="execute", arguments=arguments)
    assert answer.status_code == status
    assert "error" in answer.json()


async def test_a_method_of_the_modern_era_is_unknown_in_a_session(edge: Edge) -> None:
    answer = await edge.legacy(await edge.session(), "server/discover")
    assert (answer.status_code, answer.json()["error"]["code"]) == (200, -32601)


async def test_an_unsupported_version_header_is_refused_in_a_session(edge: Edge) -> None:
    headers = await edge.session()
    answer = await edge.legacy({**headers, "mcp-protocol-version": "2025-01-01"}, "ping")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32600)
    assert (await edge.legacy({**headers, "mcp-protocol-version": "2025-06-18"}, "ping")).status_code == 200


async def test_a_modern_envelope_without_its_header_is_told_what_is_missing(edge: Edge) -> None:
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    answer = await edge.legacy(LEGACY, "tools/list", _meta=meta)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)


async def test_a_cancelled_call_is_cancelled_downstream_and_not_answered(edge: Edge) -> None:
    headers = await edge.session()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:

            async def call() -> None:
                answer = await edge.legacy(headers, "tools/call", request_id="c1", **SLOW)
                assert (answer.status_code, answer.content) == (202, b"")

            group.start_soon(call)
            await edge.gateway.started.wait()
            noted = await edge.notify(headers, "notifications/cancelled", requestId="c1", reason="enough")
            assert noted.status_code == 202
    assert edge.gateway.cancelled
    assert edge.gateway.elsewhere == []
    assert len(edge.flights) == 0


async def test_a_call_held_by_another_replica_is_cancelled_there(edge: Edge) -> None:
    headers = await edge.session()
    await edge.notify(headers, "notifications/cancelled", requestId=7, reason="r" * 10_000)
    ((session, request_id, reason),) = edge.gateway.elsewhere
    assert (len(session), request_id, len(reason)) == (32, 7, 256)


@pytest.mark.parametrize("params", [{}, {"requestId": None}, {"requestId": True}, {"requestId": {"a": 1}}])
async def test_cancelling_nothing_in_particular_is_ignored(edge: Edge, params: dict[str, Any]) -> None:
    answer = await edge.notify(await edge.session(), "notifications/cancelled", **params)
    assert (answer.status_code, edge.gateway.elsewhere) == (202, [])


async def test_one_session_cannot_cancel_the_call_of_another(edge: Edge) -> None:
    mine, theirs = await edge.session(), await edge.session()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:

            async def call() -> None:
                answer = await edge.legacy(mine, "tools/call", request_id=1, **SLOW)
                assert answer.status_code == 200
                assert "result" in answer.json()

            group.start_soon(call)
            await edge.gateway.started.wait()
            await edge.notify(theirs, "notifications/cancelled", requestId=1)
            edge.gateway.release.set()
    assert not edge.gateway.cancelled


async def test_an_id_in_use_is_refused_within_its_session_only(edge: Edge) -> None:
    headers, others = await edge.session(), await edge.session()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:

            async def call() -> None:
                assert "result" in (await edge.legacy(headers, "tools/call", request_id=1, **SLOW)).json()

            group.start_soon(call)
            await edge.gateway.started.wait()
            twice = await edge.legacy(headers, "tools/call", request_id=1, **ECHO)
            assert (twice.status_code, twice.json()["error"]["code"]) == (400, -32600)
            for fine in (
                await edge.legacy(headers, "tools/call", request_id="1", **ECHO),
                await edge.legacy(others, "tools/call", request_id=1, **ECHO),
            ):
                assert fine.status_code == 200
            edge.gateway.release.set()
    again = await edge.legacy(headers, "tools/call", request_id=1, **ECHO)
    assert again.status_code == 200
