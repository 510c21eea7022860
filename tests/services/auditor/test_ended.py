"""The end that is written for a call whose process died says who asked for what, as the beginning did."""

from __future__ import annotations

import json
from typing import Any

import pytest

from libs.common.audit.chain import Chain
from libs.common.audit.events import Event, Payload
from libs.common.identity import Principal
from services.auditor.ended import ended

ANN = Principal("ann", "https://issuer.example", ("staff", "night"), client="c1", address="192.0.2.7")


def asked() -> Event:
    return Event(
        code="mcp.tool.call.requested",
        principal=ANN,
        tenant="zone-01",
        app="inspector",
        user_agent="mcp-client/1.0",
        path="/mcp",
        session="5e55",
        token="0123456789abcdef",
        trace="00-" + "a" * 32 + "-" + "b" * 16 + "-01",
        operation="tools/call",
        server="time",
        tool="get_current_time",
        definition="d" * 64,
        decision="allowed",
        rule="mcp.servers.time.allow",
        call="call-1",
        deadline=1_776_636_848.0,
        args=Payload(12, "f" * 16, ("timezone",)),
    )


def sealed(event: Event) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(Chain("edge-1").seal(event).line)
    return parsed


def test_it_says_who_asked_for_what_and_that_nobody_knows_what_came_of_it() -> None:
    line = Chain("edge-1").seal(asked()).line
    before, after = sealed(asked()), sealed(ended("call-1", line))
    for name in ("actor", "api", "http_request", "src_endpoint", "resources", "policy", "action_id"):
        assert after[name] == before[name], name
    for name in ("correlation_uid", "tenant_uid"):
        assert after["metadata"][name] == before["metadata"][name]
    assert after["trace"]["uid"] == before["trace"]["uid"]
    assert after["unmapped"]["nexus"]["token_hash"] == "0123456789abcdef"
    assert after["metadata"]["event_code"] == "mcp.tool.call.completed"
    assert after["unmapped"]["nexus"]["outcome"] == {
        "executed": "unknown", "jsonrpc": 0, "tool": "none", "transport": "failed",
    }  # fmt: skip
    assert after["status_id"] == 2
    assert "http_response" not in after


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"no JSON",
        b"[]",
        b"{}",
        b'{"actor": 3, "resources": []}',
        b'{"action_id": [], "resources": 5}',
        b'{"resources": {"a": 1}, "actor": {"user": {"groups": 5}}}',
        b'{"actor": {"user": {"groups": "ab"}}}',
    ],
)
def test_without_the_beginning_only_the_call_is_known(data: bytes | None) -> None:
    after = sealed(ended("call-1", data))
    assert after["metadata"]["correlation_uid"] == "call-1"
    assert after["unmapped"]["nexus"]["outcome"]["executed"] == "unknown"
