"""Calls as spans: the last ones of the gateway, whose context the servers get."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Raw
from msgspec.structs import replace

from libs.common import rpc
from libs.common.config import HttpServer, StdioServer
from libs.common.messages.calls import Call, Order
from libs.common.telemetry import current
from libs.common.telemetry.methods import failed, named
from libs.common.trace import Trace

if TYPE_CHECKING:
    from libs.common.telemetry.spans import Span, Value
    from libs.common.telemetry.tracing import Tracing

Handle = Callable[[Order, rpc.Job], Awaitable[Raw]]


class Spanned:
    """Runs orders by `handle`, and records the calls among them that are to be."""

    def __init__(
        self, handle: Handle, tracing: Tracing, servers: Mapping[str, StdioServer | HttpServer]
    ) -> None:
        self._handle = handle
        self._tracing = tracing
        self._servers = {name: _network(server) for name, server in servers.items()}

    async def handle(self, order: Order, job: rpc.Job) -> Raw:
        """What `handle` gives and raises."""
        if not isinstance(order, Call) or not order.trace.own:
            return await self._handle(order, job)
        own = order.trace.own
        if not current.sampled(own):
            current.TRACE.set(own)
            return await self._handle(order, job)
        span = job.span = self._begin(order)
        with span.active():
            result = await self._handle(replace(order, trace=self._sent(order.trace, span)), job)
            if failed(order.method, result):
                span.fail("tool_error")
            return result

    def _begin(self, call: Call) -> Span:
        method = named(call.method)
        about: dict[str, Value] = {
            "mcp.method.name": method,
            "nexus.server": call.server,
            **self._servers.get(call.server, {}),
        }
        if call.tool:
            about |= {"gen_ai.tool.name": call.tool, "gen_ai.operation.name": "execute_tool"}
        name = f"{method} {call.tool}" if call.tool else method
        return self._tracing.span(call.trace.own, name, "client", about)

    def _sent(self, trace: Trace, span: Span) -> Trace:
        """What the server gets: our context, and the client's `tracestate` if it is of the same trace."""
        if not self._tracing.propagates:
            return replace(trace, own=span.own)
        state = trace.state if trace.parent[3:35] == span.own[3:35] else ""
        return Trace(span.own, state, trace.baggage, span.own)


def _network(server: StdioServer | HttpServer) -> dict[str, Value]:
    """How a server is reached; of its URL no more than the host, as the rest may hold secrets."""
    if isinstance(server, StdioServer):
        return {"network.transport": "pipe"}
    url = urlsplit(server.url)
    port = url.port or (443 if url.scheme == "https" else 80)
    place: dict[str, Value] = {"server.address": url.hostname or "", "server.port": port}
    return {"network.transport": "tcp", "network.protocol.name": "http", **place}
