"""Where the running code is: in which trace, and in which span of it, if that is recorded."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from libs.common.telemetry.spans import Span

TRACE: ContextVar[str] = ContextVar("trace", default="")
"""`Trace.own` of the request that is served; empty outside of any."""
SPAN: ContextVar[Span | None] = ContextVar("span", default=None)
"""The span that is recorded here, if one is."""

_NOWHERE = "0" * 16


def marks() -> dict[str, str]:
    """What a log line says of its place: `trace_id`, and `span_id` where spans are recorded."""
    own = TRACE.get()
    if not own:
        return {}
    return {"trace_id": own[3:35], "span_id": own[36:52]} if sampled(own) else {"trace_id": own[3:35]}


def sampled(own: str) -> bool:
    """Whether the spans of a request are recorded."""
    return own.endswith("-01")


def spanned(own: str) -> bool:
    """Whether there is a span before this one."""
    return own[36:52] != _NOWHERE
