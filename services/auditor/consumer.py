"""Feeds one sink: takes a batch, delivers it, says what came of it, and takes the next one."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec
import structlog

from libs.common.audit.pull import ConsumerGone, Pull
from libs.common.bus import Bus
from libs.common.errors import BusUnavailable
from libs.common.meters import families, watching
from services.auditor.sinks.sink import Delivery, Rejected, Sink, SinkDown

log = structlog.get_logger("sinks")

BACKOFF_FIRST = 0.5
BACKOFF_MAX = 30.0
DELIVER_WITHIN = 60.0
"""Seconds a sink may take for a batch."""
REMIND = 60.0
"""Seconds between two words about a sink that is down."""

Bury = Callable[[Delivery, str], Awaitable[None]]
"""Puts an event where dead letters are kept, with what was said of it. Raises `BusUnavailable`."""
Ensure = Callable[[], Awaitable[None]]
"""Makes the consumer at the broker, if it is not there."""


@dataclass(slots=True)
class Standing:
    """How a sink does."""

    delivered: int = 0
    failures: int = 0
    rejected: int = 0
    dead: int = 0
    pending: int = 0
    """Events of the stream that it has not seen yet."""
    down: str = ""
    """What it said last, while it takes nothing."""


class Backoff:
    """Waiting times that double from 0.5 s to 30 s, with jitter, until something was taken."""

    def __init__(self) -> None:
        self._next = BACKOFF_FIRST

    def delay(self, wanted: float | None = None) -> float:
        """Seconds to wait now; at least those that were asked for, but half a minute at most."""
        delay = self._next * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
        self._next = min(self._next * 2, BACKOFF_MAX)
        return min(max(delay, wanted or 0.0), BACKOFF_MAX * 1.25)

    def reset(self) -> None:
        self._next = BACKOFF_FIRST


class Consumer:
    """Runs until cancelled. A batch that was not taken is kept and offered again; no other is asked for.

    That holds for each of `pulls`: a sink gets as many batches at a time.
    """

    def __init__(
        self,
        name: str,
        bus: Bus,
        pulls: Sequence[Pull],
        sink: Sink,
        ensure: Ensure,
        bury: Bury,
        *,
        max_tries: int,
    ) -> None:
        self.name = name
        self.standing = Standing()
        self._bus = bus
        self._pulls = pulls
        self._sink = sink
        self._ensure = ensure
        self._bury = bury
        self._max_tries = max_tries
        self._told = -REMIND

    async def run(self) -> None:
        """Deliver, batch after batch."""
        with watching(self.look):
            async with asyncio.TaskGroup() as tasks:
                for pull in self._pulls:
                    tasks.create_task(self._feed(pull))

    def look(self) -> None:
        """Set how the sink does."""
        standing = self.standing
        for outcome in ("delivered", "rejected", "dead"):
            families.SINK_EVENTS.cell(self.name, outcome).set(getattr(standing, outcome))
        families.SINK_FAILURES.cell(self.name).set(standing.failures)
        families.SINK_PENDING.cell(self.name).set(standing.pending)
        families.SINK_UP.cell(self.name).set(not standing.down)

    async def _feed(self, pull: Pull) -> None:
        backoff = Backoff()
        try:
            while True:
                try:
                    await self._once(pull, backoff)
                except (ConsumerGone, BusUnavailable) as error:
                    log.debug("consumer not there", sink=self.name, error=str(error))
                    await asyncio.sleep(backoff.delay())
                    with suppress(BusUnavailable):
                        await self._ensure()
        finally:
            await pull.close()

    async def _once(self, pull: Pull, backoff: Backoff) -> None:
        batch = await pull.batch()
        self.standing.pending = pull.pending + len(batch)
        async with pull.holding(batch):
            while (down := await self._offered(batch)) is not None:
                await self._wait(down, backoff)
            self.standing.pending = pull.pending
        backoff.reset()

    async def _offered(self, batch: Sequence[Delivery]) -> SinkDown | None:
        """Why nothing of the batch was taken; None once it is settled."""
        try:
            accepted, poison = await self._deliver(batch)
        except SinkDown as down:
            return down
        if not accepted and not poison:
            return SinkDown("nothing of the batch was taken")
        await self._settle(batch, frozenset(accepted), poison)
        return None

    async def _deliver(self, batch: Sequence[Delivery]) -> tuple[Collection[int], Mapping[int, str]]:
        try:
            async with asyncio.timeout(DELIVER_WITHIN):
                return await self._sink.deliver(batch), {}
        except Rejected as rejected:
            return rejected.accepted, rejected.poison
        except SinkDown:
            raise
        except TimeoutError:
            raise SinkDown(f"it did not end within {DELIVER_WITHIN:g} s") from None
        except Exception as error:
            # The edge of a sink: a fault in it must cost neither the event nor the other sinks.
            log.exception("fault in a sink", sink=self.name)
            raise SinkDown(f"a fault of our own: {type(error).__name__}") from error

    async def _wait(self, down: SinkDown, backoff: Backoff) -> None:
        delay = backoff.delay(down.retry_after)
        self.standing.failures += 1
        self.standing.down = down.message
        if time.monotonic() - self._told >= REMIND:
            self._told = time.monotonic()
            log.warning(
                "sink down; events wait in the stream",
                sink=self.name,
                reason=down.message,
                retry_in=f"{delay:.1f} s",
            )
        await asyncio.sleep(delay)

    async def _settle(
        self, batch: Sequence[Delivery], accepted: frozenset[int], poison: Mapping[int, str]
    ) -> None:
        if self.standing.down:
            log.info("sink takes events again", sink=self.name, pending=self.standing.pending)
        self.standing.down, self._told = "", -REMIND
        for index, each in enumerate(batch):
            if index in accepted:
                self.standing.delivered += 1
                await self._say(each, b"")
            elif index in poison:
                await self._reject(each, poison[index])
            else:
                await self._say(each, self._again(each))

    async def _reject(self, each: Delivery, said: str) -> None:
        self.standing.rejected += 1
        if each.tries < self._max_tries:
            await self._say(each, self._again(each))
            return
        try:
            await self._bury(each, said)
        except BusUnavailable as error:
            log.warning("dead letter not kept; it is tried again", sink=self.name, error=error.message)
            await self._say(each, self._again(each))
            return
        self.standing.dead += 1
        log.error("event given up for a sink", sink=self.name, uid=each.uid, said=said, tries=each.tries)
        await self._say(each, b"")

    def _again(self, each: Delivery) -> bytes:
        delay = min(BACKOFF_FIRST * 2 ** min(each.tries - 1, 10), BACKOFF_MAX)
        return b"-NAK " + msgspec.json.encode({"delay": int(delay * 1e9)})

    async def _say(self, each: Delivery, word: bytes) -> None:
        # Unheard, it only means that the event comes once more.
        with suppress(BusUnavailable):
            await self._bus.publish(each.reply, word)
