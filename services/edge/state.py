"""What this replica knows without asking: live workers, the catalog, ended sessions."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog
from msgspec import Struct

from libs.common import bus as buses
from libs.common.codec import encode
from libs.common.errors import BusUnavailable
from libs.common.fleet import Fleet, Status
from libs.common.kv import Bucket, Snapshot
from libs.common.messages.catalog import Listing
from services.edge.gateway import Bus, ServerStatus

log = structlog.get_logger("state")


class Tombstone(Struct, frozen=True):
    """An ended session: one value of `nexus-sessions`."""

    until: float
    """Seconds since the epoch; the session's token is expired then anyway."""


class State:
    """`Catalog` from KV snapshots."""

    def __init__(
        self,
        bus: buses.Bus,
        fleet: Fleet,
        listings: Snapshot[Listing],
        sessions: Bucket,
        tombstones: Snapshot[Tombstone],
    ) -> None:
        self._bus = bus
        self._fleet = fleet
        self._listings = listings
        self._sessions = sessions
        self._tombstones = tombstones
        self._buried: dict[str, float] = {}
        self._configured = frozenset(fleet.configured)

    def bus(self) -> Bus:
        return "connected" if self._bus.connected else "reconnecting"

    def servers(self) -> Sequence[ServerStatus]:
        return [_status(each) for each in self._fleet.statuses()]

    def listing(self, server: str) -> Listing | None:
        return self._listings.values.get(server) if server in self._configured else None

    def tombstoned(self, session: str) -> bool:
        return session in self._buried or session in self._tombstones.values

    async def bury(self, session: str, ttl: float) -> None:
        now = time.time()
        self._buried = {key: until for key, until in self._buried.items() if until > now}
        self._buried[session] = now + ttl
        try:
            await self._sessions.put(session, encode(Tombstone(now + ttl)))
        except BusUnavailable as error:
            log.warning("session ended on this replica only", reason=error.message)


def _status(status: Status) -> ServerStatus:
    return ServerStatus(
        name=status.name,
        state=status.state,
        tools=status.tools,
        since=status.since,
        error="; its stderr ends: ".join(filter(None, (status.error, status.detail))),
        workers=status.workers,
    )
