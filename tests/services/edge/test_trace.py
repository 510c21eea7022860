"""The trace context of a client's request: taken from where it is valid, and never passed on as it came."""

from __future__ import annotations

from typing import Any

import pytest

from libs.common import trace
from libs.common.codec import decode
from libs.common.messages.calls import CallServer, ExecuteTool
from libs.common.trace import Trace
from tests.services.edge.conftest import Edge, modern_body, modern_headers

pytestmark = pytest.mark.anyio

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = PARENT.replace("-01", "-00")
ECHO: dict[str, Any] = {"name": "execute", "arguments": {"name": "demo__echo", "arguments": {}}}


def last(edge: Edge) -> ExecuteTool | CallServer:
    message = edge.gateway.seen[-1]
    assert isinstance(message, ExecuteTool | CallServer)
    return message


async def modern(edge: Edge, meta: dict[str, Any], **headers: str) -> ExecuteTool | CallServer:
    body = modern_body("tools/call", meta=meta, **ECHO)
    sent = modern_headers("tools/call", "execute", **headers)
    assert (await edge.http.post("/mcp", json=body, headers=sent)).status_code == 200
    return last(edge)


async def test_a_valid_context_leaves_the_meta_and_travels_beside_it(edge: Edge) -> None:
    meta = {"traceparent": PARENT, "tracestate": "a=1", "baggage": "b=2", "com.example/x": 1}
    message = await modern(edge, meta)
    assert message.trace == Trace(PARENT, "a=1", "b=2")
    assert decode(message.params)["_meta"] == {"com.example/x": 1}


async def test_an_invalid_context_is_dropped(edge: Edge) -> None:
    message = await modern(edge, {"traceparent": "00-1", "tracestate": "A", "baggage": " "}, traceparent="x")
    assert message.trace == trace.NONE
    assert "_meta" not in decode(message.params)


async def test_headers_count_for_a_message_without_a_context(edge: Edge) -> None:
    headers = {"traceparent": PARENT, "tracestate": "a=1"}
    assert (await modern(edge, {}, **headers)).trace == Trace(PARENT, "a=1")
    assert (await modern(edge, {"traceparent": OTHER}, **headers)).trace == Trace(OTHER)


async def test_a_request_in_a_session_is_traced_as_well(edge: Edge) -> None:
    headers = await edge.session("/mcp/demo")
    meta = {"traceparent": PARENT}
    await edge.legacy(headers, "tools/call", "/mcp/demo", name="echo", arguments={}, _meta=meta)
    message = last(edge)
    assert message.trace == Trace(PARENT)
    assert "traceparent" not in decode(message.params).get("_meta", {})


async def test_a_request_without_a_context_carries_none(edge: Edge) -> None:
    assert (await modern(edge, {})).trace == trace.NONE
