"""The same answers from the script on a real server, and what its own traps are."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest
from redis.asyncio import Redis

from services.router.limits.limit import Level, StorageDown
from services.router.limits.memory import Memory
from services.router.limits.remote import Remote
from tests.broker import free_port
from tests.services.router.limits.conftest import SECOND, level, storing
from tests.valkey import Valkey

pytestmark = pytest.mark.anyio

START = 1_790_000_000 * SECOND
SHAPES = [(1, 60), (3, 60), (10, 3600), (40, 90), (2_500, 60), (100, 60.000001)]


def trace(seed: int, count: int) -> list[tuple[int, list[Level]]]:
    """Calls at growing times, each to some of twelve limits of all kinds."""
    chance, now = random.Random(seed), START
    known = [
        level(limit, seconds, key=f"{limit}", scope="smooth" if smooth else "log", smooth=smooth)
        for limit, seconds in SHAPES
        for smooth in (False, True)
    ]
    calls = []
    for _ in range(count):
        now += chance.choice((0, 0, 1, 1000, SECOND // 3, 2 * SECOND, chance.randrange(70 * SECOND)))
        calls.append((now, chance.sample(known, chance.randrange(1, 7))))
    return calls


@pytest.mark.parametrize("seed", range(5))
async def test_l2_memory_and_server_give_the_same_readings(remote: Remote, seed: int) -> None:
    calls = trace(seed, 600)
    now = START
    memory = Memory(lambda: now)
    refused = 0
    for now, levels in calls:
        here, there = memory.count(levels), await remote.take(levels, now)
        assert here == there
        refused += any(each.wait for each in here)
    assert 50 < refused < 550


async def test_without_a_time_given_the_servers_own_clock_counts(remote: Remote) -> None:
    fast = level(2, 0.2)
    said = [(await remote.take([fast]))[0] for _ in range(3)]
    assert [bool(each.wait) for each in said] == [False, False, True]
    await asyncio.sleep(said[-1].wait / SECOND)
    assert not (await remote.take([fast]))[0].wait


async def test_l8_a_clock_that_goes_back_lets_nothing_more_through(remote: Remote) -> None:
    for smooth in (False, True):
        one = level(1, 60, key=f"back{smooth}", smooth=smooth)
        assert not (await remote.take([one], START))[0].wait
        (said,) = await remote.take([one], START - 3600 * SECOND)
        assert said.wait == 3660 * SECOND


async def test_l9_counters_expire_and_a_refused_call_leaves_none(remote: Remote, redis: Redis) -> None:
    await asyncio.gather(*(remote.take([level(3, 0.3, key=f"u{number}")]) for number in range(500)))
    assert await redis.dbsize() > 0
    await remote.take([level(1, 600, key="x", scope="global")])
    await remote.take([level(1, 600, key="x", scope="global"), level(1, 600, key="never")])
    lives = [await redis.pttl(key) for key in await redis.keys("*")]
    assert -1 not in lives
    assert max(lives) <= 600_002
    async with asyncio.timeout(5):
        while len(await redis.keys("*")) > 1:
            await asyncio.sleep(0.05)


async def test_a_full_counter_of_a_thousand_is_small(remote: Remote, redis: Redis) -> None:
    for number in range(1000):
        await remote.take([level(1000, 3600)], START + number)
    (key,) = await redis.keys("*")
    assert (await redis.memory_usage(key) or 0) < 20_000
    assert await redis.llen(key) == 2001


async def test_a_large_limit_keeps_a_hundred_entries(remote: Remote, redis: Redis) -> None:
    for number in range(1000):
        await remote.take([level(100_000, 60)], START + number * 60_000)
    (key,) = await redis.keys("*")
    assert await redis.llen(key) <= 2 * 101 + 1


async def test_l7_scripts_that_were_flushed_are_loaded_again(remote: Remote, redis: Redis) -> None:
    assert not (await remote.take([level(2, 60)]))[0].wait
    await redis.script_flush()
    assert (await remote.take([level(2, 60)]))[0].remaining == 0


async def test_a_server_that_is_silent_costs_the_timeout_and_no_more(valkey: Valkey, remote: Remote) -> None:
    async with storing(valkey.url, call_timeout=0.2) as hasty:
        await hasty.take([level(5, 60)])
        valkey.pause()
        started = time.monotonic()
        with pytest.raises(StorageDown, match="no answer within 200 ms"):
            await hasty.take([level(5, 60)])
        assert time.monotonic() - started < 1
        valkey.resume()
    assert (await remote.take([level(5, 60, key="other")]))[0].remaining == 4


async def test_a_connection_that_timed_out_answers_no_later_call(valkey: Valkey) -> None:
    async with storing(valkey.url, call_timeout=0.1, pool={"max_size": 1}) as hasty:
        valkey.pause()
        for number in range(3):
            with pytest.raises(StorageDown):
                await hasty.take([level(100 + number, 60, key=f"late{number}")])
        valkey.resume()
        await hasty.probe()
        said = [(await hasty.take([level(10 + number, 60, key=f"n{number}")]))[0] for number in range(20)]
    assert [each.remaining for each in said] == [9 + number for number in range(20)]


async def test_a_server_that_is_gone_is_known_at_once(valkey: Valkey, remote: Remote) -> None:
    await remote.probe()
    valkey.stop()
    started = time.monotonic()
    for _ in range(3):
        with pytest.raises(StorageDown):
            await remote.take([level(5, 60)])
    assert time.monotonic() - started < 0.5


async def test_a_server_without_memory_is_down_for_the_probe_as_well(remote: Remote, redis: Redis) -> None:
    await redis.config_set("maxmemory", "1")
    for ask in (remote.probe, lambda: remote.take([level(5, 60)])):
        with pytest.raises(StorageDown, match="memory"):
            await ask()
    await redis.config_set("maxmemory", "0")
    await remote.probe()


async def test_more_calls_than_connections_wait_for_one(valkey: Valkey) -> None:
    async with storing(valkey.url, pool={"max_size": 2}) as remote:
        said = await asyncio.gather(*(remote.take([level(100, 60)]) for _ in range(200)))
    assert sum(not each[0].wait for each in said) == 100


@pytest.mark.parametrize(
    ("prefix", "key"), [("nexus:", "nexus:{nexus}:user:k"), ("a{own}:", "a{own}:user:k")]
)
async def test_the_prefix_and_one_hash_tag_begin_every_key(
    valkey: Valkey, redis: Redis, prefix: str, key: str
) -> None:
    async with storing(valkey.url, key_prefix=prefix) as remote:
        await remote.take([level(5, 60)])
    assert await redis.keys("*") == [key.encode()]


async def test_a_cluster_finds_all_levels_on_one_node(tmp_path: Path) -> None:
    node = Valkey(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    node.start()
    try:
        async with Redis.from_url(node.url) as admin, storing(node.url) as remote:
            await admin.cluster("ADDSLOTSRANGE", "0", "16383")
            async with asyncio.timeout(10):
                while "'cluster_state': 'ok'" not in str(await admin.cluster("INFO")):
                    await asyncio.sleep(0.05)
            levels = [level(5, 60, key=f"k{number}", scope=f"s{number}") for number in range(6)]
            assert [each.remaining for each in await remote.take(levels)] == [4] * 6
    finally:
        node.stop()


async def test_connections_are_opened_ahead(valkey: Valkey, redis: Redis) -> None:
    async with storing(valkey.url) as remote:
        before = len(await redis.client_list())
        await remote.warm(5)
        assert len(await redis.client_list()) == before + 5


async def test_a_connection_that_closes_as_it_is_written_to_is_a_storage_that_is_down(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def closed(*_: object) -> None:
        raise RuntimeError("unable to perform operation; the handler is closed")

    # uvloop says so in a moment that cannot be brought about: between the ping and the command behind it.
    monkeypatch.setattr(remote._client, "evalsha", closed)
    with pytest.raises(StorageDown, match="the handler is closed"):
        await remote.take([level(1, 60)])
