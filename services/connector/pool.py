"""The live sessions of this worker, and its record for the fleet."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import structlog

from libs.common.codec import encode
from libs.common.errors import BusUnavailable, ServerUnavailable
from libs.common.kv import Bucket
from libs.common.messages.catalog import Held, State, Worker
from services.connector.delegation import Delegation
from services.connector.live import Live
from services.connector.private import Private

log = structlog.get_logger("pool")

BEAT = 1.0
"""Seconds between two puts of the worker's record."""
PATIENCE = 1.5
"""Seconds for one put: what a broker that died has not answered is put again at its successor."""


class Pool:
    """What this worker holds: sessions by server, and what it says of each in its record."""

    def __init__(self, bucket: Bucket, worker: str) -> None:
        self.worker = worker
        self._bucket = bucket
        self._live: dict[str, list[Live]] = {}
        self.private: dict[str, Private] = {}
        """The callers' own sessions, of servers that have such."""
        self.delegated: dict[str, Delegation] = {}
        """The same of servers that get tokens of callers."""
        self._held: dict[tuple[str, int], Held] = {}
        self._changed = asyncio.Event()
        self._draining = False
        self.closing = asyncio.Event()
        """Set when this worker drains: what has no end of its own ends now."""

    def pick(self, server: str) -> Live:
        """The least busy session of `server`; raises `ServerUnavailable` if there is none."""
        sessions = self._live.get(server)
        if not sessions:
            raise ServerUnavailable(f'this connector no longer holds server "{server}"', server=server)
        if len(sessions) == 1:
            return sessions[0]
        # Where a call waits for its client, a question of another one might be taken for its.
        return min(sessions, key=lambda each: (each.parked, each.running))

    def owned(self) -> int:
        """How many instances are this worker's to keep, whether they are ready or not."""
        return sum(held.state in ("starting", "ready", "failed") for held in self._held.values())

    def add(self, server: str, live: Live) -> None:
        self._live.setdefault(server, []).append(live)

    def remove(self, server: str, live: Live) -> None:
        """Forget a session."""
        sessions = self._live.get(server, [])
        if live in sessions:
            sessions.remove(live)

    def say(self, server: str, slot: int, state: State, **facts: object) -> None:
        """Record what happened to one instance; the fleet knows within moments."""
        before = self._held.get((server, slot))
        since = before.since if before is not None and before.state == state else time.time()
        known = {"restarts": before.restarts, "kind": before.kind} if before is not None else {}
        # The names are those of `Held`, whose fields the checker cannot see through `**`.
        self._held[server, slot] = Held(state, since, **{**known, **facts})  # type: ignore[arg-type]
        self._changed.set()

    def states(self) -> list[tuple[str, State]]:
        """The state of every instance, with its server."""
        return [(server, held.state) for (server, _), held in self._held.items()]

    def restarts(self) -> Counter[str]:
        """How often sessions failed, by server."""
        said: Counter[str] = Counter()
        for (server, _), held in self._held.items():
            said[server] += held.restarts
        return said

    def sessions(self) -> Iterator[tuple[str, int, int]]:
        """Servers, each with its sessions for everybody and those of single callers."""
        for server in {name for name, _ in self._held}:
            own = self.private.get(server), self.delegated.get(server)
            yield server, len(self._live.get(server, ())), sum(len(each) for each in own if each is not None)

    def drain(self) -> None:
        """Tell the fleet to send nothing more."""
        self._draining = True
        self.closing.set()
        self._changed.set()

    def record(self) -> Worker:
        """This worker as the fleet sees it: of several instances of a server, the best one speaks."""
        servers: dict[str, Held] = {}
        order = ("ready", "starting", "failed", "standby", "stopped")
        for (server, _), held in sorted(self._held.items(), key=lambda item: -order.index(item[1].state)):
            servers[server] = held
        return Worker(self.worker, servers, self._draining)

    async def beat(self) -> None:
        """Put the record every second, and at once when it changes; the owner task's body."""
        while True:
            self._changed.clear()
            with suppress(BusUnavailable, TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._bucket.put(self.worker, encode(self.record()))
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT):
                    await self._changed.wait()

    async def leave(self) -> None:
        """Take the record away; bounded in time."""
        with suppress(BusUnavailable, TimeoutError):
            async with asyncio.timeout(BEAT):
                await self._bucket.delete(self.worker)
