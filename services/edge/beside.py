"""Who asks for a page beside MCP: what is done with credentials there is written down as well."""

from __future__ import annotations

from libs.common.identity import Principal
from services.edge.auth.refusal import AuthRefused
from services.edge.gateway import Identify, Visit
from services.edge.scribe import Scribe
from services.edge.streams import Header
from services.edge.visitor import Visitor, welcome


class Beside:
    """`Identify` before another one. Who sends no credentials is not told of: probes have none."""

    def __init__(self, identify: Identify, scribe: Scribe, path: str) -> None:
        self._identify = identify
        self._scribe = scribe
        self._path = path

    async def __call__(self, visit: Visit) -> Principal:
        visitor = Visitor(self._scribe, "GET", self._path, address=visit.address, headers=visit.headers)
        self._scribe.know(visitor)
        welcome(visitor)
        try:
            visitor.principal = await self._identify(visit)
        except AuthRefused as refused:
            if refused.sent:
                self._scribe.refuse(visitor, refused)
            raise
        self._scribe.accept(visitor)
        return visitor.principal

    def challenge(self, route: str, scopes: tuple[str, ...], error: str) -> list[Header]:
        return self._identify.challenge(route, scopes, error)
