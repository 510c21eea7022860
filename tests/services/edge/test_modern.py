from __future__ import annotations

from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from libs.common.codec import decode
from libs.common.messages.calls import ExecuteTool
from services.edge.hints import OWN_TTL
from tests.services.edge.conftest import Edge, modern_body, modern_headers

pytestmark = pytest.mark.anyio

SERVER_INFO = "io.modelcontextprotocol/serverInfo"
ECHO = {"name": "demo__echo", "arguments": {"text": "hi"}}


def sent(edge: Edge) -> ExecuteTool:
    message = edge.gateway.seen[-1]
    assert isinstance(message, ExecuteTool)
    return message


async def test_execute_reaches_the_tool_and_returns_its_result(edge: Edge) -> None:
    answer = await edge.execute("demo__echo", text="hi")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "jsonrpc": "2.0",
        "id": 1,
        "result": {
            "content": [{"type": "text", "text": "demo__echo {'text': 'hi'}"}],
            "resultType": "complete",
            "_meta": {SERVER_INFO: {"name": "nexus", "version": "1.2.3"}},
        },
    }


async def test_the_call_carries_who_asks_and_nothing_of_the_clients_hop(edge: Edge) -> None:
    meta = {"progressToken": "p", "traceparent": "00-1", "com.example/x": [1]}
    await edge.modern("tools/call", meta=meta, name="execute", arguments=ECHO, unknown=True)
    call = sent(edge)
    assert (call.name, call.progress, call.client.version) == ("demo__echo", True, "2026-07-28")
    assert decode(call.client.capabilities) == {"elicitation": {}}
    assert decode(call.client.info) == {"name": "tests", "version": "1"}
    assert decode(call.params) == {
        "arguments": {"text": "hi"},
        "unknown": True,
        "_meta": {"com.example/x": [1]},
    }


async def test_a_client_without_a_name_is_served(edge: Edge) -> None:
    body = modern_body("tools/call", name="execute", arguments=ECHO)
    del body["params"]["_meta"]["io.modelcontextprotocol/clientInfo"]
    answer = await edge.http.post("/mcp", json=body, headers=modern_headers("tools/call", "execute"))
    assert answer.status_code == 200
    assert "_meta" not in decode(sent(edge).params)


async def test_members_of_a_result_that_nobody_knows_survive_byte_for_byte(edge: Edge) -> None:
    answer = await edge.execute("demo__strange")
    assert b'"content":[ ]' in answer.content
    assert b'"x-odd":1.50' in answer.content
    assert answer.json()["result"]["_meta"]["a"] == 1


async def test_a_result_that_is_no_object_is_an_error_not_a_crash(edge: Edge) -> None:
    answer = await edge.execute("demo__list")
    assert answer.json()["error"]["code"] == -31022


async def test_discover_describes_the_aggregate(edge: Edge) -> None:
    result = (await edge.modern("server/discover")).json()["result"]
    assert result["supportedVersions"] == ["2026-07-28"]
    assert result["capabilities"]["tools"] == {}
    assert (result["ttlMs"], result["cacheScope"], result["resultType"]) == (0, "private", "complete")
    assert "search" in result["instructions"]
    assert result["_meta"][SERVER_INFO]["name"] == "nexus"


async def test_a_list_carries_cache_hints(edge: Edge) -> None:
    result = (await edge.modern("tools/list")).json()["result"]
    assert (result["ttlMs"], result["cacheScope"]) == (OWN_TTL, "public")


@pytest.mark.parametrize(
    "method", ["initialize", "ping", "logging/setLevel", "resources/subscribe", "tasks/get", "odd/method"]
)
async def test_a_method_that_is_not_offered_is_404(edge: Edge, method: str) -> None:
    answer = await edge.modern(method)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, -32601)


async def test_a_notification_is_accepted_and_dropped(edge: Edge) -> None:
    body = {"jsonrpc": "2.0", "method": "notifications/whatever"}
    answer = await edge.http.post("/mcp", json=body, headers=modern_headers("notifications/whatever"))
    assert (answer.status_code, answer.content) == (202, b"")


async def test_a_notification_of_an_unknown_revision_is_refused(edge: Edge) -> None:
    body = {"jsonrpc": "2.0", "method": "notifications/whatever"}
    headers = modern_headers("notifications/whatever") | {"mcp-protocol-version": "next"}
    answer = await edge.http.post("/mcp", json=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32022)


