"""A connector's parts on a real bus, and what the rest of the gateway sees of them."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import anyio

from libs.common import rpc, subjects
from libs.common.audit.trail import NO_TRAIL, Trail
from libs.common.bus import Bus
from libs.common.codec import decoder, raw
from libs.common.config import Config, StdioServer
from libs.common.facts import Fact, Facts, ServerFailed, ServerStarted, ToolsListed
from libs.common.kv import Bucket
from libs.common.lease import Lease, Owner
from libs.common.messages.calls import Call, Order
from libs.common.messages.catalog import Held, Worker
from libs.common.service import snapshots
from libs.common.snapshot import Snapshot
from services.connector.handlers import Calls
from services.connector.keeper import Keeper, Parts, slots
from services.connector.main import connector
from services.connector.pool import Pool
from tests.broker import Broker
from tests.services.connector.parts import CHILDREN

F = TypeVar("F", bound=Fact)

NEVER = 0.0


def tool(name: str, **more: Any) -> str:
    """A line of the file that `children/lists.py` lists."""
    return json.dumps({"name": name, "inputSchema": {"type": "object"}, **more})


def lister(path: Path, *lines: str, info: str = "", **settings: Any) -> StdioServer:
    """A server that lists these lines, and whatever `path` holds later."""
    path.write_text("\n".join(lines))
    cmd = (sys.executable, str(CHILDREN / "lists.py"), str(path), *([info] if info else []))
    return StdioServer(**{"name": "child", "cmd": cmd, "era": "legacy", "start_timeout": 20.0, **settings})


@dataclass
class Watcher:
    """Facts and workers' records, as they arrive."""

    facts: list[Fact] = field(default_factory=list)
    workers: dict[str, Worker] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def on_fact(self, fact: Fact) -> None:
        self.facts.append(fact)
        self.news.set()

    def on_worker(self, key: str, worker: Worker | None) -> None:
        self.workers.pop(key, None)
        if worker is not None:
            self.workers[key] = worker
        self.news.set()

    def of(self, kind: type[F]) -> list[F]:
        """The facts of one kind so far."""
        return [fact for fact in self.facts if isinstance(fact, kind)]

    def held(self, worker: str = "w1", server: str = "child") -> Held | None:
        """What a worker says of a server."""
        known = self.workers.get(worker)
        return known.servers.get(server) if known else None

    def is_ready(self, worker: str = "w1", restarts: int = 0) -> bool:
        """Whether `worker` takes calls, after that many restarts at least."""
        held = self.held(worker)
        return held is not None and held.state == "ready" and held.restarts >= restarts

    async def until(self, true: Callable[[], bool], seconds: float = 20) -> None:
        """Wait for news that make it true."""
        with anyio.fail_after(seconds):
            while not true():
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def watching(broker: Broker) -> AsyncIterator[Watcher]:
    """What an indexer and an edge hear."""
    watcher = Watcher()
    facts = Facts(broker.url, "indexer")
    for kind in (ToolsListed, ServerStarted, ServerFailed):
        facts.subscribe(kind, watcher.on_fact)
    async with connected(broker, "edge") as bus, facts:
        workers: Snapshot[Worker] = Snapshot(Bucket(bus, subjects.SERVERS, owner=True), decoder(Worker))
        workers.listen(watcher.on_worker)
        async with snapshots(workers):
            yield watcher


@asynccontextmanager
async def connected(broker: Broker, role: str) -> AsyncIterator[Bus]:
    """A connection of its own, closed at the end."""
    bus = Bus(broker.url, role)
    await bus.connect()
    try:
        yield bus
    finally:
        await bus.close()


@dataclass
class Connector:
    """One worker's parts; `keep` starts a keeper."""

    bus: Bus
    parts: Parts
    leases: Bucket
    owners: Snapshot[Owner]
    tasks: asyncio.TaskGroup
    answering: Calls
    keepers: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def pool(self) -> Pool:
        return self.parts.pool

    def lease(self, server: StdioServer, slot: int) -> Lease:
        owner = Owner(self.pool.worker, "boot")
        return Lease(self.leases, self.owners, f"{server.name}.{slot}", owner)

    def keep(self, server: StdioServer, *, leased: bool = False) -> None:
        """Keep every instance of `server` that this worker may run."""
        for slot in slots(server):
            lease = self.lease(server, slot) if leased else None
            self.keepers.append(self.tasks.create_task(Keeper(self.parts, server, slot, lease).run()))


@asynccontextmanager
async def connecting(
    broker: Broker,
    worker: str = "w1",
    relist: float = NEVER,
    most: Mapping[str, int] | None = None,
    trail: Trail = NO_TRAIL,
) -> AsyncIterator[Connector]:
    """A connector without servers; its keepers end with it."""
    async with connected(broker, "connector") as bus, Facts(broker.url, "connector") as facts:
        pool = Pool(Bucket(bus, subjects.SERVERS, owner=True), worker)
        leases = Bucket(bus, subjects.LEASES, owner=True)
        owners: Snapshot[Owner] = Snapshot(leases, decoder(Owner))
        answering = Calls(pool, most or {})
        calls: rpc.Server[Order] = rpc.Server(bus, worker, decoder(Order), answering.handle)
        await calls.start()
        async with snapshots(owners), asyncio.TaskGroup() as tasks:
            parts = Parts(pool, calls, facts, connector(Config()), relist, trail)
            made = Connector(bus, parts, leases, owners, tasks, answering)
            beat = tasks.create_task(pool.beat())
            try:
                yield made
            finally:
                await answering.close()
                await calls.drain(0)
                for task in (*made.keepers, beat):
                    task.cancel()


async def use(client: rpc.Client, name: str, arguments: Any = None, server: str = "child") -> str:
    """The text a tool answers with, asked for over the bus."""
    params = raw({"arguments": arguments or {}})
    message = Call(server, "tools/call", time.time() + 10, params, tool=name)
    with anyio.fail_after(12):
        result = await client.request(subjects.call(server), message, deadline=message.deadline)
    return str(json.loads(bytes(result))["content"][0]["text"])
