"""The flat record: its members, and which events have one."""

from __future__ import annotations

import json

import pytest

from services.auditor.sinks.record import record
from tests.services.auditor.sinks.events import event


def test_a_finished_call_has_all_members_in_their_order() -> None:
    line = record(event())
    assert line is not None
    assert list(json.loads(line).items()) == [
        ("ts", "2026-04-19T22:14:08.128000+00:00"),
        ("event", "mcp.request"),
        ("token_hash", "3d29e8f7b4a1c0d2"),
        ("zone_id", "zone-01"),
        ("subject_id", "ann"),
        ("rpc_method", "tools/call"),
        ("tool_name", "get_current_time"),
        ("status_code", 200),
        ("latency_ms", 47),
        ("user_agent", "mcp-client/1.0"),
    ]


def test_what_is_not_known_is_null() -> None:
    line = record(b'{"time": 0, "metadata": {"event_code": "auth.refused"}}')
    assert line is not None
    said = json.loads(line)
    assert said.pop("ts") == "1970-01-01T00:00:00.000000+00:00"
    assert said.pop("event") == "mcp.request"
    assert said.pop("latency_ms") == 0
    assert set(said.values()) == {None}


@pytest.mark.parametrize(
    "code", ["mcp.tool.call.requested", "auth.accepted", "server.started", "audit.checkpoint"]
)
def test_an_event_that_ends_no_request_has_none(code: str) -> None:
    assert record(event(code)) is None
