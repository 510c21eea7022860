"""A shared storage that may go away: what happens meanwhile, and how it comes back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import structlog

from libs.common.config import OnStorageError
from libs.common.meters import families
from services.router.limits.limit import Level, Reading, Shared, Storage, StorageDown

log = structlog.get_logger("limits")

FIRST = 0.1
LAST = 1.0
"""Seconds between two tries to reach a storage that is down: at first, and at most."""


class Fallback:
    """`Storage` that asks `remote` while it answers, and follows `policy` while it does not."""

    def __init__(self, remote: Shared, local: Storage, policy: OnStorageError) -> None:
        self._remote = remote
        self._local = local
        self._policy = policy
        self._down = asyncio.Event()
        families.STORAGE.cell().set(1)

    @property
    def waits(self) -> bool:
        return not self._down.is_set()

    async def take(self, levels: Sequence[Level]) -> list[Reading]:
        """No reading at all means that nothing is limited. Raises `StorageDown` if that is the policy."""
        if not self._down.is_set():
            try:
                return await self._remote.take(levels)
            except StorageDown as error:
                self.lose(error)
        return await self._alone(levels)

    def lose(self, error: StorageDown) -> None:
        """From now on, until `run` has reached it, the storage is not asked."""
        if not self._down.is_set():
            log.error("the storage of rate limits is down", error=str(error), meanwhile=self._policy)
            self._down.set()
            families.STORAGE.cell().set(0)

    async def run(self) -> None:
        """Bring back what was lost, until cancelled."""
        while True:
            await self._down.wait()
            await self._return()
            self._down.clear()
            families.STORAGE.cell().set(1)
            log.warning("the storage of rate limits is back")

    async def _alone(self, levels: Sequence[Level]) -> list[Reading]:
        match self._policy:
            case "local-share":
                return await self._local.take(levels)
            case "allow":
                return []
            case "deny":
                raise StorageDown("the storage of rate limits is down")

    async def _return(self) -> None:
        pause = FIRST
        while True:
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 (spreads tries, guards nothing)
            try:
                return await self._remote.probe()
            except StorageDown as error:
                log.debug("the storage of rate limits is still down", error=str(error))
            pause = min(LAST, pause * 2)
