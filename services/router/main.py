"""The router, wired to its real parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from libs.common import subjects
from libs.common.codec import decoder
from libs.common.config import RateLimits
from libs.common.errors import BusUnavailable
from libs.common.fleet import Fleet
from libs.common.kv import Bucket
from libs.common.messages.catalog import Worker
from libs.common.meters import watching
from libs.common.service import Context, snapshots
from libs.common.snapshot import Snapshot
from services.router.handlers import Router
from services.router.limits.fallback import Fallback
from services.router.limits.limit import StorageDown
from services.router.limits.limiter import Limiter
from services.router.limits.memory import Memory
from services.router.limits.rules import Rules
from services.router.limits.share import Share
from services.router.limits.strays import Strays
from services.router.meter import Meter
from services.router.names import NamedListing, Names
from services.router.peers import Peers
from services.router.vitals import vitals

QUEUE = "router"


@asynccontextmanager
async def build(context: Context) -> AsyncIterator[None]:
    """Know the fleet and the catalog, then take requests."""
    bus = context.bus
    fleet = Fleet(context.config.mcp.servers)
    policy = context.config.policy()
    delegated = context.config.delegated()
    names = Names(frozenset(fleet.configured), policy, delegated)
    workers: Snapshot[Worker] = Snapshot(Bucket(bus, subjects.SERVERS, owner=False), decoder(Worker))
    listings: Snapshot[NamedListing] = Snapshot(
        Bucket(bus, subjects.CATALOG, owner=False), decoder(NamedListing)
    )
    workers.listen(fleet.update)
    listings.listen(names.update)
    rules = Rules(context.config)
    listings.listen(_strays(rules))
    async with snapshots(workers, listings), limiting(context, rules) as limiter:
        keepings = {name: server.keeping for name, server in context.config.mcp.servers.items()}
        meter = None if limiter is None else Meter(limiter, names, policy)
        router = Router(bus, fleet, names, policy, keepings, meter, context.telemetry.tracing)
        bus.on_unheard = router.on_unheard
        requests = await bus.subscribe(subjects.REQUEST, router.on_request, queue=QUEUE)
        await bus.settled()
        try:
            with watching(vitals(router.waiting, policy, rules)):
                yield
        finally:
            with suppress(BusUnavailable):
                await bus.unsubscribe(requests)
            await router.drained()


@asynccontextmanager
async def limiting(context: Context, rules: Rules) -> AsyncIterator[Limiter | None]:
    """What counts calls; None where nothing is limited, which then costs nothing."""
    if not rules:
        yield None
        return
    limits = context.config.server.rate_limits or RateLimits(enabled=True)
    async with sharing(context) as peers:
        share = Share(Memory(), peers)
        if limits.storage.type == "memory":
            yield Limiter(rules, share)
            return
        async with falling_back(limits, share) as storage:
            yield Limiter(rules, storage)


@asynccontextmanager
async def sharing(context: Context) -> AsyncIterator[Peers]:
    """Know the other routers, and be known to them."""
    peers = Peers(context.bus, context.worker)
    words = await context.bus.subscribe(subjects.ROUTERS, peers.on_word)
    try:
        async with running(peers.run()):
            yield peers
    finally:
        with suppress(BusUnavailable):
            await context.bus.unsubscribe(words)


@asynccontextmanager
async def falling_back(limits: RateLimits, share: Share) -> AsyncIterator[Fallback]:
    """The configured storage, which may be down at any time, also now."""
    # Not for routers that need none: importing it takes 0.25 s of CPU and 22 MB.
    from services.router.limits.connect import connect

    remote = connect(limits.storage)
    storage = Fallback(remote, share, limits.on_storage_error)
    try:
        await remote.warm(max(1, limits.storage.pool.min_idle))
    except StorageDown as error:
        storage.lose(error)
    try:
        async with running(storage.run()):
            with watching(remote.look):
                yield storage
    finally:
        await remote.close()


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` beside what is inside, and cancel it after."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(work)
        try:
            yield
        finally:
            task.cancel()


def _strays(rules: Rules) -> Callable[[str, NamedListing | None], None]:
    strays = Strays(rules.tools)

    def on_listing(key: str, listing: NamedListing | None) -> None:
        if listing is not None:
            strays.check(listing.server, frozenset(tool.name for tool in listing.tools))

    return on_listing
