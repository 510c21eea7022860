"""What replicas know of sessions, servers and the bus, over real buckets."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest
from structlog.testing import capture_logs

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.codec import decoder, encode, raw
from libs.common.errors import BusUnavailable
from libs.common.fleet import Fleet
from libs.common.kv import Bucket
from libs.common.messages.catalog import Held, Listing, Worker
from libs.common.messages.edges import EdgeHere, SessionEnded
from libs.common.service import snapshots
from libs.common.snapshot import Snapshot
from services.edge import lag, peers
from services.edge.gateway import Note
from services.edge.state import State, Tombstone
from tests.broker import Broker

pytestmark = pytest.mark.anyio


@dataclass
class Replica:
    bus: Bus
    fleet: Fleet
    state: State


@asynccontextmanager
async def replica(broker: Broker) -> AsyncIterator[Replica]:
    bus = Bus(broker.url, "edge")
    await bus.connect()
    fleet = Fleet(["git"])
    sessions = Bucket(bus, subjects.SESSIONS, owner=True)
    listings: Snapshot[Listing] = Snapshot(Bucket(bus, subjects.CATALOG, owner=True), decoder(Listing))
    tombstones: Snapshot[Tombstone] = Snapshot(sessions, decoder(Tombstone))
    try:
        async with (
            State(bus, fleet, listings, sessions, tombstones) as state,
            snapshots(listings, tombstones),
        ):
            yield Replica(bus, fleet, state)
    finally:
        await bus.close()


@pytest.fixture
async def one(broker: Broker) -> AsyncIterator[Replica]:
    async with replica(broker) as one:
        yield one


@pytest.fixture
async def two(broker: Broker) -> AsyncIterator[Replica]:
    async with replica(broker) as two:
        yield two


async def until(true: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not true():
            await anyio.sleep(0.005)


async def test_when_an_end_is_told_every_replica_knows_it(one: Replica, two: Replica) -> None:
    assert not one.state.tombstoned("s0")
    for number in range(100):
        await one.state.bury(f"s{number}", 60)
        assert one.state.tombstoned(f"s{number}")
        assert two.state.tombstoned(f"s{number}")
    assert not two.state.tombstoned("s100")


async def test_no_note_of_the_same_moment_undoes_an_end(one: Replica, two: Replica) -> None:
    for number in range(50):
        session = f"s{number}"
        async with anyio.create_task_group() as group:
            group.start_soon(one.state.bury, session, 60)
            for _ in range(3):
                group.start_soon(two.state.note, session, Note("debug"), 60)
        assert one.state.tombstoned(session)
        assert two.state.tombstoned(session)


async def test_a_replica_that_does_not_answer_is_waited_for_once(one: Replica, other: Bus) -> None:
    await other.publish(subjects.EDGES, encode(EdgeHere("silent")), f"{other.inbox}.x")
    await until(lambda: one.state._peers.known == {"silent"})
    started = time.monotonic()
    await one.state.bury("s1", 60)
    assert peers.WITHIN <= time.monotonic() - started < 2
    assert one.state._peers.known == set()
    started = time.monotonic()
    await one.state.bury("s2", 60)
    assert time.monotonic() - started < peers.WITHIN


async def test_a_replica_that_leaves_is_not_waited_for(one: Replica, broker: Broker) -> None:
    async with replica(broker) as leaving:
        await until(lambda: one.state._peers.known == {leaving.bus.client})
    await until(lambda: one.state._peers.known == set())


async def test_a_replica_that_slept_hears_the_news_before_it_decides(one: Replica, broker: Broker) -> None:
    news = encode(SessionEnded("e9", "s1", time.time() + 60))
    with socket.create_connection(("127.0.0.1", broker.port)) as sock:
        head = b'CONNECT {"verbose":false}\r\nPUB %s nowhere %d\r\n' % (subjects.EDGES.encode(), len(news))
        sock.sendall(head + news + b"\r\nPING\r\n")
        while b"PONG" not in sock.recv(65536):
            pass
    # The loop stands still, as under SIGSTOP: the news waits in the socket meanwhile.
    time.sleep(lag.LATE + 0.05)
    assert not one.state.tombstoned("s1")
    await one.state.current()
    assert one.state.tombstoned("s1")


async def test_a_replica_that_lost_its_bus_reads_all_ends_before_it_decides(
    one: Replica, two: Replica, broker: Broker
) -> None:
    await one.state.bury("s1", 60)
    broker.stop()
    await until(lambda: one.state.bus() == "reconnecting" and two.state.bus() == "reconnecting")
    broker.start()
    await until(lambda: one.state.bus() == "connected")
    with anyio.fail_after(20):
        while True:
            try:
                await one.state.bury("s2", 60)
            except BusUnavailable:
                await anyio.sleep(0.05)
            else:
                break
    await until(lambda: two.state.bus() == "connected")
    await two.state.current()
    assert two.state.tombstoned("s1")
    assert two.state.tombstoned("s2")


async def test_a_new_replica_knows_which_sessions_have_ended(one: Replica, broker: Broker) -> None:
    await one.state.bury("s1", 60)
    async with replica(broker) as later:
        assert later.state.tombstoned("s1")


async def test_without_a_bus_a_session_does_not_end_and_its_client_learns_so(
    one: Replica, broker: Broker
) -> None:
    broker.stop(kill=True)
    started = time.monotonic()
    with pytest.raises(BusUnavailable):
        await one.state.bury("s1", 60)
    assert time.monotonic() - started < 1.5
    assert not one.state.tombstoned("s1")


async def test_without_a_bus_a_note_counts_on_this_replica_with_a_word(one: Replica, broker: Broker) -> None:
    broker.stop(kill=True)
    with capture_logs() as logs, anyio.fail_after(5):
        await one.state.note("s1", Note("debug"), 60)
    assert one.state.noted("s1") == Note("debug")
    assert "known on this replica only" in next(
        log["event"] for log in logs if log["log_level"] == "warning" and "replica" in log["event"]
    )


async def test_what_the_bucket_has_told_is_not_remembered_twice(one: Replica) -> None:
    for number in range(10):
        await one.state.bury(f"s{number}", 60)
        await one.state.note(f"n{number}", Note("debug"), 60)
    await until(lambda: not one.state._ended and not one.state._own)
    assert one.state.tombstoned("s0")
    assert one.state.noted("n0") == Note("debug")


async def test_the_newest_note_counts_wherever_it_was_made(one: Replica, two: Replica) -> None:
    await one.state.note("s1", Note("debug"), 60)
    assert one.state.noted("s1") == Note("debug")
    await until(lambda: two.state.noted("s1") == Note("debug"))
    await two.state.note("s1", Note("error", ("file:///a",)), 60)
    await until(lambda: one.state.noted("s1") == Note("error", ("file:///a",)))
    assert one.state.noted("nobody") == Note()
    assert not one.state.tombstoned("s1")


async def test_a_note_does_not_bring_an_ended_session_back(one: Replica, two: Replica) -> None:
    await one.state.bury("s1", 60)
    await one.state.note("s1", Note("debug"), 60)
    assert one.state.tombstoned("s1")
    await until(lambda: two.state.tombstoned("s1"))
    await two.state.note("s1", Note("debug"), 60)
    assert two.state.tombstoned("s1")


async def test_an_end_elsewhere_counts_more_than_a_note_of_our_own(one: Replica, two: Replica) -> None:
    await one.state.note("s1", Note("debug"), 60)
    await until(lambda: two.state.noted("s1") == Note("debug"))
    await two.state.bury("s1", 60)
    await until(lambda: one.state.tombstoned("s1"))


async def test_only_listings_of_configured_servers_are_shown(one: Replica) -> None:
    bucket = Bucket(one.bus, subjects.CATALOG, owner=True)
    for server in ("old", "git"):
        await bucket.put(server, encode(Listing(server, "1", (raw({"name": "log"}),))))
    await until(lambda: one.state.listing("git") is not None)
    assert one.state.listing("old") is None


async def test_a_watcher_hears_of_every_listing_until_it_stops(one: Replica) -> None:
    heard: list[str] = []
    stop = one.state.watch(lambda: heard.append("changed"))
    bucket = Bucket(one.bus, subjects.CATALOG, owner=True)
    await bucket.put("git", encode(Listing("git", "1")))
    await until(lambda: len(heard) == 1)
    stop()
    await bucket.put("git", encode(Listing("git", "2")))
    await until(lambda: (listing := one.state.listing("git")) is not None and listing.digest == "2")
    assert heard == ["changed"]
    assert list(one.state.names()) == ["git"]


async def test_every_configured_server_has_a_status(one: Replica) -> None:
    (stopped,) = one.state.servers()
    assert (stopped.name, stopped.state, stopped.workers) == ("git", "stopped", ())
    one.fleet.update("w1", Worker("w1", {"git": Held("failed", 1.0, error="it exited", detail="bad flag")}))
    (failed,) = one.state.servers()
    assert (failed.state, failed.since, failed.error, failed.detail) == (
        "failed", 1.0, "it exited", "bad flag",
    )  # fmt: skip
    one.fleet.update("w2", Worker("w2", {"git": Held("ready", time.time(), tools=3)}))
    (ready,) = one.state.servers()
    assert (ready.state, ready.tools, ready.workers) == ("ready", 3, ("w2",))


async def test_the_state_of_the_bus_is_told(one: Replica, broker: Broker) -> None:
    assert one.state.bus() == "connected"
    broker.stop(kill=True)
    await until(lambda: one.state.bus() == "reconnecting")
