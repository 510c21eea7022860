"""Where a call goes: to whoever holds the server, or to the one worker that keeps what it belongs to."""

from __future__ import annotations

import time
from collections.abc import Mapping

from libs.common import sharing, subjects
from libs.common.config import Keeping
from libs.common.errors import ServerUnavailable
from libs.common.fleet import Fleet
from libs.common.messages.calls import CallServer, Client, ExecuteTool, ListServer, NotifyServer

Routed = ExecuteTool | CallServer | ListServer | NotifyServer


class Placement:
    """Decides by what it is told of the fleet; two routers that know the same decide alike."""

    def __init__(self, fleet: Fleet, keepings: Mapping[str, Keeping]) -> None:
        self._fleet = fleet
        self._keepings = keepings

    def subject(self, server: str, request: Routed) -> str:
        """Of any connector that holds `server`, of the one that keeps the caller's session with it, or of the
        one that has begun the call.

        Raises `ServerUnavailable`.
        """
        client = Client()
        if isinstance(request, ExecuteTool | CallServer):
            if request.worker:
                return subjects.worker(request.worker)
            client = request.client
        holders = self._fleet.holders(server)
        if not holders:
            raise ServerUnavailable(self._fleet.why(server, time.time()), server=server)
        owner = sharing.owner(self._keepings.get(server, "shared"), request.principal, client)
        if not owner:
            return subjects.call(server)
        return subjects.worker(sharing.keeper(server, owner, holders))
