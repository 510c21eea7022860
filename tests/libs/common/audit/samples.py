"""Events of every code, with everything they may carry."""

from __future__ import annotations

from libs.common.audit.events import KINDS, Code, Event, Outcome, Payload
from libs.common.identity import Principal

ALICE = Principal(
    "alice", "https://id.example", ("ops", "dev"), tier="authenticated", client="app-1", address="192.0.2.7"
)
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def full(code: Code) -> Event:
    """An event in which no field is left out."""
    return Event(
        code=code,
        principal=ALICE,
        tenant="acme",
        app="Inspector",
        user_agent="Inspector/1.0",
        path="/mcp/time",
        session="5e55105e55105e55",
        token="70ce170ce170ce17",
        trace=TRACE,
        operation="tools/call",
        server="time",
        tool="now",
        definition="9f86d081884c7d65",
        decision="allowed",
        rule="mcp.servers.time.allow",
        limit={"scope": "tool", "limit": 5, "interval_ms": 60_000},
        status=200,
        outcome=Outcome("ok", 0, "error", "yes"),
        duration=12,
        args=Payload(40, "0123456789abcdef", ("zone", "secret"), (("zone", "Europe/Berlin"),)),
        result=Payload(812, "fedcba9876543210", ("content",)),
        call="01K5XDEADBEEF",
        deadline=1_790_000_000.25,
        message="the clock of the server stands still",
        facts={"worker": "edge-1", "seconds": 2, "chains": [{"seq": 3, "uid": "01K5X"}]},
    )


def samples() -> list[Event]:
    """Every code, full and with as little as possible."""
    return [*map(full, KINDS), *(Event(code=code) for code in KINDS)]
