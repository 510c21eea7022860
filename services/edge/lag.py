"""Whether this replica may have slept through what others told it.

A process that the machine has stopped for a while answers nobody; when it goes on, requests and news lie in
its sockets side by side. It then looks at the news first.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any, Self

import structlog

from libs.common.bus import Bus
from libs.common.errors import BusUnavailable
from libs.common.snapshot import Snapshot

log = structlog.get_logger("edge")

TICK = 0.1
LATE = 0.2
"""Seconds between two ticks from which on the loop stood still: less than others wait for us (`peers`)."""
PATIENCE = 1.0
"""Seconds to catch up; a bus that takes longer is away, and there is nothing to be heard."""


class Lag:
    """Watches the loop while entered. `watched` are snapshots that must have been read anew."""

    def __init__(self, bus: Bus, *watched: Snapshot[Any]) -> None:
        self._bus = bus
        self._watched = watched
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._catching: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._last = time.monotonic()
        self._schedule()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._catching is not None:
            self._catching.cancel()

    async def current(self) -> None:
        """Return once this replica knows what was told before; at once, unless it was asleep."""
        if time.monotonic() - self._last > LATE:
            self._awake()
        if self._catching is not None:
            await asyncio.wait({self._catching})
        elif self._bus.connected and not all(each.ready.is_set() for each in self._watched):
            await self._reread()

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)

    def _tick(self) -> None:
        if time.monotonic() - self._last > LATE:
            self._awake()
        self._last = time.monotonic()
        self._schedule()

    def _awake(self) -> None:
        self._last = time.monotonic()
        if self._catching is None:
            self._catching = asyncio.create_task(self._catch_up())

    async def _catch_up(self) -> None:
        """What was published before we ask arrives before our own echo."""
        try:
            if self._bus.connected:
                await self._bus.settled(PATIENCE)
        except BusUnavailable as error:
            log.debug("caught up with nothing", reason=error.message)
        finally:
            self._catching = None

    async def _reread(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                for each in self._watched:
                    await each.ready.wait()
        except TimeoutError:
            log.warning("shared state was not read in time after a reconnection")
