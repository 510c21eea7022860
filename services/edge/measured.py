"""The outermost layer of HTTP: how long each request took to the end of its answer, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.common.meters import OTHER, families

GONE = 499
"""For a request whose client left before there was a status."""
UNKNOWN = "unknown"
"""The route of a path that nobody answers at."""
_VERBS = frozenset({"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"})


class Measured:
    """Around an application, whose paths are known by their endpoints.

    Requests to the `quiet` ones are not counted: probes ask there, by the second.
    """

    def __init__(self, app: ASGIApp, paths: Mapping[object, str], quiet: Collection[str | None]) -> None:
        self._app = app
        self._paths = paths
        self._quiet = quiet

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.perf_counter(), GONE

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, told)
        finally:
            self._count(scope, status, time.perf_counter() - began)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        path = self._paths.get(scope.get("endpoint"), UNKNOWN)
        if path not in self._quiet:
            verb = scope["method"]
            cell = families.HTTP.cell(verb if verb in _VERBS else OTHER, path, str(status))
            cell.observe(seconds)
