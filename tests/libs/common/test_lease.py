"""Leases: one owner at a time, whoever dies and however."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.codec import decoder
from libs.common.kv import LEASE_TTL, Bucket
from libs.common.lease import Lease, Owner
from libs.common.service import snapshots
from libs.common.snapshot import Snapshot
from tests.broker import Broker

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def lease(bus: Bus, worker: str, boot: str = "1") -> AsyncIterator[Lease]:
    bucket = Bucket(bus, subjects.LEASES, owner=True)
    owners: Snapshot[Owner] = Snapshot(bucket, decoder(Owner))
    async with snapshots(owners):
        yield Lease(bucket, owners, "demo.0", Owner(worker, boot))


async def acquire(lease: Lease, timeout: float = 10) -> float:
    started = anyio.current_time()
    with anyio.fail_after(timeout):
        await lease.acquire()
    return anyio.current_time() - started


async def test_two_race_and_one_wins(bus: Bus, other: Bus) -> None:
    async with lease(bus, "w1") as one, lease(other, "w2") as two:
        winners: list[str] = []

        async def race(name: str, lease: Lease) -> None:
            with anyio.move_on_after(2):
                await lease.acquire()
                winners.append(name)
                await lease.hold()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(race, "w1", one)
            tasks.start_soon(race, "w2", two)
        assert len(winners) == 1


async def test_a_released_lease_is_taken_at_once(bus: Bus, other: Bus) -> None:
    async with lease(bus, "w1") as one, lease(other, "w2") as two:
        await acquire(one)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(acquire, two)
            await one.release()
            with anyio.fail_after(2):
                while two._fresh == 0:
                    await anyio.sleep(0.01)


async def test_a_dead_owner_is_followed_within_the_lease_time(bus: Bus, other: Bus) -> None:
    async with lease(bus, "w1") as one, lease(other, "w2") as two:
        await acquire(one)
        waited = await acquire(two, timeout=LEASE_TTL + 4)
        assert waited > LEASE_TTL - 1.5


async def test_the_next_life_of_a_named_worker_takes_over_at_once(bus: Bus, other: Bus) -> None:
    async with lease(bus, "w1", "first") as one, lease(other, "w1", "second") as two:
        await acquire(one)
        assert await acquire(two) < 2


async def test_a_held_lease_outlives_its_time_to_live(bus: Bus, other: Bus) -> None:
    async with lease(bus, "w1") as one, lease(other, "w2") as two:
        await acquire(one)
        holding = asyncio.create_task(one.hold())
        with pytest.raises(TimeoutError):
            await acquire(two, timeout=LEASE_TTL + 1)
        assert not holding.done()
        holding.cancel()


async def test_an_owner_that_lost_the_bus_gives_up_before_others_may_take_over(
    broker: Broker, bus: Bus
) -> None:
    async with lease(bus, "w1") as one:
        await acquire(one)
        broker.stop(kill=True)
        with anyio.fail_after(LEASE_TTL + 1):
            await one.hold()


async def test_an_owner_gives_up_in_time_when_the_broker_hangs(broker: Broker, bus: Bus) -> None:
    async with lease(bus, "w1") as one:
        await acquire(one)
        assert broker.process is not None
        broker.process.send_signal(signal.SIGSTOP)
        try:
            with anyio.fail_after(LEASE_TTL - 0.5):
                await one.hold()
        finally:
            broker.process.send_signal(signal.SIGCONT)


async def test_an_owner_survives_a_broker_that_restarts_without_memory(broker: Broker, bus: Bus) -> None:
    async with lease(bus, "w1") as one:
        await acquire(one)
        holding = asyncio.create_task(one.hold())
        broker.stop(kill=True)
        broker.start()
        done, _ = await asyncio.wait({holding}, timeout=LEASE_TTL + 1)
        assert not done
        holding.cancel()


async def test_work_is_done_by_one_at_a_time_and_taken_over_by_the_next(bus: Bus, other: Bus) -> None:
    at_work: list[str] = []
    changed = asyncio.Event()

    def work(name: str) -> Callable[[], Coroutine[Any, Any, None]]:
        async def run() -> None:
            at_work.append(name)
            changed.set()
            try:
                await asyncio.Event().wait()
            finally:
                at_work.remove(name)

        return run

    async def until(condition: Callable[[], bool]) -> None:
        with anyio.fail_after(10):
            while not condition():
                changed.clear()
                await changed.wait()

    async with lease(bus, "w1") as one, lease(other, "w2") as two:
        first = asyncio.create_task(one.while_owned(work("w1")))
        await until(lambda: at_work == ["w1"])
        second = asyncio.create_task(two.while_owned(work("w2")))
        first.cancel()
        await asyncio.wait({first})
        await until(lambda: at_work == ["w2"])
        second.cancel()
        await asyncio.wait({second})
    assert at_work == []


async def test_a_fault_in_the_work_ends_the_holding_with_it(bus: Bus) -> None:
    async def work() -> None:
        raise ValueError("a fault")

    async with lease(bus, "w1") as one:
        with pytest.raises(ValueError, match="a fault"), anyio.fail_after(10):
            await one.while_owned(work)
