"""A request as it arrives: its place in a trace, and the span of its HTTP exchange if that is recorded."""

from __future__ import annotations

import time
from collections.abc import Awaitable, MutableMapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.common.telemetry import current
from libs.common.telemetry.methods import named
from libs.common.telemetry.sampling import XRAY
from libs.common.trace import NONE, PARENT, Trace, read

if TYPE_CHECKING:
    from libs.common.telemetry.spans import Span
    from libs.common.telemetry.tracing import Tracing

HERE: ContextVar[Arrival | None] = ContextVar("arrival", default=None)
"""The request that is served, where requests are traced."""
_HEADERS = {name.encode(): name for name in (PARENT, XRAY)}
_VERBS = frozenset({"GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"})


def noted(method: str) -> None:
    """The request that is served carries a message of this method."""
    here = HERE.get()
    if here is not None:
        here.method = method


class Arrivals:
    """An ASGI application before another one, which serves MCP on `route`."""

    def __init__(self, app: ASGIApp, tracing: Tracing, route: str) -> None:
        self._app = app
        self._tracing = tracing
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrival = Arrival(self._tracing, scope, self._route, send)
        HERE.set(arrival)
        try:
            await self._app(scope, receive, arrival.send)
        finally:
            arrival.end()


class Arrival:
    """One HTTP request. Its headers decide whether it is recorded, or else the first message in it."""

    __slots__ = (
        "_began",
        "_headers",
        "_link",
        "_route",
        "_scope",
        "_send",
        "_span",
        "_tracing",
        "asked",
        "method",
        "own",
        "status",
    )

    def __init__(self, tracing: Tracing, scope: Scope, route: str, send: Send) -> None:
        self._began = time.time_ns()
        self._send = send
        self._tracing = tracing
        self._scope = scope
        self._route = route
        self._span: Span | None = None
        self._headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            if name in _HEADERS:
                self._headers[_HEADERS[name]] = value.decode("latin-1")
        self._link = ""
        self.method = ""
        self.asked = False
        self.status = 0
        self._place(read({}, self._headers).parent if self._headers else "")

    def send(self, message: MutableMapping[str, Any]) -> Awaitable[None]:
        """Send a part of the response; its status is remembered."""
        if "status" in message:
            self.status = message["status"]
        return self._send(message)

    def settle(self, trace: Trace) -> Trace:
        """`trace` of a message with the context of this request, which is the message's own if it has one."""
        self.asked = True
        if self._span is None and trace.parent and trace.parent[3:35] != self.own[3:35]:
            self._link = self._headers.get(PARENT, "") and read({}, self._headers).parent
            self._place(trace.parent)
        own = self.span().own if current.sampled(self.own) else self.own
        return Trace(own=own) if trace is NONE else replace(trace, own=own)

    def span(self) -> Span:
        """The span of the exchange, begun when the request came."""
        if self._span is None:
            verb = self._scope["method"] if self._scope["method"] in _VERBS else "_OTHER"
            self._span = self._tracing.span(
                self.own,
                f"{verb} {self._route}",
                "server",
                {
                    "http.request.method": verb,
                    "http.route": self._route,
                    "url.scheme": self._scope.get("scheme", "http"),
                    "network.protocol.version": self._scope.get("http_version", ""),
                },
                start=self._began,
                links=(self._link,) if self._link else (),
            )
        return self._span

    def end(self) -> None:
        """The exchange is over."""
        if not current.sampled(self.own):
            return
        span = self.span()
        if self.method and not self.asked:
            self._answered(span)
        if self.status:
            span.put({"http.response.status_code": self.status})
        if not self.status or self.status >= 500:
            span.fail(str(self.status or "cancelled"))
        span.end()

    def _place(self, parent: str) -> None:
        self.own = self._tracing.sampler.own(parent, self._headers)
        current.TRACE.set(self.own)

    def _answered(self, span: Span) -> None:
        """The message was answered without a question to anybody: `initialize`, `ping`."""
        method = named(self.method)
        child = span.child(method, "server", {"mcp.method.name": method}, start=self._began)
        if self.status >= 400:
            child.fail(str(self.status))
        child.end()
