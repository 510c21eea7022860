"""Puts spans around what serves MCP, where requests are traced; else leaves everything as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.types import ASGIApp

from libs.common.policy import Policy
from services.edge.arrival import Arrivals
from services.edge.endpoint import Scope
from services.edge.gateway import Catalog
from services.edge.spanned import Describing, Spanned
from services.edge.surface import Surface

if TYPE_CHECKING:
    from libs.common.telemetry.tracing import Tracing


class Spanning:
    """The two places of a span: the HTTP exchange, and the answer to the message in it."""

    def __init__(self, tracing: Tracing | None, catalog: Catalog, policy: Policy) -> None:
        self._tracing = tracing
        self._describing = Describing(catalog, policy)

    def endpoint(self, app: ASGIApp, route: str) -> ASGIApp:
        """`app`, its exchanges recorded under this route."""
        return app if self._tracing is None else Arrivals(app, self._tracing, route)

    def surface(self, find: Callable[[Scope], Surface]) -> Callable[[Scope], Surface]:
        """`find`, the answers of what it finds recorded."""
        tracing, describing = self._tracing, self._describing
        if tracing is None:
            return find

        def found(scope: Scope) -> Surface:
            return Spanned(find(scope), tracing, describing)

        return found
