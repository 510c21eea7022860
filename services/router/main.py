"""The router, wired to its real parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from libs.common import subjects
from libs.common.codec import decoder
from libs.common.errors import BusUnavailable
from libs.common.fleet import Fleet
from libs.common.kv import Bucket, Snapshot
from libs.common.messages.catalog import Worker
from libs.common.service import Context, snapshots
from services.router.handlers import Router
from services.router.names import NamedListing, Names

QUEUE = "router"


@asynccontextmanager
async def build(context: Context) -> AsyncIterator[None]:
    """Know the fleet and the catalog, then take requests."""
    bus = context.bus
    fleet = Fleet(context.config.mcp.servers)
    policy = context.config.policy()
    names = Names(frozenset(fleet.configured), policy)
    workers: Snapshot[Worker] = Snapshot(Bucket(bus, subjects.SERVERS, owner=False), decoder(Worker))
    listings: Snapshot[NamedListing] = Snapshot(
        Bucket(bus, subjects.CATALOG, owner=False), decoder(NamedListing)
    )
    workers.listen(fleet.update)
    listings.listen(names.update)
    async with snapshots(workers, listings):
        sharings = {name: server.sharing for name, server in context.config.mcp.servers.items()}
        router = Router(bus, fleet, names, policy, sharings)
        bus.on_unheard = router.on_unheard
        requests = await bus.subscribe(subjects.REQUEST, router.on_request, queue=QUEUE)
        await bus.settled()
        try:
            yield
        finally:
            with suppress(BusUnavailable):
                await bus.unsubscribe(requests)