async def test_a_response_is_refused_because_nothing_was_asked(edge: Edge) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "result": {}}
    answer = await edge.http.post("/mcp", json=body, headers=modern_headers("x"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32600)


@pytest.mark.parametrize("verb", ["GET", "DELETE"])
async def test_the_modern_era_has_only_post(edge: Edge, verb: str) -> None:
    answer = await edge.http.request(verb, "/mcp", headers=modern_headers("x"))
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_a_session_id_means_nothing_here(edge: Edge) -> None:
    headers = modern_headers("tools/call", "execute", **{"mcp-session-id": "anything"})
    answer = await edge.http.post(
        "/mcp", json=modern_body("tools/call", name="execute", arguments=ECHO), headers=headers
    )
    assert answer.status_code == 200
    assert "mcp-session-id" not in answer.headers


async def post(edge: Edge, headers: Any, **body: Any) -> httpx.Response:
    message = modern_body("tools/call", name="execute", arguments=ECHO) | body
    return await edge.http.post("/mcp", json=message, headers=headers)


def check_refused(edge: Edge, answer: httpx.Response, code: int) -> None:
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code
    assert answer.json()["id"] in (1, None)
    assert edge.gateway.seen == []


@pytest.mark.parametrize("missing", ["mcp-method", "mcp-name", "mcp-protocol-version"])
async def test_a_missing_routing_header_is_a_mismatch(edge: Edge, missing: str) -> None:
    headers = modern_headers("tools/call", "execute")
    del headers[missing]
    check_refused(edge, await post(edge, headers), -32020)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mcp-method": "tools/list"},
        {"mcp-method": "Tools/Call"},
        {"mcp-name": "search"},
        {"mcp-name": "=?base64?!!!?="},
        {"mcp-name": "=?base64?c2VhcmNo?="},
    ],
)
async def test_a_header_that_contradicts_the_body_is_refused(edge: Edge, wrong: dict[str, str]) -> None:
    check_refused(edge, await post(edge, modern_headers("tools/call", "execute") | wrong), -32020)


async def test_a_name_in_base64_is_compared_by_its_meaning(edge: Edge) -> None:
    answer = await post(edge, modern_headers("tools/call", "=?base64?ZXhlY3V0ZQ==?="))
    assert answer.status_code == 200


@pytest.mark.parametrize("name", ["mcp-method", "mcp-name", "mcp-protocol-version", "mcp-param-x"])
async def test_a_repeated_routing_header_is_refused(edge: Edge, name: str) -> None:
    headers = modern_headers("tools/call", "execute")
    headers.setdefault(name, "x")
    doubled = [*headers.items(), (name, headers[name])]
    check_refused(edge, await post(edge, doubled), -32020)


async def test_an_unknown_revision_is_told_the_known_ones(edge: Edge) -> None:
    for version in ("2027-01-01", "next"):
        body = modern_body("tools/list", meta={"io.modelcontextprotocol/protocolVersion": version})
        headers = modern_headers("tools/list") | {"mcp-protocol-version": version}
        answer = await edge.http.post("/mcp", json=body, headers=headers)
        check_refused(edge, answer, -32022)
        data = answer.json()["error"]["data"]
        assert (data["supported"], data["requested"]) == (["2026-07-28"], version)


async def test_a_revision_older_than_any_known_is_refused_with_those_that_have_sessions(edge: Edge) -> None:
    answer = await post(
        edge, modern_headers("tools/call", "execute") | {"mcp-protocol-version": "2023-01-01"}
    )
    check_refused(edge, answer, -32600)
    assert "2025-11-25" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"_meta": 1},
        {"_meta": {}},
        {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}},
        {"_meta": {"io.modelcontextprotocol/clientCapabilities": {}}},
    ],
)
async def test_a_request_without_its_envelope_is_refused(edge: Edge, params: dict[str, Any]) -> None:
    check_refused(edge, await post(edge, modern_headers("tools/call", "execute"), params=params), -32602)


@pytest.mark.parametrize(
    ("tool", "status", "code"),
    [
        ("demo__unknown", 200, -31001),
        ("demo__down", 200, -31002),
        ("demo__busy", 503, -31004),
        ("demo__lost", 503, -31006),
        ("demo__denied", 200, -32001),
        ("demo__nomethod", 404, -32601),
    ],
)
async def test_a_failed_call_has_its_code_and_status(edge: Edge, tool: str, status: int, code: int) -> None:
    answer = await edge.execute(tool)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_an_error_of_the_server_is_passed_on_as_it_came(edge: Edge) -> None:
    error = (await edge.execute("demo__denied")).json()["error"]
    assert error == {"code": -32001, "message": "not today", "data": {"why": "rain"}}


async def test_a_refusal_says_that_nothing_was_executed(edge: Edge) -> None:
    assert (await edge.execute("demo__down")).json()["error"]["data"]["executed"] == "no"


async def test_an_unforeseen_error_shows_a_number_and_nothing_else(
    edge: Edge,
) -> None:
    with capture_logs() as logs:
        answer = await edge.execute("demo__boom")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (500, -32603)
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    (logged,) = logs
    assert logged["incident"] == error["data"]["incident"]
    assert "secret detail" in str(logged["exc_info"])
