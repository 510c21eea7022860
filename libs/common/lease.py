"""Ownership of one key among all who want it, kept in a KV bucket."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog
from msgspec import Struct

from libs.common.codec import encode
from libs.common.errors import BusUnavailable
from libs.common.kv import LEASE_TTL, Bucket
from libs.common.snapshot import Snapshot

log = structlog.get_logger("lease")

REFRESH = 1.0
"""Seconds between two refreshes."""
FENCE = LEASE_TTL - 1.0
"""Seconds without a refresh after which an owner gives up by itself, before anybody else may take over."""


class Owner(Struct, frozen=True):
    """The value of a lease. `boot` tells two lives of one worker name apart."""

    worker: str
    boot: str


class Lease:
    """One key, held by one worker at a time.

    A worker that finds its own name under another boot takes over at once: whoever named it guarantees that
    the earlier life is over. Anybody else waits until the key expires (4 s after the last refresh) or is
    released. An owner that cannot refresh for 3 s treats the lease as lost, so that two never overlap.
    """

    def __init__(self, bucket: Bucket, owners: Snapshot[Owner], key: str, owner: Owner) -> None:
        self._bucket = bucket
        self._owners = owners
        self._key = key
        self._owner = owner
        self._revision = 0
        self._fresh = 0.0
        self._changed = asyncio.Event()
        owners.listen(self._on_change)

    async def acquire(self, reluctance: Callable[[], float] = lambda: 0.0) -> None:
        """Wait until the lease is ours. The seconds that `reluctance` tells are left to others first."""
        while True:
            self._changed.clear()
            await _defer(reluctance)
            if await self._try():
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESH):
                    await self._changed.wait()

    async def hold(self) -> None:
        """Refresh until the lease is lost; returns then."""
        while (left := self._left()) > 0:
            await asyncio.sleep(min(REFRESH, left))
            with suppress(BusUnavailable, TimeoutError):
                # A broker that hangs instead of refusing must not make us outlive the key.
                async with asyncio.timeout(min(REFRESH, self._left())):
                    if not await self._refresh():
                        return
        log.warning("lease lost: it could not be refreshed", lease=self._key)

    def _left(self) -> float:
        """Seconds until others may take over, less a margin."""
        return max(0.0, self._fresh + FENCE - time.monotonic())

    async def release(self) -> None:
        """Let the next one have it now; bounded in time."""
        with suppress(BusUnavailable, TimeoutError):
            async with asyncio.timeout(REFRESH):
                await self._bucket.delete(self._key, self._revision)

    async def while_owned(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Whenever the lease is ours, `work`, which is cancelled when it is lost; until cancelled."""
        while True:
            await self.acquire()
            tasks = {asyncio.create_task(self.hold()), asyncio.create_task(work())}
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await self.release()
            for task in done:
                task.result()

    async def _try(self) -> bool:
        current = self._owners.values.get(self._key)
        if current is not None and (current.worker != self._owner.worker or current.boot == self._owner.boot):
            return False
        with suppress(BusUnavailable):
            return await self._swap(self._owners.revisions.get(self._key, 0)) or await self._swap(0)
        return False

    async def _refresh(self) -> bool:
        # A broker that lost its memory has no key: whoever writes it first owns it.
        return await self._swap(self._revision) or await self._swap(0)

    async def _swap(self, revision: int) -> bool:
        asked = time.monotonic()
        got = await self._bucket.swap(self._key, encode(self._owner), revision)
        if got is None:
            return False
        self._revision, self._fresh = got, asked
        return True

    def _on_change(self, key: str, _: Owner | None) -> None:
        if key == self._key:
            self._changed.set()


async def _defer(reluctance: Callable[[], float]) -> None:
    """Wait for as long as `reluctance` tells; if it has grown meanwhile, for the rest as well."""
    waited = 0.0
    while (due := reluctance()) > waited:
        await asyncio.sleep((due - waited) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        waited = due
