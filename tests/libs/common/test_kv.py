"""Shared state: buckets and snapshots, on a real broker that dies and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.codec import decoder, encode
from libs.common.errors import BusUnavailable
from libs.common.kv import LEASE_TTL, Bucket
from libs.common.messages.catalog import Held, Worker
from libs.common.service import snapshots
from libs.common.snapshot import Snapshot
from tests.broker import Broker

pytestmark = pytest.mark.anyio


def record(name: str, state: str = "ready") -> Worker:
    return Worker(name, {"demo": Held(state, 1.0)})  # type: ignore[arg-type]


@asynccontextmanager
async def watching(bus: Bus, *, owner: bool = True) -> AsyncIterator[Snapshot[Worker]]:
    snapshot: Snapshot[Worker] = Snapshot(Bucket(bus, subjects.SERVERS, owner=owner), decoder(Worker))
    async with snapshots(snapshot, timeout=10):
        yield snapshot


class Seen:
    """Changes as they come; `until` waits for one."""

    def __init__(self, snapshot: Snapshot[Worker]) -> None:
        self._snapshot = snapshot
        self._news = anyio.Event()
        snapshot.listen(lambda *_: self._news.set())

    async def until(self, keys: set[str], timeout: float = 10) -> None:
        with anyio.fail_after(timeout):
            while set(self._snapshot.values) != keys:
                await self._news.wait()
                self._news = anyio.Event()


async def test_a_snapshot_has_what_was_there_and_what_comes(bus: Bus, other: Bus) -> None:
    bucket = Bucket(other, subjects.SERVERS, owner=True)
    await bucket.put("w1", encode(record("w1")))
    async with watching(bus, owner=False) as snapshot:
        assert snapshot.values == {"w1": record("w1")}
        seen = Seen(snapshot)
        await bucket.put("w2", encode(record("w2")))
        await seen.until({"w1", "w2"})
        await bucket.delete("w1")
        await seen.until({"w2"})


async def test_an_empty_bucket_is_ready_at_once(bus: Bus) -> None:
    with anyio.fail_after(5):
        async with watching(bus) as snapshot:
            assert snapshot.ready.is_set()
            assert snapshot.values == {}


async def test_a_record_that_is_not_refreshed_expires_and_watchers_are_told(bus: Bus) -> None:
    async with watching(bus) as snapshot:
        seen = Seen(snapshot)
        await Bucket(bus, subjects.SERVERS, owner=True).put("w1", encode(record("w1")))
        await seen.until({"w1"})
        await seen.until(set(), timeout=LEASE_TTL + 5)


async def test_a_value_that_cannot_be_read_is_skipped(bus: Bus) -> None:
    bucket = Bucket(bus, subjects.SERVERS, owner=True)
    await bucket.put("junk", b"\xff{")
    await bucket.put("w1", encode(record("w1")))
    async with watching(bus) as snapshot:
        assert set(snapshot.values) == {"w1"}


async def test_a_swap_is_won_by_one_of_two(bus: Bus) -> None:
    bucket = Bucket(bus, subjects.LEASES, owner=True)
    first = await bucket.swap("demo.0", b"1", 0)
    assert first is not None
    assert await bucket.swap("demo.0", b"2", 0) is None
    assert await bucket.swap("demo.0", b"3", first) is not None
    assert await bucket.swap("demo.0", b"4", first) is None


async def test_a_bucket_nobody_makes_is_an_error_that_says_so(bus: Bus) -> None:
    with pytest.raises(BusUnavailable, match="nexus-catalog is not there"):
        await Bucket(bus, subjects.CATALOG, owner=False).open(timeout=0.6)


async def test_a_snapshot_recovers_what_changed_while_the_broker_was_away(broker: Broker, bus: Bus) -> None:
    bucket = Bucket(bus, subjects.SERVERS, owner=True)
    async with watching(bus) as snapshot:
        seen = Seen(snapshot)
        await bucket.put("w1", encode(record("w1")))
        await seen.until({"w1"})
        broker.stop(kill=True)
        broker.start()
        await seen.until(set())
        with anyio.fail_after(10):
            while True:
                try:
                    await bucket.put("w2", encode(record("w2")))
                except BusUnavailable:
                    await anyio.sleep(0.05)
                else:
                    break
        await seen.until({"w2"})


async def test_a_cancellation_that_comes_with_the_answer_is_not_lost(bus: Bus) -> None:
    bucket = Bucket(bus, subjects.SERVERS, owner=True)
    await bucket.open()
    for moment in range(400):
        putting = asyncio.create_task(bucket.put("worker", b"{}"))
        for _ in range(moment):
            await asyncio.sleep(0)
        if putting.cancel():
            await asyncio.wait([putting])
            assert putting.cancelled()


async def test_one_value_is_read_without_a_snapshot(bus: Bus) -> None:
    bucket = Bucket(bus, subjects.LEDGER, owner=True)
    assert await bucket.get("place") is None
    await bucket.put("place", b"here")
    assert await bucket.get("place") == b"here"
    await bucket.delete("place")
    assert await bucket.get("place") is None


async def test_a_snapshot_whose_watch_the_broker_has_lost_watches_anew(bus: Bus, other: Bus) -> None:
    bucket = Bucket(other, subjects.SERVERS, owner=True)
    await bucket.put("w1", encode(record("w1")))
    async with watching(bus, owner=False) as snapshot:
        seen, stream = Seen(snapshot), f"KV_{subjects.SERVERS}"
        jetstream = other.jetstream()
        for consumer in await jetstream.consumers_info(stream):
            await jetstream.delete_consumer(stream, consumer.name)
        await bucket.put("w2", encode(record("w2")))
        await seen.until({"w1", "w2"})
