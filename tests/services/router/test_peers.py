from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from libs.common import subjects
from libs.common.bus import Bus
from services.router.peers import SILENT, Peers
from tests.broker import Broker

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def peer(broker: Broker, name: str, clock: Clock) -> AsyncIterator[Peers]:
    bus = Bus(broker.url, "router")
    await bus.connect()
    peers = Peers(bus, name, clock)
    await bus.subscribe(subjects.ROUTERS, peers.on_word)
    await bus.settled()
    task = asyncio.create_task(peers.run())
    yield peers
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await bus.close()


async def place(peers: Peers, expected: tuple[int, int]) -> None:
    async with asyncio.timeout(5):
        while peers.place != expected:
            await asyncio.sleep(0.01)


async def test_routers_know_each_other_at_once_and_each_its_own_rank(broker: Broker) -> None:
    clock = Clock()
    async with peer(broker, "b", clock) as b:
        assert b.place == (1, 0)
        async with peer(broker, "a", clock) as a, peer(broker, "c", clock) as c:
            for peers, rank in ((a, 0), (b, 1), (c, 2)):
                await place(peers, (3, rank))
        await place(b, (1, 0))


async def test_a_router_that_falls_silent_is_gone_after_a_while(broker: Broker, bus: Bus) -> None:
    clock = Clock()
    async with peer(broker, "b", clock) as b:
        await bus.publish(subjects.ROUTERS, b'{"router":"a"}')
        await place(b, (2, 1))
        clock.now += SILENT + 1
        await place(b, (1, 0))


async def test_words_that_cannot_be_read_change_nothing(broker: Broker, bus: Bus) -> None:
    async with peer(broker, "b", Clock()) as b:
        with capture_logs():
            for word in (b"", b"{}", b'{"router":1}', b'{"router":"b"}', b"\xff"):
                await bus.publish(subjects.ROUTERS, word)
            await bus.publish(subjects.ROUTERS, b'{"router":"a"}')
            await place(b, (2, 1))
