"""A finished request as one flat record: what simple consumers want of an event."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from libs.common.codec import UNREADABLE

TERMINAL = frozenset({"mcp.tool.call.completed", "mcp.request", "auth.refused"})
"""The events of which each request has exactly one."""


class Record(msgspec.Struct, frozen=True):
    """The record; null stands for what is not known."""

    ts: str
    event: str
    token_hash: str | None
    zone_id: str | None
    subject_id: str | None
    rpc_method: str | None
    tool_name: str | None
    status_code: int | None
    latency_ms: int
    user_agent: str | None


class _User(msgspec.Struct):
    uid: str | None = None


class _Actor(msgspec.Struct):
    user: _User = msgspec.field(default_factory=_User)


class _Api(msgspec.Struct):
    operation: str | None = None


class _Named(msgspec.Struct):
    name: str | None = None


class _Metadata(msgspec.Struct):
    event_code: str = ""
    tenant_uid: str | None = None


class _Response(msgspec.Struct):
    code: int | None = None


class _Request(msgspec.Struct):
    user_agent: str | None = None


class _Event(msgspec.Struct):
    time: int
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    actor: _Actor = msgspec.field(default_factory=_Actor)
    api: _Api = msgspec.field(default_factory=_Api)
    resources: list[_Named] = msgspec.field(default_factory=list)
    http_request: _Request = msgspec.field(default_factory=_Request)
    http_response: _Response = msgspec.field(default_factory=_Response)
    duration: int = 0
    unmapped: dict[str, Any] = msgspec.field(default_factory=dict)


_decoder = msgspec.json.Decoder(_Event)
_encode = msgspec.json.Encoder().encode


STRANGE = (*UNREADABLE, KeyError, AttributeError, ValueError, OverflowError, OSError)
"""What `record` raises for what is no event, or has a time that is none: nobody gets a record of it."""


def record(data: bytes) -> bytes | None:
    """The record of an event as JSON on one line; None for events that do not end a request.

    Raises one of `STRANGE`.
    """
    event = _decoder.decode(data)
    if event.metadata.event_code not in TERMINAL:
        return None
    token = event.unmapped.get("nexus", {}).get("token_hash")
    at = datetime.fromtimestamp(event.time / 1000, UTC)
    return _encode(
        Record(
            ts=at.isoformat(timespec="microseconds"),
            event="mcp.request",
            token_hash=token,
            zone_id=event.metadata.tenant_uid,
            subject_id=event.actor.user.uid,
            rpc_method=event.api.operation,
            tool_name=event.resources[0].name if event.resources else None,
            status_code=event.http_response.code,
            latency_ms=event.duration,
            user_agent=event.http_request.user_agent,
        )
    )
