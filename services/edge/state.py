"""What this replica knows without asking: live workers, the catalog, ended sessions."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import structlog
from msgspec import Struct

from libs.common import bus as buses
from libs.common.codec import encode
from libs.common.errors import BusUnavailable
from libs.common.fleet import Fleet, Status
from libs.common.kv import Bucket, Snapshot
from libs.common.messages.catalog import Listing
from services.edge.gateway import Bus, Note, ServerStatus

log = structlog.get_logger("state")


class Tombstone(Struct, frozen=True, omit_defaults=True):
    """What became of a session: one value of `nexus-sessions`."""

    until: float
    """Seconds since the epoch; the session's token is expired then anyway."""
    ended: bool = True
    note: Note = Note()


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
        self._own: dict[str, tuple[float, Tombstone]] = {}
        self._configured = frozenset(fleet.configured)
        self._watchers: set[Callable[[], None]] = set()
        listings.listen(self._changed)

    def bus(self) -> Bus:
        return "connected" if self._bus.connected else "reconnecting"

    def servers(self) -> Sequence[ServerStatus]:
        return [_status(each) for each in self._fleet.statuses()]

    def names(self) -> Sequence[str]:
        return self._fleet.configured

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._watchers.add(callback)
        return lambda: self._watchers.discard(callback)

    def _changed(self, server: str, listing: Listing | None) -> None:
        for callback in list(self._watchers):
            callback()

    def listing(self, server: str) -> Listing | None:
        return self._listings.values.get(server) if server in self._configured else None

    def tombstoned(self, session: str) -> bool:
        return (known := self._known(session)) is not None and known.ended

    async def bury(self, session: str, ttl: float) -> None:
        await self._remember(session, Tombstone(time.time() + ttl))

    def noted(self, session: str) -> Note:
        return Note() if (known := self._known(session)) is None else known.note

    async def note(self, session: str, note: Note, ttl: float) -> None:
        await self._remember(session, Tombstone(time.time() + ttl, ended=False, note=note))

    def _known(self, session: str) -> Tombstone | None:
        """What was said last; of our own words, those that have not come back from the bucket yet."""
        everywhere = self._tombstones.values.get(session)
        revision, own = self._own.get(session, (0.0, None))
        if own is None or self._tombstones.revisions.get(session, 0) >= revision:
            return everywhere
        return everywhere if everywhere is not None and everywhere.ended else own

    async def _remember(self, session: str, fact: Tombstone) -> None:
        if self.tombstoned(session):
            return
        now = time.time()
        self._own = {key: own for key, own in self._own.items() if own[1].until > now}
        self._own[session] = (math.inf, fact)
        try:
            revision = await self._sessions.put(session, encode(fact))
        except BusUnavailable as error:
            log.warning("a change of a session is known on this replica only", reason=error.message)
        else:
            if self._own.get(session, (0, None))[1] is fact:
                self._own[session] = (revision, fact)


def _status(status: Status) -> ServerStatus:
    return ServerStatus(
        name=status.name,
        state=status.state,
        tools=status.tools,
        since=status.since,
        error=status.error,
        detail=status.detail,
        workers=status.workers,
    )
