"""What a connector counts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from libs.common import rpc
from libs.common.bus import Bus
from libs.common.errors import NexusError
from libs.common.meters import families
from services.connector.vitals import vitals
from tests.broker import Broker
from tests.meters import Since
from tests.services.connector.parts import child
from tests.services.connector.test_private import ANN, BEN, keeping, pid
from tests.services.connector.world import connecting, use, watching

pytestmark = pytest.mark.anyio

CALLS = "nexus.downstream.call.duration"


@pytest.fixture
async def client(bus: Bus) -> AsyncIterator[rpc.Client]:
    async with rpc.Client(bus) as client:
        yield client


async def test_a_server_that_crashes_is_told_by_outcome_state_and_restarts(
    broker: Broker, client: rpc.Client
) -> None:
    since = Since()
    async with watching(broker) as watcher, connecting(broker) as connector:
        look = vitals(connector.pool, connector.parts.calls)
        connector.keep(child())
        await watcher.until(watcher.is_ready)
        await use(client, "echo")
        look()
        assert {each.labels for each in families.STATE.read()} == {("child", "ready")}
        assert families.SESSIONS.cell("child", "all").value == 1
        with pytest.raises(NexusError):
            await use(client, "crash")
        await watcher.until(lambda: watcher.is_ready(restarts=1))
        look()
        assert families.RESTARTS.cell("child").value == 1
        assert families.BACKOFF.cell("child").value == 0
    assert since.told(CALLS) == {("child", "success"): 1, ("child", "lost"): 1}


async def test_a_server_that_never_starts_is_told_with_its_pause(broker: Broker) -> None:
    async with watching(broker) as watcher, connecting(broker) as connector:
        look = vitals(connector.pool, connector.parts.calls)
        connector.keep(child().model_copy(update={"cmd": ("false",)}))
        await watcher.until(lambda: (held := watcher.held()) is not None and held.restarts > 1)
        look()
        assert families.BACKOFF.cell("child").value > 0
        assert families.RESTARTS.cell("child").value > 1
        assert {each.labels[0] for each in families.STATE.read()} == {"child"}


async def test_the_sessions_of_callers_are_a_cache(broker: Broker, client: rpc.Client) -> None:
    since = Since()
    async with keeping(broker, "per-principal", max_sessions=1) as connector:
        look = vitals(connector.pool, connector.parts.calls)
        await pid(client, ANN)
        await pid(client, ANN)
        look()
        assert families.SESSIONS.cell("child", "one").value == 1
        with anyio.fail_after(10):
            while not since.told("nexus.cache.evictions"):
                try:
                    await pid(client, BEN)
                except NexusError:
                    await anyio.sleep(0.1)
    told = since.told("nexus.cache.requests")
    assert told["sessions", "hit"] >= 1
    assert told["sessions", "miss"] >= 2
