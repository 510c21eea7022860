"""The owner of a session: real children, a real bus, and everything that goes wrong between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from libs.common import rpc, subjects
from libs.common.bus import Bus
from libs.common.codec import encode
from libs.common.errors import NexusError
from libs.common.facts import ServerFailed, ServerStarted, ToolsListed
from libs.common.lease import Owner
from services.connector.bearer import Bearer
from services.connector.keeper import BACKOFF_MAX, STEADY, Backoff
from services.connector.questions import Asked
from services.connector.session import Notice, Opened, Session
from tests.broker import Broker
from tests.services.connector.parts import child, gone
from tests.services.connector.world import Watcher, connecting, lister, tool, use, watching

pytestmark = pytest.mark.anyio


@pytest.fixture
async def watcher(broker: Broker) -> AsyncIterator[Watcher]:
    async with watching(broker) as watcher:
        yield watcher


@pytest.fixture
async def client(bus: Bus) -> AsyncIterator[rpc.Client]:
    async with rpc.Client(bus) as client:
        yield client


def names(fact: ToolsListed) -> list[str]:
    return [each["name"] for each in fact.tools]


async def test_a_server_that_starts_is_ready_for_calls_and_told_of(
    broker: Broker, watcher: Watcher, client: rpc.Client
) -> None:
    async with connecting(broker) as connector:
        connector.keep(child())
        await watcher.until(lambda: watcher.is_ready() and bool(watcher.of(ToolsListed)))
        assert await use(client, "echo", {"x": 1}) == '{"x": 1, "_meta": {}}'
    held = watcher.held()
    assert held is not None
    assert (held.tools, held.kind, held.restarts, held.error) == (14, "stdio", 0, "")
    assert [(fact.kind, fact.version) for fact in watcher.of(ServerStarted)] == [("stdio", "2025-06-18")]
    listed = watcher.of(ToolsListed)[0]
    assert (listed.server, listed.worker, len(listed.tools)) == ("child", "w1", 14)
    assert listed.resources == [{"uri": "file:///a", "name": "a"}]


async def test_a_server_that_crashed_is_reported_and_comes_back(
    broker: Broker, watcher: Watcher, client: rpc.Client
) -> None:
    async with connecting(broker) as connector:
        connector.keep(child())
        await watcher.until(watcher.is_ready)
        with pytest.raises(NexusError) as caught:
            await use(client, "crash")
        assert caught.value.executed == "unknown"
        await watcher.until(lambda: watcher.is_ready(restarts=1) and bool(watcher.of(ServerFailed)))
        assert await use(client, "echo") == '{"_meta": {}}'
    failed = watcher.of(ServerFailed)[0]
    assert failed.reason == "exited with code 3"
    assert 0.2 <= failed.retry_in <= 0.3


async def test_a_server_that_never_starts_is_tried_again_and_says_why(
    broker: Broker, watcher: Watcher
) -> None:
    async with connecting(broker) as connector:
        connector.keep(child("exit=7", "stderr=no such flag"))
        await watcher.until(lambda: len(watcher.of(ServerFailed)) >= 2)
        await watcher.until(lambda: (held := watcher.held()) is not None and held.state == "failed")
        held = watcher.held()
    assert held is not None
    assert "exited with code 7" in held.error
    assert held.detail == "no such flag"
    first, second = watcher.of(ServerFailed)[:2]
    assert second.retry_in > first.retry_in


async def test_a_fault_of_our_own_while_opening_is_reported_and_tried_again(
    broker: Broker, watcher: Watcher
) -> None:
    async def connect(
        server: object, on_notice: Notice, on_question: Asked, bearer: Bearer | None = None
    ) -> tuple[Session, Opened]:
        raise ZeroDivisionError

    async with connecting(broker) as connector:
        connector.parts = replace(connector.parts, connect=connect)
        with capture_logs():
            connector.keep(child())
            await watcher.until(lambda: len(watcher.of(ServerFailed)) >= 2)
    assert watcher.of(ServerFailed)[0].reason == "internal error while opening the session"


def test_waits_double_to_half_a_minute_and_begin_anew_after_a_steady_minute() -> None:
    backoff = Backoff()
    delays = [backoff.delay(lived=1) for _ in range(12)]
    wanted = [min(0.25 * 2**n, BACKOFF_MAX) for n in range(12)]
    assert all(0.8 * w <= d <= 1.2 * w for d, w in zip(delays, wanted, strict=True))
    assert backoff.delay(lived=STEADY + 1) <= 0.3


async def test_a_changed_list_is_read_again_and_its_schemas_hold_at_once(
    broker: Broker, watcher: Watcher, client: rpc.Client, tmp_path: Path
) -> None:
    lists = tmp_path / "tools"
    async with connecting(broker) as connector:
        connector.keep(lister(lists, tool("announce")))
        await watcher.until(lambda: bool(watcher.of(ToolsListed)))
        schema = {"type": "object", "required": ["x"]}
        lists.write_text("\n".join([tool("announce"), tool("strict", inputSchema=schema)]))
        assert await use(client, "announce") == "announced"
        await watcher.until(lambda: len(watcher.of(ToolsListed)) == 2)
        assert names(watcher.of(ToolsListed)[1]) == ["announce", "strict"]
        await watcher.until(lambda: (held := watcher.held()) is not None and held.tools == 2)
        assert "the tool was not run" in await use(client, "strict")


async def test_lists_are_read_in_intervals_and_told_again_even_if_nothing_changed(
    broker: Broker, watcher: Watcher, tmp_path: Path
) -> None:
    lists = tmp_path / "tools"
    async with connecting(broker, relist=0.1) as connector:
        connector.keep(lister(lists, tool("one")))
        await watcher.until(lambda: len(watcher.of(ToolsListed)) >= 2)
        lists.write_text(tool("two"))
        await watcher.until(lambda: names(watcher.of(ToolsListed)[-1]) == ["two"])
    digests = [fact.digest for fact in watcher.of(ToolsListed)]
    assert digests[0] == digests[1] != digests[-1]


async def test_a_list_that_cannot_be_read_again_leaves_the_old_one(
    broker: Broker, watcher: Watcher, client: rpc.Client, tmp_path: Path
) -> None:
    lists = tmp_path / "tools"
    async with connecting(broker, relist=0.1) as connector:
        connector.keep(lister(lists, tool("pid")))
        await watcher.until(watcher.is_ready)
        with capture_logs() as logs:
            lists.write_text("not json")
            with anyio.fail_after(10):
                while not any(log["event"] == "listing failed" for log in logs):
                    await anyio.sleep(0.01)
        assert int(await use(client, "pid"))
        assert watcher.is_ready()


HOSTILE = [
    '{"name":"huge","x":1e999}',
    f'{{"name":"long","x":{"9" * 5000}}}',
    f'{{"name":"deep","x":{"[" * 500}{"]" * 500}}}',
    '{"name":7}',
    "[]",
]


@pytest.mark.parametrize("line", HOSTILE, ids=["infinite", "bignum", "deep", "number", "list"])
async def test_a_hostile_definition_is_dropped_and_harms_nobody(
    broker: Broker, watcher: Watcher, client: rpc.Client, tmp_path: Path, line: str
) -> None:
    lists = tmp_path / "tools"
    async with connecting(broker, relist=0.1) as connector:
        connector.keep(lister(lists, tool("first"), line, tool("last"), info='"no object"'))
        await watcher.until(lambda: bool(watcher.of(ToolsListed)))
        assert names(watcher.of(ToolsListed)[0]) == ["first", "last"]
        lists.write_text("\n".join([line, tool("pid")]))
        await watcher.until(lambda: names(watcher.of(ToolsListed)[-1]) == ["pid"])
        assert int(await use(client, "pid"))
    assert watcher.of(ServerFailed) == []


async def test_lists_larger_than_the_bus_carries_are_given_up_once_with_a_word(
    broker: Broker, watcher: Watcher, client: rpc.Client, tmp_path: Path
) -> None:
    big = "x" * (5 * 1024 * 1024)
    with capture_logs() as logs:
        async with connecting(broker) as connector:
            connector.keep(lister(tmp_path / "tools", *(tool(f"t{n}", description=big) for n in range(2))))
            await watcher.until(watcher.is_ready)
            with anyio.fail_after(10):
                while not (given_up := [log for log in logs if log["event"] == "fact given up"]):
                    await anyio.sleep(0.01)
            assert await use(client, "t1") == "t1"
    assert [log["reason"] for log in given_up] == [
        "nexus.v1.fact.tools.listed is larger than the message bus carries"
    ]


async def test_a_lost_server_comes_back_while_no_fact_can_be_stored(
    broker: Broker, watcher: Watcher, client: rpc.Client, other: Bus
) -> None:
    async with connecting(broker) as connector:
        connector.keep(child())
        await watcher.until(watcher.is_ready)
        await other.jetstream().delete_stream(subjects.FACT_STREAM)
        with pytest.raises(NexusError):
            await use(client, "crash")
        await watcher.until(lambda: watcher.is_ready(restarts=1))
        assert await use(client, "echo") == '{"_meta": {}}'


async def test_a_server_without_a_count_runs_once_in_every_worker(broker: Broker, watcher: Watcher) -> None:
    server = child(instances="per-worker")
    async with connecting(broker, "w1") as one, connecting(broker, "w2") as two:
        one.keep(server)
        two.keep(server)
        await watcher.until(lambda: watcher.is_ready("w1") and watcher.is_ready("w2"))
        assert (one.pool.owned(), two.pool.owned()) == (1, 1)


async def test_two_instances_are_spread_over_two_workers(broker: Broker, watcher: Watcher) -> None:
    server = child(instances=2)
    async with connecting(broker, "w1") as one, connecting(broker, "w2") as two:
        one.keep(server, leased=True)
        two.keep(server, leased=True)
        await watcher.until(lambda: watcher.is_ready("w1") and watcher.is_ready("w2"))
        assert (one.pool.owned(), two.pool.owned()) == (1, 1)


async def test_two_instances_in_one_worker_share_one_subscription_until_the_last_is_gone(
    broker: Broker, watcher: Watcher, client: rpc.Client, tmp_path: Path
) -> None:
    server = lister(tmp_path / "tools", tool("pid"), tool("crash"), instances=2)
    async with connecting(broker) as connector:
        connector.keep(server, leased=True)
        await watcher.until(lambda: len(connector.pool._live.get("child", ())) == 2 and watcher.is_ready())
        subscribed = [sub.subject for sub in connector.bus.nats._subs.values()]
        assert subscribed.count(subjects.call("child")) == 1
        for _ in range(3):
            with pytest.raises(NexusError):
                await use(client, "crash")
            assert int(await use(client, "pid"))
            await watcher.until(lambda: len(connector.pool._live.get("child", ())) == 2)


async def test_a_lost_lease_closes_the_session_and_its_child(
    broker: Broker, watcher: Watcher, client: rpc.Client, tmp_path: Path
) -> None:
    server = lister(tmp_path / "tools", tool("pid"))
    async with connecting(broker) as connector:
        connector.keep(server, leased=True)
        await watcher.until(watcher.is_ready)
        pid = int(await use(client, "pid"))
        thief = encode(Owner("w2", "boot"))
        await connector.leases.put("child.0", thief)
        await watcher.until(lambda: (held := watcher.held()) is not None and held.state == "standby")
        await gone(pid)
        assert connector.pool.owned() == 0
        with pytest.raises(NexusError) as caught:
            await use(client, "pid")
        assert caught.value.executed == "no"


async def test_a_cancelled_keeper_leaves_no_child_and_frees_its_lease(
    broker: Broker, watcher: Watcher, client: rpc.Client, tmp_path: Path
) -> None:
    server = lister(tmp_path / "tools", tool("pid"))
    async with connecting(broker) as connector:
        connector.keep(server, leased=True)
        await watcher.until(watcher.is_ready)
        pid = int(await use(client, "pid"))
    await gone(pid)
    async with connecting(broker, "w2") as following:
        following.keep(server, leased=True)
        await watcher.until(lambda: watcher.is_ready("w2"), seconds=3)
