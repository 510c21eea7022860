"""What this replica knows without asking: live workers, the catalog, ended sessions."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import structlog
from msgspec import Struct

from libs.common import bus as buses
from libs.common.codec import encode
from libs.common.errors import BusUnavailable
from libs.common.fleet import Fleet, Status
from libs.common.identity import ANONYMOUS, Principal
from libs.common.kv import Bucket
from libs.common.messages.catalog import Listing
from libs.common.snapshot import Snapshot
from services.edge.gateway import Bus, Note, ServerStatus
from services.edge.lag import Lag
from services.edge.peers import Peers
from services.edge.personal import Personal

log = structlog.get_logger("state")

END = ".end"
NOTE = ".note"
PUT_WITHIN = 1.0
"""Seconds for the bucket to take what became of a session: its client waits."""


class Tombstone(Struct, frozen=True, omit_defaults=True):
    """What became of a session: one value of `nexus-sessions`.

    Its end and its note are two keys, so that no note written elsewhere at that moment undoes an end.
    """

    until: float
    """Seconds since the epoch; the session's token is expired then anyway."""
    ended: bool = True
    note: Note = Note()


class State:
    """`Catalog` from KV snapshots. An async context manager: one of the replicas that hear of each other."""

    def __init__(
        self,
        bus: buses.Bus,
        fleet: Fleet,
        listings: Snapshot[Listing],
        sessions: Bucket,
        tombstones: Snapshot[Tombstone],
        personal: Personal | None = None,
    ) -> None:
        self._personal = personal
        self._bus = bus
        self._fleet = fleet
        self._listings = listings
        self._sessions = sessions
        self._tombstones = tombstones
        self._ended: dict[str, float] = {}
        self._own: dict[str, tuple[float, Tombstone]] = {}
        self._configured = frozenset(fleet.configured)
        self._watchers: set[Callable[[], None]] = set()
        listings.listen(self._changed)
        self._peers = Peers(bus, self.learn)
        self._lag = Lag(bus, tombstones)
        tombstones.listen(self._stored)

    async def __aenter__(self) -> Self:
        await self._peers.__aenter__()
        self._lag.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lag.__exit__(kind, error, trace)
        if self._personal is not None:
            await self._personal.close()
        await self._peers.__aexit__(kind, error, trace)

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

    def listing(self, server: str, principal: Principal = ANONYMOUS) -> Listing | None:
        if self._personal is not None and self._personal.lists(server):
            return self._personal.listing(server, principal)
        return self._listings.values.get(server) if server in self._configured else None

    async def prepare(self, servers: Sequence[str], principal: Principal) -> None:
        if self._personal is not None:
            await self._personal.prepare(servers, principal)

    def personal(self, principal: Principal) -> Sequence[Listing]:
        return () if self._personal is None else self._personal.listings(principal)

    def own(self, name: str, principal: Principal) -> str:
        return "" if self._personal is None else self._personal.own(name, principal)

    async def current(self) -> None:
        await self._lag.current()

    def tombstoned(self, session: str) -> bool:
        return session in self._ended or session + END in self._tombstones.values

    async def bury(self, session: str, ttl: float) -> None:
        until = time.time() + ttl
        self.learn(session, until)
        try:
            await self._put(session + END, Tombstone(until))
        except BusUnavailable:
            self._ended.pop(session, None)
            raise
        await self._peers.ended(session, until)

    def learn(self, session: str, until: float) -> None:
        """A session is over, told before the bucket tells it."""
        now = time.time()
        self._ended = {each: end for each, end in self._ended.items() if end > now}
        if not self.tombstoned(session):
            self._ended[session] = until

    def noted(self, session: str) -> Note:
        """What was said last; of our own words, those that have not come back from the bucket yet."""
        key = session + NOTE
        revision, own = self._own.get(key, (0.0, None))
        known = self._tombstones.values.get(key)
        if own is not None and self._tombstones.revisions.get(key, 0) < revision:
            known = own
        return Note() if known is None else known.note

    async def note(self, session: str, note: Note, ttl: float) -> None:
        if self.tombstoned(session):
            return
        now = time.time()
        key, fact = session + NOTE, Tombstone(now + ttl, ended=False, note=note)
        self._own = {each: own for each, own in self._own.items() if own[1].until > now}
        self._own[key] = (math.inf, fact)
        try:
            revision = await self._put(key, fact)
        except BusUnavailable as error:
            log.warning("a change of a session is known on this replica only", reason=error.message)
        else:
            self._confirm(key, fact, revision)

    def _confirm(self, key: str, fact: Tombstone, revision: int) -> None:
        """Our word counts until the bucket has told it, or a later one."""
        if self._own.get(key, (0, None))[1] is not fact:
            return
        if self._tombstones.revisions.get(key, 0) >= revision:
            del self._own[key]
        else:
            self._own[key] = (revision, fact)

    async def _put(self, key: str, fact: Tombstone) -> int:
        if not self._bus.connected:
            raise BusUnavailable("the gateway has lost its message bus; try again in a moment")
        try:
            async with asyncio.timeout(PUT_WITHIN):
                return await self._sessions.put(key, encode(fact))
        except TimeoutError:
            raise BusUnavailable(f"the message bus did not keep it within {PUT_WITHIN:g} s") from None

    def _stored(self, key: str, fact: Tombstone | None) -> None:
        session = key.removesuffix(END)
        if fact is not None and session != key:
            self._ended.pop(session, None)
        if key in self._own and self._tombstones.revisions.get(key, 0) >= self._own[key][0]:
            del self._own[key]


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
