"""What a worker says of itself in the bucket, and for how long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.codec import decoder
from libs.common.errors import ServerUnavailable
from libs.common.kv import LEASE_TTL, Bucket
from libs.common.messages.catalog import Held, Worker
from libs.common.service import snapshots
from libs.common.snapshot import Snapshot
from services.connector.pool import Pool
from tests.broker import Broker

pytestmark = pytest.mark.anyio


@pytest.fixture
def pool(other: Bus) -> Pool:
    return Pool(Bucket(other, subjects.SERVERS, owner=True), "w1")


@pytest.fixture
def quiet() -> Pool:
    """A pool whose record goes nowhere."""
    return Pool(Bucket(Bus("nats://127.0.0.1:1", "connector"), subjects.SERVERS, owner=True), "w1")


@asynccontextmanager
async def beating(pool: Pool) -> AsyncIterator[None]:
    task = asyncio.create_task(pool.beat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture
async def seen(bus: Bus) -> AsyncIterator[Snapshot[Worker]]:
    """The records as an edge sees them."""
    records: Snapshot[Worker] = Snapshot(Bucket(bus, subjects.SERVERS, owner=True), decoder(Worker))
    async with snapshots(records):
        yield records


async def until(seen: Snapshot[Worker], state: str | None, server: str = "git", seconds: float = 5) -> float:
    """Seconds until `w1` says this of the server."""
    started = time.monotonic()
    with anyio.fail_after(seconds):
        while True:
            worker = seen.values.get("w1")
            held = worker.servers.get(server) if worker else None
            if (held.state if held else None) == state and (worker or state is None):
                return time.monotonic() - started
            await anyio.sleep(0.005)


async def test_a_change_is_known_at_once(pool: Pool, seen: Snapshot[Worker]) -> None:
    async with beating(pool):
        pool.say("git", 0, "starting")
        await until(seen, "starting")
        pool.say("git", 0, "ready", tools=3, kind="stdio")
        assert await until(seen, "ready") < 0.5
        pool.say("git", 0, "failed", error="it exited", restarts=1)
        assert await until(seen, "failed") < 0.5
    held = seen.values["w1"].servers["git"]
    assert (held.error, held.restarts, held.tools, held.kind) == ("it exited", 1, 0, "stdio")


async def test_a_record_outlives_its_time_while_it_beats_and_goes_when_it_does_not(
    pool: Pool, seen: Snapshot[Worker]
) -> None:
    pool.say("git", 0, "ready")
    async with beating(pool):
        await until(seen, "ready")
        revision = seen.revisions["w1"]
        with anyio.fail_after(LEASE_TTL + 4):
            while seen.revisions["w1"] < revision + LEASE_TTL:
                assert "w1" in seen.values
                await anyio.sleep(0.05)
    assert await until(seen, None, seconds=LEASE_TTL + 3) > 0.5


async def test_a_worker_that_leaves_is_gone_at_once(pool: Pool, seen: Snapshot[Worker]) -> None:
    pool.say("git", 0, "ready")
    async with beating(pool):
        await until(seen, "ready")
    await pool.leave()
    assert await until(seen, None) < 1


async def test_leaving_takes_no_longer_than_a_beat_without_a_bus(
    pool: Pool, seen: Snapshot[Worker], broker: Broker
) -> None:
    async with beating(pool):
        pool.say("git", 0, "ready")
        await until(seen, "ready")
    broker.stop(kill=True)
    with anyio.fail_after(3):
        await pool.leave()


async def test_a_record_comes_back_with_the_bus(pool: Pool, seen: Snapshot[Worker], broker: Broker) -> None:
    async with beating(pool):
        pool.say("git", 0, "ready")
        await until(seen, "ready")
        broker.stop(kill=True)
        pool.say("git", 0, "failed", error="it exited")
        broker.start()
        await until(seen, "failed", seconds=20)


def test_since_tells_when_a_state_began(quiet: Pool) -> None:
    quiet.say("git", 0, "ready", tools=1)
    first = quiet.record().servers["git"]
    quiet.say("git", 0, "ready", tools=2)
    second = quiet.record().servers["git"]
    assert (second.since, second.tools) == (first.since, 2)
    quiet.say("git", 0, "failed", error="it exited")
    assert quiet.record().servers["git"].since > first.since


@pytest.mark.parametrize(
    ("states", "best"),
    [
        (("failed", "ready"), "ready"),
        (("standby", "starting"), "starting"),
        (("stopped", "standby"), "standby"),
        (("failed", "standby"), "failed"),
    ],
)
def test_of_several_instances_the_best_one_speaks(quiet: Pool, states: tuple[str, str], best: str) -> None:
    for order in (states, states[::-1]):
        for slot, state in enumerate(order):
            quiet.say("git", slot, state)  # type: ignore[arg-type]  # any state by name
        assert quiet.record().servers["git"].state == best


def test_only_what_is_kept_counts_as_owned(quiet: Pool) -> None:
    for slot, state in enumerate(("standby", "starting", "ready", "failed", "stopped")):
        quiet.say("git", slot, state)  # type: ignore[arg-type]  # any state by name
    assert quiet.owned() == 3


def test_a_draining_worker_says_so(quiet: Pool) -> None:
    quiet.say("git", 0, "ready")
    assert not quiet.record().draining
    quiet.drain()
    record = quiet.record()
    assert (record.worker, record.draining, list(record.servers)) == ("w1", True, ["git"])
    assert quiet.closing.is_set()
    assert isinstance(record.servers["git"], Held)


def test_a_server_nobody_holds_here_is_refused(quiet: Pool) -> None:
    with pytest.raises(ServerUnavailable, match='this connector no longer holds server "git"'):
        quiet.pick("git")
