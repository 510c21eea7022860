"""Events that only memory has: the disk takes nothing, the stream is there."""

from __future__ import annotations

import asyncio
from collections import deque

from libs.common.audit.spool import born

ROOM = 8 * 2**20
"""Bytes that may wait."""
BATCH = 200


class Held:
    """A short queue for the shipper, bounded, each event with a future that says when it is stored."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[bytes, asyncio.Future[None]]] = deque()
        self.acked = self.end = 0

    @property
    def backlog(self) -> int:
        return self.end - self.acked

    @property
    def room(self) -> bool:
        return self.backlog < ROOM

    def append(self, data: bytes) -> asyncio.Future[None]:
        """Keep one record; done when the stream has it."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((data, stored))
        self.end += len(data)
        return stored

    def read(self, position: int) -> bytes:
        """The first records, at most a batch of them."""
        return b"".join(data for data, _ in list(self._waiting)[:BATCH])

    def after(self, position: int) -> int | None:
        return None

    def ack(self, position: int) -> None:
        """Forget records before `position`: they are stored."""
        while self._waiting and self.acked + len(self._waiting[0][0]) <= position:
            data, stored = self._waiting.popleft()
            self.acked += len(data)
            if not stored.done():
                stored.set_result(None)

    def oldest(self) -> float:
        return born(self._waiting[0][0]) if self._waiting else 0.0
