"""What a router counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs.common import meters, rpc
from libs.common.bus import Bus
from libs.common.messages.calls import ExecuteTool
from libs.common.meters import families
from tests.broker import Broker
from tests.meters import Since
from tests.services.router.test_limits import SERVERS, TOOL, call, routing, scope, shared
from tests.services.router.test_main import fleet, soon
from tests.valkey import Valkey

__all__ = ["fleet"]

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(bus: Bus, fleet: rpc.Server[Any]) -> AsyncIterator[rpc.Client]:
    async with rpc.Client(bus) as client:
        yield client


def value(name: str) -> float:
    return next(each.series[0].value for each in meters.collect() if each.name == name)


async def test_requests_are_counted_by_what_became_of_them(broker: Broker, client: rpc.Client) -> None:
    since = Since()
    async with routing(broker, SERVERS):
        await scope(client, call())
        await scope(client, ExecuteTool("git__log", soon()))
        await scope(client, call("x" * 10, worker=""))
    assert since.told("nexus.router.requests") == {("call", "forwarded"): 2, ("execute", "forwarded"): 1}


async def test_every_level_tells_how_it_decided(broker: Broker, client: rpc.Client) -> None:
    since = Since()
    both = TOOL + '[server.rate_limits]\nenabled = true\nper_user = { limit = 9, interval = "600s" }\n'
    async with routing(broker, both):
        assert [await scope(client, call()) for _ in range(3)] == ["", "", "tool"]
    assert since.told("nexus.limits.decisions") == {
        ("tool", "allowed"): 2,
        ("tool", "refused"): 1,
        ("user", "allowed"): 3,
    }
    assert since.told("nexus.router.requests") == {("call", "forwarded"): 2, ("call", "refused"): 1}


async def test_a_storage_is_timed_and_told_of_when_it_is_down(
    broker: Broker, client: rpc.Client, valkey: Valkey
) -> None:
    since = Since()
    async with routing(broker, shared(valkey.url, "allow")):
        await scope(client, call())
        assert value("nexus.limits.storage.up") == 1
        assert value("redis.pool.connections.in_use") == 0
        assert value("redis.pool.connections.available") >= 1
        valkey.stop()
        await scope(client, call())
        assert families.STORAGE.cell().value == 0
    told = since.told("redis.command.duration")
    assert told["check_and_consume", "success", ""] >= 2
    assert told["check_and_consume", "error", "script_execution"] >= 1
    assert since.told("nexus.limits.decisions") == {("tool", "allowed"): 1, ("tool", "unchecked"): 1}
