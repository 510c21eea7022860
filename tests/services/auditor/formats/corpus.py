"""Texts that break formats: every character with a meaning in one of them, and seeded mixtures."""

from __future__ import annotations

import random
from typing import Any

import msgspec

SEED = 20261121
PARTS = (
    *("|", "=", "\\", "\n", "\r", "\r\n", "]", '"', "\0", "\t", " ", "[", "}", "%", "'", "a", ""),
    *("\x1b[2J", "\x7f", "\x85", "\u2028", "\u2029", "\ufeff", "\ufffe", "\U0010ffff"),
    *("\U0001f9ea", "\u202eevil\u202c", "שלום", "é", "e\u0301"),
    *("<34>1 ", "CEF:0|", "cs1=", "\\n", "\\|", "${jndi:ldap://x}", "{{ env.X }}"),
)
FIXED = (
    *PARTS,
    'a|b=c\\d\ne]f"g',
    "x" * 65_536,
    '|=\\\n]"\r' * 9_000,
    "\U0001f9ea" * 16_384,
    "ends with a backslash\\",
    "key=value other=value",
    " leading and trailing ",
    '"] <13>1 - - - - - - injected',
    "5 <13>1",
)


def texts(number: int = 100) -> list[str]:
    """The fixed ones, and `number` seeded mixtures of their parts."""
    chance = random.Random(SEED)
    mixed = ["".join(chance.choices(PARTS, k=chance.randint(1, 24))) for _ in range(number)]
    return [*FIXED, *mixed]


def event(text: str = "x", **changes: Any) -> dict[str, Any]:
    """An event with `text` in every place that a stranger's text can reach."""
    return {
        "action_id": 2,
        "activity_id": 99,
        "activity_name": "Execute",
        "actor": {"app_name": text, "user": {"uid": text, "groups": [{"name": text}]}},
        "api": {"operation": "tools/call", "service": {"name": "files"}},
        "category_uid": 6,
        "class_uid": 6003,
        "duration": 12,
        "http_request": {"url": {"path": "/mcp"}, "user_agent": text},
        "http_response": {"code": 200},
        "message": text,
        "metadata": {
            "correlation_uid": "c-1",
            "event_code": "mcp.tool.call.completed",
            "product": {"name": "Nexus", "vendor_name": "Nexus", "version": "0.1.0"},
            "sequence": 7,
            "tenant_uid": text,
            "uid": "01JZZZZZZZZZZZZZZZZZZZZZZZ",
            "version": "1.8.0",
        },
        "policy": {"uid": "mcp.servers.files.allow"},
        "resources": [{"name": text, "type": "tool"}],
        "severity_id": 3,
        "src_endpoint": {"ip": "192.0.2.7"},
        "status_code": "denied",
        "status_id": 2,
        "time": 1_771_000_000_123,
        "trace": {"span": {"uid": "00f067aa0ba902b7"}, "uid": "4bf92f3577b34da6a3ce929d0e0e4736"},
        "type_uid": 600399,
        "unmapped": {"nexus": {"chain": {"seq": 7, "uid": "chain-1"}, "outcome": {"executed": "no"}}},
        **changes,
    }


def encoded(text: str = "x", **changes: Any) -> bytes:
    return msgspec.json.encode(event(text, **changes), order="sorted")
