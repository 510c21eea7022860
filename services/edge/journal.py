"""Streams that a client may take up again: what was sent, kept where every replica finds it.

Only what streams is kept: a call that is answered at once leaves nothing. Messages of a stream are written
together, without waiting for the broker; what a replica had not written when it died is lost.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog
from msgspec import Raw
from nats.errors import Error as NatsError
from nats.js.api import DiscardPolicy, StorageType, StreamConfig
from nats.js.errors import APIError

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.codec import encode
from libs.common.declare import declare_stream
from libs.common.errors import BusUnavailable
from libs.common.messages.streams import Kept
from services.edge.replay import STANDS, Place, Replay

log = structlog.get_logger("edge")

FLUSH = 0.05
"""Seconds between two writes: at most so much of a stream dies with its replica."""
AGE_MAX = 300.0
"""Seconds that messages are kept."""
RECORDS_MAX = 1000
"""Writes that are kept of one stream."""
BYTES_MAX = 256 * 1024 * 1024
"""Of all streams together; the oldest go first."""
ROOM = 4096
"""Bytes of a message on the bus that are not its events."""
RETRY = b"1000"
"""Milliseconds after which a client should come back."""
ABANDONED = 30.0
"""Seconds after which a client that hung up is not expected any more."""

CONFIG = StreamConfig(
    name=subjects.EVENT_STREAM,
    subjects=[subjects.EVENTS],
    storage=StorageType.MEMORY,
    discard=DiscardPolicy.OLD,
    max_age=AGE_MAX,
    max_bytes=BYTES_MAX,
    max_msgs_per_subject=RECORDS_MAX,
    allow_direct=True,
)


class Journal:
    """One stream: gives its messages their ids, and has them kept until `end`."""

    __slots__ = (
        "_first",
        "_journals",
        "_pending",
        "_primes",
        "asked",
        "on_leave",
        "over",
        "requests",
        "stream",
    )

    def __init__(self, journals: Journals, stream: str, requests: tuple[Raw, ...], *, primes: bool) -> None:
        self.stream = stream
        self.requests = requests
        self.asked = time.monotonic()
        self.on_leave: Callable[[], object] | None = None
        self.over = False
        self._journals = journals
        self._primes = primes
        self._first = 1
        self._pending: list[Raw] = []

    def head(self) -> bytes:
        """The event that tells a client how to come back before anything was said; empty for old ones."""
        self._journals.changed(self)
        return b"id: %b\nretry: %b\ndata: \n\n" % (self._label(0), RETRY) if self._primes else b""

    def add(self, message: bytes) -> bytes:
        """Keep one JSON-RPC message; returns the id of its event."""
        self._pending.append(Raw(message))
        self._journals.changed(self)
        return self._label(self._first + len(self._pending) - 1)

    def end(self, *, answered: bool = True) -> None:
        """Nothing comes any more; `answered` unless that is how it was to end."""
        if self.over:
            return
        self.over = True
        if not answered:
            self.requests = ()
        self._journals.changed(self)

    def take(self, limit: int) -> list[Kept]:
        """What is to be written, each at most about `limit` bytes; what is larger alone is left out."""
        events, first = self._pending, self._first
        self._pending, self._first = [], first + len(events)
        if sum(map(_size, events)) <= limit:
            return [Kept(first, tuple(events), self.requests, self.over)]
        small = [(first + n, each) for n, each in enumerate(events) if _size(each) <= limit]
        kept = [Kept(number, (each,), self.requests) for number, each in small]
        return [*kept, Kept(self._first, (), self.requests, self.over)]

    async def abandoned(self) -> None:
        """Return when the client, which hung up, has not been back for 30 s."""
        self.asked = time.monotonic()
        rest = ABANDONED
        while rest > 0:
            await asyncio.sleep(rest)
            rest = self.asked + ABANDONED - time.monotonic()

    def _label(self, number: int) -> bytes:
        return b"%b-%d" % (self.stream.partition("-")[2].encode(), number)


class Journals:
    """The open streams of this replica. An async context manager: it writes while entered."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._numbers = itertools.count(1)
        self._open: dict[str, Journal] = {}
        self._dirty: dict[str, Journal] = {}
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self._declared = False
        self._writer: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._open)

    async def __aenter__(self) -> Self:
        self._bus.on_reconnect(self._lost)
        self._wake.set()
        self._writer = asyncio.create_task(self._run(), name="journals")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        await self._write()

    def start(self, session: str, requests: tuple[Raw, ...] | None, *, primes: bool) -> Journal:
        """The journal of a new stream, of one that stands if it answers no requests.

        `primes` if its client knows events without data.
        """
        kind = STANDS if requests is None else ""
        stream = f"{session}-{self._bus.client}-{kind}{next(self._numbers):x}"
        journal = self._open[stream] = Journal(self, stream, requests or (), primes=primes)
        return journal

    def replay(self, place: Place, *, leave: bool = False) -> Replay:
        """The stream of any replica, from `place` on."""
        return Replay(self._bus, place, leave=leave)

    def changed(self, journal: Journal) -> None:
        """Have it written soon."""
        self._dirty[journal.stream] = journal
        if journal.over:
            self._open.pop(journal.stream, None)
        self._wake.set()

    async def asked(self, stream: str, *, leave: bool) -> bool:
        """Write what there is of a stream; whether more is to come."""
        journal = self._open.get(stream)
        if journal is not None:
            journal.asked = time.monotonic()
            if leave and journal.on_leave is not None:
                journal.on_leave()
        if not self._declared:
            await self._declare()
        await self._write()
        return journal is not None

    def _lost(self) -> None:
        """The broker may have forgotten what it held in memory."""
        self._declared = False
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._declared:
                await self._declare()
            await self._write()
            await asyncio.sleep(FLUSH)

    async def _declare(self) -> None:
        try:
            await declare_stream(self._bus, CONFIG)
            self._declared = True
        except (NatsError, APIError, TimeoutError) as error:
            log.warning("streams cannot be kept for clients that come back", error=str(error))

    async def _write(self) -> None:
        """On return all that was said before is with the broker, whoever has written it."""
        async with self._writing:
            dirty, self._dirty = self._dirty, {}
            for journal in dirty.values():
                for kept in journal.take(self._bus.max_payload - ROOM):
                    await self._publish(journal.stream, kept)

    async def _publish(self, stream: str, kept: Kept) -> None:
        try:
            await self._bus.publish(subjects.stream(stream), encode(kept))
        except (BusUnavailable, NatsError) as error:
            log.debug("messages of a stream were not kept", error=str(error))


def _size(event: Raw) -> int:
    return len(bytes(event)) + 1
