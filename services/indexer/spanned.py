"""Searches as spans: how much was asked and found, never what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from libs.common.messages.calls import Query, SearchTools
from libs.common.messages.search import ToolsFound
from libs.common.telemetry import current

if TYPE_CHECKING:
    from libs.common.telemetry.tracing import Tracing


@contextmanager
def searching(tracing: Tracing | None, query: Query) -> Iterator[None]:
    """What is inside is recorded, if the query is to be."""
    own = query.trace.own
    if tracing is None or not own:
        yield
        return
    if current.sampled(own):
        name = "index:search" if isinstance(query, SearchTools) else "index:resolve"
        with tracing.span(own, name, attributes=_asked(query)).active():
            yield
        return
    token = current.TRACE.set(own)
    try:
        yield
    finally:
        current.TRACE.reset(token)


def told(found: ToolsFound) -> None:
    """What a search has found."""
    span = current.SPAN.get()
    if span is not None:
        span.put({"mcp.search.result_count": len(found.hits), "nexus.search.unknown": found.unknown})


def _asked(query: Query) -> dict[str, int]:
    if not isinstance(query, SearchTools):
        return {}
    return {
        "mcp.search.keyword_count": len(query.keywords) + len(query.query.split()),
        "mcp.search.limit": query.limit,
    }
