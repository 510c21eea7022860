"""Events for sinks, as they come from the stream."""

from __future__ import annotations

import json
from typing import Any

from services.auditor.sinks import Delivery

COMPLETED: dict[str, Any] = {
    "actor": {"session": {"uid": "5e55"}, "user": {"uid": "ann"}},
    "api": {"operation": "tools/call", "service": {"name": "time"}},
    "duration": 47,
    "http_request": {"user_agent": "mcp-client/1.0"},
    "http_response": {"code": 200},
    "metadata": {"event_code": "mcp.tool.call.completed", "tenant_uid": "zone-01", "uid": "01A"},
    "resources": [{"name": "get_current_time", "type": "tool"}],
    "time": 1_776_636_848_128,
    "unmapped": {"nexus": {"chain": {"seq": 7}, "token_hash": "3d29e8f7b4a1c0d2"}},
}


def delivery(number: int, data: bytes = b"", tries: int = 1) -> Delivery:
    """One event, a small one by default."""
    body = data or json.dumps({"metadata": {"uid": f"u{number}"}, "n": number}).encode()
    return Delivery("audit.v1.api_activity", f"u{number}", number, body, tries)


def batch(first: int, last: int) -> list[Delivery]:
    """Events by their numbers, the last one included."""
    return [delivery(number) for number in range(first, last + 1)]


def event(code: str = "mcp.tool.call.completed", **more: Any) -> bytes:
    """A finished call, or another event of its shape."""
    metadata = {**COMPLETED["metadata"], "event_code": code}
    return json.dumps({**COMPLETED, "metadata": metadata, **more}).encode()
