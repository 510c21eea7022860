"""A storage that dies under load, and what routers do until it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from libs.common.config import OnStorageError
from services.router.limits.fallback import Fallback
from services.router.limits.limit import Level, StorageDown
from services.router.limits.memory import Memory
from services.router.limits.share import Share
from tests.services.router.limits.conftest import level, storing
from tests.valkey import Valkey

pytestmark = pytest.mark.anyio


class Alone:
    """The only router."""

    def __init__(self, parts: int = 1, rank: int = 0) -> None:
        self.place = (parts, rank)


@asynccontextmanager
async def guarded(
    url: str, policy: OnStorageError = "local-share", fleet: Alone | None = None
) -> AsyncIterator[Fallback]:
    async with storing(url, call_timeout=0.25) as remote:
        storage = Fallback(remote, Share(Memory(), fleet or Alone()), policy)
        task = asyncio.create_task(storage.run())
        yield storage
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def passes(storage: Fallback, levels: list[Level]) -> bool:
    return not any(each.wait for each in await storage.take(levels))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_l7_a_storage_killed_under_load_costs_no_call_and_one_share_at_most(valkey: Valkey) -> None:
    limit = [level(200, 600)]
    with capture_logs() as logs:
        async with guarded(valkey.url) as storage:
            passed = 0

            async def caller() -> None:
                nonlocal passed
                for _ in range(40):
                    let = await passes(storage, limit)
                    passed += let

            callers = [asyncio.create_task(caller()) for _ in range(20)]
            await until(lambda: passed > 50)
            valkey.stop()
            await asyncio.gather(*callers)
            assert 200 <= passed <= 400
            assert not storage.waits
            valkey.start()
            started = asyncio.get_running_loop().time()
            await until(lambda: storage.waits)
            assert asyncio.get_running_loop().time() - started < 2
            assert await passes(storage, limit)
    said = [log["event"] for log in logs if log["log_level"] != "debug"]
    assert said == ["the storage of rate limits is down", "the storage of rate limits is back"]


async def test_a_storage_that_hangs_delays_the_calls_under_way_and_no_other(valkey: Valkey) -> None:
    async with guarded(valkey.url) as storage:
        assert await passes(storage, [level(9, 60)])
        valkey.pause()
        loop = asyncio.get_running_loop()
        started = loop.time()
        assert await passes(storage, [level(9, 60)])
        assert loop.time() - started < 0.6
        started = loop.time()
        for _ in range(8):
            assert await passes(storage, [level(9, 60)])
        assert loop.time() - started < 0.2
        valkey.resume()
        await until(lambda: storage.waits)
        assert (await storage.take([level(9, 60, key="other")]))[0].remaining == 8


async def test_the_local_share_is_this_routers_part_of_the_limit(valkey: Valkey) -> None:
    valkey.stop()
    async with guarded(valkey.url, fleet=Alone(3, 0)) as storage:
        assert sum([await passes(storage, [level(10, 600)]) for _ in range(20)]) == 4


async def test_allow_limits_nothing_while_the_storage_is_down(valkey: Valkey) -> None:
    valkey.stop()
    async with guarded(valkey.url, "allow") as storage:
        assert all([await passes(storage, [level(1, 600)]) for _ in range(20)])


async def test_deny_refuses_what_is_limited_while_the_storage_is_down(valkey: Valkey) -> None:
    async with guarded(valkey.url, "deny") as storage:
        assert await passes(storage, [level(9, 600)])
        valkey.stop()
        for _ in range(3):
            with pytest.raises(StorageDown):
                await storage.take([level(9, 600)])
        valkey.start()
        await until(lambda: storage.waits)
        assert await passes(storage, [level(9, 600)])


async def test_shares_of_all_routers_are_the_limit() -> None:
    shares = [Share(Memory(lambda: 0), Alone(4, rank)) for rank in range(4)]
    passed = 0
    for share in shares:
        for _ in range(10):
            passed += not (await share.take([level(10, 60)]))[0].wait
    assert passed == 10
