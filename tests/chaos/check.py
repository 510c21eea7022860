"""What clients were told, what servers did and what was recorded, held against each other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from libs.common.audit.verify import Verifier
from tests.chaos.clients import Told

REQUESTED, COMPLETED = "mcp.tool.call.requested", "mcp.tool.call.completed"
SHOWN = 10


@dataclass(slots=True)
class Recorded:
    """What one consumer of the audit trail has got."""

    calls: dict[str, str] = field(default_factory=dict)
    """Our own names of calls, by those that the gateway gave them."""
    ended: dict[str, int] = field(default_factory=dict)
    """How often a call was said to be over, by the gateway's name of it."""
    events: dict[str, bytes] = field(default_factory=dict)
    """By event id."""
    doubled: int = 0
    altered: list[str] = field(default_factory=list)
    """Ids under which two different events came."""

    @classmethod
    def read(cls, lines: Iterable[bytes]) -> Recorded:
        found = cls()
        for line in lines:
            if line.strip():
                found.add(line.strip())
        return found

    def add(self, line: bytes) -> None:
        event = json.loads(line)
        uid = event["metadata"]["uid"]
        if uid in self.events:
            self.doubled += 1
            if self.events[uid] != line:
                self.altered.append(uid)
            return
        self.events[uid] = line
        metadata, call = event["metadata"], call_id(event)
        if metadata["event_code"] == REQUESTED and call is not None:
            self.calls[metadata["correlation_uid"]] = call
        elif metadata["event_code"] == COMPLETED:
            self.ended[metadata["correlation_uid"]] = self.ended.get(metadata["correlation_uid"], 0) + 1

    @property
    def requested(self) -> set[str]:
        return set(self.calls.values())

    @property
    def completed(self) -> set[str]:
        return {call for uid, call in self.calls.items() if uid in self.ended}

    @property
    def unasked(self) -> set[str]:
        """Calls, by the gateway's name, that are over but were never asked for."""
        return self.ended.keys() - self.calls.keys()


def call_id(event: dict[str, Any]) -> str | None:
    """The argument that names the call, which the configuration has captured; None where it is not."""
    fields = event.get("unmapped", {}).get("nexus", {}).get("args", {}).get("fields", [])
    return next((str(each["value"]) for each in fields if each["name"] == "call_id"), None)


def broken(lines: Iterable[bytes]) -> tuple[list[str], int]:
    """What a verifier says of a sink that lost nothing and altered nothing, and how many chains it saw.

    An event may come twice, and out of order: that is how it is delivered.
    """
    verifier, found, chains = Verifier(), [], set()
    for line in lines:
        found += list(verifier.take(line))
        chains.add(json.loads(line)["unmapped"]["nexus"]["chain"]["uid"])
    found += list(verifier.close())
    return [f"chains: {each}" for each in found if each.broken or each.wrong == "lost"], len(chains)


def faults(told: Told, executed: Counter[str], sinks: dict[str, Recorded]) -> list[str]:
    """Everything that must not be; empty if the trail holds."""
    found = [f"a strange answer: {each}" for each in told.strange]
    found += _said("executed more than once", [call for call, times in executed.items() if times > 1])
    succeeded = {call for call, verdict in told.answered.items() if verdict == "ok"}
    refused = {call for call, verdict in told.answered.items() if verdict == "no"}
    found += _said("answered, but never executed", succeeded - set(executed))
    found += _said("executed, though the client was told it was not", refused & set(executed))
    wanted = set(told.answered) | set(executed)
    for name, recorded in sinks.items():
        found += _said(f"{name}: no `requested`", wanted - recorded.requested)
        found += _said(f"{name}: no `completed`", wanted - recorded.completed)
        found += _said(f"{name}: `completed` without `requested`", recorded.unasked)
        found += _said(f"{name}: two events under one id", recorded.altered)
    return found


def _said(problem: str, calls: Iterable[str]) -> list[str]:
    names = sorted(calls)
    return [f"{problem}: {len(names)} ({', '.join(names[:SHOWN])})"] if names else []
