"""Sinks for tests: each keeps what it took."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial

from libs.common import subjects
from libs.common.audit.pull import Pull
from libs.common.bus import Bus
from services.auditor.consumer import Consumer
from services.auditor.sinks import Delivery, Sink
from services.auditor.stream import Streams, durable

Judge = Callable[[Sequence[Delivery]], Collection[int]]


def take_all(batch: Sequence[Delivery]) -> Collection[int]:
    return range(len(batch))


class Receiver:
    """Takes what `judge` says; by default everything."""

    def __init__(self, judge: Judge = take_all) -> None:
        self.judge = judge
        self.taken: list[Delivery] = []
        self.offers: list[int] = []
        self.changed = asyncio.Event()

    async def deliver(self, batch: Sequence[Delivery]) -> Collection[int]:
        self.offers.append(len(batch))
        self.changed.set()
        accepted = self.judge(batch)
        self.taken += [batch[index] for index in accepted]
        return accepted

    async def close(self) -> None:
        return None

    async def until(self, condition: Callable[[], bool], timeout: float = 20) -> None:
        """Return once `condition` holds, looked at after each offer."""
        async with asyncio.timeout(timeout):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    @property
    def uids(self) -> list[str]:
        return [each.uid for each in self.taken]


@asynccontextmanager
async def feeding(
    bus: Bus, streams: Streams, sink: Sink, *, name: str = "siem", max_tries: int = 5, lanes: int = 1
) -> AsyncIterator[Consumer]:
    """The sink, fed from the stream."""
    await streams.feed(name)
    pulls = [Pull(bus, subjects.AUDIT_STREAM, durable(name)) for _ in range(lanes)]
    consumer = Consumer(
        name, bus, pulls, sink, partial(streams.feed, name), partial(streams.bury, name), max_tries=max_tries
    )
    task = asyncio.create_task(consumer.run())
    try:
        yield consumer
    finally:
        task.cancel()
        await asyncio.wait({task})
        await bus.settled()
