"""Group commit: one fdatasync for everybody who waits for one, off the event loop."""

from __future__ import annotations

import asyncio
import errno
import os
from concurrent.futures import ThreadPoolExecutor

from libs.common.audit.spool import Spool


class Commit:
    """Makes appended bytes durable. While one sync runs, all who come meanwhile share the next."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "audit-sync")
        self._running: asyncio.Future[None] | None = None

    async def upto(self, spool: Spool, position: int) -> None:
        """Return when everything before `position` is on the disk. Raises `OSError`."""
        while spool.synced < position or spool.unsure(position):
            if spool.unsure(position):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            if self._running is None or self._running.done():
                loop = asyncio.get_running_loop()
                self._running = loop.run_in_executor(self._thread, spool.syncing())
            await asyncio.shield(self._running)

    async def close(self) -> None:
        """Wait for a sync that runs."""
        if self._running is not None:
            await asyncio.wait([self._running])
        self._thread.shutdown(wait=False)
