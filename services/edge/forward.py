"""What the aggregate sends to one server for a client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Raw

from libs.common.codec import raw
from libs.common.messages.calls import CallServer, ExecuteTool
from libs.common.naming import SEPARATOR
from services.edge.attributed import attributed
from services.edge.gateway import Catalog, Gateway
from services.edge.parked import Parked
from services.edge.settings import Settings
from services.edge.surface import Ask


class Forward:
    """Sends what is asked with other params, and gives back what the server answers."""

    def __init__(
        self, gateway: Gateway, catalog: Catalog, settings: Settings, parked: Parked, route: str
    ) -> None:
        self._catalog = catalog
        self._gateway = gateway
        self._parked = parked
        self._settings = settings
        self._route = route

    async def execute(self, ask: Ask, name: str, params: Mapping[str, Any]) -> Raw:
        """The result of the tool with this exposed name."""
        server = name.partition(SEPARATOR)[0]
        worker, params = self._parked.redeem(params, ask.principal, self._route)
        message = ExecuteTool(
            name=name,
            deadline=self._settings.deadline(server),
            params=raw(params),
            principal=ask.principal,
            client=ask.client,
            progress=ask.progress,
            worker=worker,
            trace=ask.trace,
            headers=self._settings.carried(server, ask.headers),
            own=self._catalog.own(name, ask.principal),
        )
        return await self._request(ask, server, message)

    async def call(self, ask: Ask, server: str, params: Mapping[str, Any]) -> Raw:
        """The result of the same method of `server`."""
        worker, params = self._parked.redeem(params, ask.principal, self._route)
        message = CallServer(
            server=server,
            method=ask.method,
            deadline=self._settings.deadline(server),
            params=raw(params),
            principal=ask.principal,
            client=ask.client,
            progress=ask.progress,
            worker=worker,
            trace=ask.trace,
            headers=self._settings.carried(server, ask.headers),
        )
        return await self._request(ask, server, message)

    async def _request(self, ask: Ask, server: str, message: ExecuteTool | CallServer) -> Raw:
        result = await self._gateway.request(message, on_event=attributed(ask.on_event, server))
        return self._parked.issue(result, ask.principal, self._route)
