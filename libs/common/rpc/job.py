"""One running call, and what its server tells of it on the way to whoever waits."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Raw
from nats.errors import Error as NatsError

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.codec import encode
from libs.common.errors import BusUnavailable
from libs.common.messages.calls import Event
from libs.common.telemetry.methods import noticed

if TYPE_CHECKING:
    from libs.common.telemetry.spans import Span

EVENTS_MAX = 256
"""Events of one call that may wait to be sent; more are dropped, as progress may be."""
EVENTS_BYTES = 8 * 1024 * 1024
"""Bytes of these; the newest waits whatever its size."""
GATHER = 0.02
"""Seconds in which further events of a call wait, to be sent together: each frame wakes three processes."""
GATHERED_MAX = 256 * 1024
"""Bytes of events in one frame, but for a single one that is larger."""


class Job:
    """One running call, as its handler sees it."""

    __slots__ = (
        "_bus",
        "_due",
        "_ended",
        "_size",
        "cancelled",
        "events",
        "id",
        "inbox",
        "pump",
        "reply",
        "span",
        "stands",
        "task",
    )

    def __init__(self, bus: Bus, reply: str) -> None:
        self.reply = subjects.asker(reply)
        self.inbox, _, self.id = self.reply.rpartition(".")
        self.cancelled = False
        self.stands = False
        self.span: Span | None = None
        self.events: deque[Raw] = deque()
        self.pump: asyncio.Task[None] | None = None
        self.task: asyncio.Task[None] | None = None
        self._bus = bus
        self._ended = False
        self._size = 0

    def event(self, message: Raw) -> None:
        """Send a raw message to the caller, in order, before the final answer. Never blocks.

        The first one leaves at once; those that follow it within 20 ms leave together.
        """
        if self.span is not None:
            self.span.event("notification", noticed(message))
        self._keep(message)
        if self.pump is None or self.pump.done():
            self._due = asyncio.Event()
            self.pump = asyncio.create_task(self._drain_events())
        elif len(self.events) > EVENTS_MAX // 2:
            self._due.set()

    def _keep(self, message: Raw) -> None:
        """Let it wait; of a server that tells more than can leave, the oldest are dropped."""
        self._size += len(bytes(message))
        while self.events and (len(self.events) >= EVENTS_MAX or self._size > EVENTS_BYTES):
            self._take()
        self.events.append(message)

    def _take(self) -> Raw:
        event = self.events.popleft()
        self._size -= len(bytes(event))
        return event

    async def flushed(self) -> None:
        """Returns when every event so far is on its way."""
        if self.pump is not None:
            await asyncio.wait({self.pump})

    async def told(self) -> None:
        """Returns when every event is on its way; there are no more."""
        self._ended = True
        if self.pump is not None:
            self._due.set()
            await self.pump

    def hush(self) -> None:
        """Send no more events: nobody listens."""
        if self.pump is not None:
            self.pump.cancel()

    async def _drain_events(self) -> None:
        while self.events:
            with suppress(BusUnavailable, NatsError):
                await self._bus.publish(self.reply, encode(self._gathered()))
            await self._gather()

    def _gathered(self) -> Event:
        events = self.events
        first, more = self._take(), []
        size = len(bytes(first))
        while events and (size := size + len(bytes(events[0]))) <= GATHERED_MAX:
            more.append(self._take())
        return Event(first, tuple(more))

    async def _gather(self) -> None:
        if self._ended:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER):
                await self._due.wait()
        self._due.clear()
