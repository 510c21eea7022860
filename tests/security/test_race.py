"""Routers that race for one limit, as processes of their own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from msgspec import Raw

from libs.common import rpc, subjects
from libs.common.bus import Bus
from libs.common.codec import decoder, encode
from libs.common.errors import CallFailed, RateLimited
from libs.common.kv import Bucket
from libs.common.messages.calls import Call, CallServer
from libs.common.messages.catalog import Held, Listing, Worker
from tests.broker import Broker
from tests.valkey import Valkey

pytestmark = [pytest.mark.anyio, pytest.mark.system]

ROUTERS = 4
CALLS = 10_000
LIMIT = 1_000
AT_ONCE = 256
CONFIG = """
[server.rate_limits]
enabled = true
storage = {{ type = "redis", url = "{url}", call_timeout = "20s" }}
[mcp.servers.git]
cmd = ["git-mcp"]
rate_limits = {{ limit = {limit}, interval = "1h" }}
"""


@contextmanager
def routers(folder: Path, broker: Broker, valkey: Valkey) -> Iterator[Path]:
    """Real ones, in a fleet; the log they write."""
    config = folder / "nexus.toml"
    config.write_text(CONFIG.format(url=valkey.url, limit=LIMIT), encoding="utf-8")
    command = [sys.executable, "-m", "libs.cli.main", "router", "-c", str(config), "--nats", broker.url]
    path = folder / "routers.log"
    with path.open("wb") as log:
        processes = [subprocess.Popen(command, stdout=log, stderr=log) for _ in range(ROUTERS)]
        try:
            yield path
        finally:
            for process in processes:
                process.terminate()
            assert [process.wait(20) for process in processes] == [0] * ROUTERS


async def run(call: Call, job: rpc.Job) -> Raw:
    return Raw(b"{}")


@asynccontextmanager
async def connector(bus: Bus) -> AsyncIterator[None]:
    """Holds `git`, and says so as often as it must."""
    workers = Bucket(bus, subjects.SERVERS, owner=True)
    await Bucket(bus, subjects.CATALOG, owner=True).put("git", encode(Listing("git", "1")))
    server: rpc.Server[Call] = rpc.Server(bus, "w1", decoder(Call), run)
    await server.start()
    await server.listen(subjects.call("git"), "connector")

    async def beat() -> None:
        while True:
            await workers.put("w1", encode(Worker("w1", {"git": Held("ready", time.time())})))
            await asyncio.sleep(1)

    beating = asyncio.create_task(beat())
    yield
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)
    await server.drain(0)


async def all_ready(log: Path) -> None:
    """Return when every router has said that it takes requests."""
    async with asyncio.timeout(60):
        while log.read_text(encoding="utf-8").count(" ready ") < ROUTERS:
            await asyncio.sleep(0.05)


async def test_l5_of_ten_thousand_racing_calls_exactly_the_limit_passes(
    broker: Broker, bus: Bus, other: Bus, valkey: Valkey, tmp_path: Path
) -> None:
    passed, refused = 0, Counter[int]()
    numbers = iter(range(CALLS))

    async def caller(client: rpc.Client) -> None:
        nonlocal passed
        for _ in numbers:
            deadline = time.time() + 60
            try:
                await client.request(subjects.REQUEST, CallServer("git", "ping", deadline), deadline=deadline)
            except CallFailed as error:
                refused[error.failure().code] += 1
            else:
                passed += 1

    async with connector(other), rpc.Client(bus) as client:
        with routers(tmp_path, broker, valkey) as log:
            await all_ready(log)
            async with asyncio.timeout(90):
                await asyncio.gather(*(caller(client) for _ in range(AT_ONCE)))
    assert (passed, refused) == (LIMIT, {RateLimited.code: CALLS - LIMIT})
