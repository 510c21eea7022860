"""A durable consumer's messages, asked for batch by batch.

Nothing arrives that was not asked for, so what waits in memory is one batch, however long nobody takes it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import msgspec
import structlog
from nats.aio.subscription import Subscription

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.errors import BusUnavailable

log = structlog.get_logger("pull")

EVENTS = 500
SIZE = 1024 * 1024
"""Bytes of one batch, headers included; one event that is larger comes alone."""
EXPIRES = 5.0
"""Seconds that the broker remembers what we asked for."""
OVERDUE = 2.0
"""Seconds beyond that until we ask again: the question, or the word that it is over, was lost."""
QUIET = 0.02
"""Seconds without another message that end a batch which is not full."""
RETRY = 0.25
KEEP_EVERY = 3.0
"""Seconds between two words that a batch is still worked on."""
KEPT, RETURNED = b"+WPI", b"-NAK"
_STATUS = b"NATS/1.0 "
_UID = b"\r\nNats-Msg-Id:"


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """One event that came out of the stream."""

    subject: str
    uid: str
    """`metadata.uid` of the event: what a receiver tells two deliveries of one event by."""
    sequence: int
    """Its place in the stream `AUDIT`."""
    data: bytes
    """The event as it was recorded: canonical JSON on one line."""
    tries: int
    """Which delivery this is, from 1."""
    stored: float = 0.0
    """When the stream took it in: seconds since the epoch."""
    reply: str = ""
    """Where the stream is told what came of it; for whoever acknowledges."""


class ConsumerGone(Exception):
    """The broker does not know the consumer; whoever owns it makes it again."""


class Pull:
    """The reading end of one durable consumer."""

    def __init__(
        self, bus: Bus, stream: str, consumer: str, *, events: int = EVENTS, size: int = SIZE
    ) -> None:
        self.pending = 0
        """Events behind the last one that came, as the broker said then."""
        self._bus = bus
        self._ask = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = subjects.inbox(bus.role, secrets.token_hex(6))
        self._events = events
        self._size = size
        self._sub: Subscription | None = None
        self._waiting: list[Delivery] = []
        self._held: Sequence[Delivery] = ()
        self._arrived = asyncio.Event()
        self._number = 0
        self._credit = 0
        self._until = 0.0
        self._barren = False
        self._gone = False
        bus.on_reconnect(self._forget)

    async def open(self) -> None:
        """Listen for what will be asked. Raises `BusUnavailable`."""
        if self._sub is None:
            self._sub = await self._bus.receive(f"{self._inbox}.*", self._on_message)

    async def close(self) -> None:
        """Stop listening, and give back what nobody took."""
        if self._sub is not None:
            await self._bus.drop(self._sub)
            self._sub = None
        # Only now: while anybody listened, they would come back here.
        await self._say((*self._held, *self._waiting), RETURNED)
        self._held, self._waiting = (), []

    @asynccontextmanager
    async def holding(self, batch: Sequence[Delivery]) -> AsyncIterator[None]:
        """Keep a batch ours for as long as this is entered; `close` gives it back if it was left by an error.

        Without it the broker gives it to somebody else when the consumer's time to acknowledge is over.
        """
        self._held = batch
        keeper = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.wait({keeper})
        self._held = ()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(KEEP_EVERY)
            await self._say((*self._held, *self._waiting), KEPT)

    async def _say(self, batch: Sequence[Delivery], word: bytes) -> None:
        # Unheard, it only means that events come once more, or later.
        with suppress(BusUnavailable):
            for each in batch:
                await self._bus.publish(each.reply, word)

    async def batch(self, timeout: float | None = None) -> list[Delivery]:
        """What came next: at least one event, or nothing after `timeout` seconds. Raises `ConsumerGone`."""
        await self.open()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not self._waiting:
                    await self._wanted()
                    await self._next(max(0.0, self._until - time.monotonic()))
                while self._credit > 0 and await self._next(QUIET):
                    pass
        got, self._waiting = self._waiting, []
        return got

    async def _wanted(self) -> None:
        """Make sure that something is asked for."""
        if self._gone:
            self._gone = False
            raise ConsumerGone
        if self._credit > 0 and time.monotonic() < self._until:
            return
        self._number += 1
        question: dict[str, int] = {"batch": self._events, "expires": int(EXPIRES * 1e9)}
        # One event that is larger than a batch may be is never sent as part of one.
        question |= {"batch": 1} if self._barren else {"max_bytes": self._size}
        try:
            await self._bus.publish(self._ask, msgspec.json.encode(question), f"{self._inbox}.{self._number}")
        except BusUnavailable:
            await asyncio.sleep(RETRY)
            return
        self._credit, self._until = question["batch"], time.monotonic() + EXPIRES + OVERDUE

    async def _next(self, timeout: float) -> bool:
        """Whether anything arrived within `timeout` seconds."""
        self._arrived.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._arrived.wait()
        return self._arrived.is_set()

    def _on_message(self, subject: str, reply: str, data: bytes, headers: bytes) -> None:
        if headers.startswith(_STATUS):
            self._on_status(subject, headers[len(_STATUS) :])
        else:
            self._credit -= 1
            self._barren = False
            self._waiting.append(self._delivery(subject, reply, data, headers))
        self._arrived.set()

    def _on_status(self, subject: str, status: bytes) -> None:
        if subject != f"{self._inbox}.{self._number}":
            return
        self._barren = b"MaxBytes" in status and not self._waiting
        self._credit = 0
        # 503: nobody answers for such a consumer. 409: it was deleted, or the server leaves.
        self._gone = status.startswith(b"503") or b"Deleted" in status
        if not self._barren:
            log.debug("nothing more for now", status=status.decode(errors="replace").strip())

    def _delivery(self, subject: str, reply: str, data: bytes, headers: bytes) -> Delivery:
        # $JS.ACK.[domain.account.]stream.consumer.delivered.sequence.consumed.time.pending[.random]
        tokens = reply.split(".")
        at = 4 if len(tokens) == 9 else 6
        self.pending = int(tokens[at + 4])
        stored = int(tokens[at + 3]) / 1e9
        return Delivery(subject, _uid(headers), int(tokens[at + 1]), data, int(tokens[at]), stored, reply)

    def _forget(self) -> None:
        self._credit = 0
        self._arrived.set()


def _uid(headers: bytes) -> str:
    start = headers.find(_UID)
    if start < 0:
        return ""
    end = headers.find(b"\r", start + 2)
    return headers[start + len(_UID) : end].strip().decode(errors="replace")
