"""An audit trail on the disk of a test, and what stands in it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from libs.common.audit.trail import Trail
from libs.common.bus import Bus

ENDS = ("mcp.tool.call.completed", "mcp.request", "auth.refused")
"""Codes of events that end a request."""


@dataclass
class Written:
    """A trail whose events stay on the disk: its bus is never connected."""

    trail: Trail
    root: Path

    def events(self, *codes: str) -> list[dict[str, Any]]:
        """Those with these codes, all without any, in their order."""
        found = [json.loads(line.split(" ", 2)[2]) for line in self.text().split("\n")[:-1]]
        return [each for each in found if not codes or code(each) in codes]

    def text(self) -> str:
        """All of it, as it is on the disk."""
        # What was recorded in this turn of the loop is written when somebody asks how it stands.
        assert self.trail.stats.recorded >= 0
        return b"".join(each.read_bytes() for each in sorted(self.root.rglob("*.log"))).decode()

    async def ended(self, count: int) -> list[dict[str, Any]]:
        """The events that end requests, once there are so many: an answer may be out before."""
        with anyio.fail_after(5):
            while len(self.events(*ENDS)) < count:
                await anyio.sleep(0.005)
        return self.events(*ENDS)


@asynccontextmanager
async def written(root: Path, *, strict: bool = False, most: int = 2**26) -> AsyncIterator[Written]:
    """A trail of at most so many bytes."""
    bus = Bus("nats://127.0.0.1:1", "edge")
    async with Trail(bus, root, bytes(32), worker="edge-1", strict=strict, most=most) as trail:
        yield Written(trail, root)


def code(event: dict[str, Any]) -> str:
    return str(event["metadata"]["event_code"])


def nexus(event: dict[str, Any]) -> dict[str, Any]:
    """What OCSF has no members for."""
    found: dict[str, Any] = event["unmapped"]["nexus"]
    return found


def outcome(event: dict[str, Any]) -> tuple[str, int, str, str]:
    """Transport, code of JSON-RPC, tool, executed."""
    found = nexus(event)["outcome"]
    return found["transport"], found["jsonrpc"], found["tool"], found["executed"]
