"""What the router does with a request, as a span."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from libs.common.messages.calls import (
    Call,
    CallServer,
    ExecuteTool,
    HoldCall,
    ListServer,
    Query,
    Request,
    ResolveTool,
    SearchTools,
)
from libs.common.telemetry import current

if TYPE_CHECKING:
    from libs.common.telemetry.tracing import Tracing


@contextmanager
def routing(tracing: Tracing | None, request: Request) -> Iterator[Request]:
    """Inside, the request is what goes on: with the context of a span, if it is recorded."""
    if tracing is None or not isinstance(request, ExecuteTool | CallServer | SearchTools):
        yield request
        return
    own = request.trace.own
    if current.sampled(own):
        span = tracing.span(own, "route", attributes={"nexus.request": _kind(request)})
        with span.active():
            yield replace(request, trace=replace(request.trace, own=span.own))
        return
    token = current.TRACE.set(own)
    try:
        yield request
    finally:
        current.TRACE.reset(token)


def routed(message: Call | ListServer | HoldCall | Query) -> None:
    """The request was let through, as this message."""
    span = current.SPAN.get()
    if span is None:
        return
    match message:
        case Call():
            span.put({"nexus.decision": "allowed", "nexus.server": message.server})
            if message.tool:
                span.put({"gen_ai.tool.name": message.tool})
        case ResolveTool():
            span.put({"nexus.decision": "unknown"})
        case _:
            span.put({"nexus.decision": "allowed"})


def _kind(request: ExecuteTool | CallServer | SearchTools) -> str:
    match request:
        case ExecuteTool():
            return "execute"
        case CallServer():
            return "call"
        case SearchTools():
            return "search"
