"""The indexer, wired to its real parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from libs.common import subjects
from libs.common.codec import decoder
from libs.common.errors import BusUnavailable
from libs.common.facts import Facts, ToolsListed
from libs.common.kv import Bucket
from libs.common.messages.catalog import Listing
from libs.common.meters import watching
from libs.common.service import Context, snapshots
from libs.common.snapshot import Snapshot
from services.indexer import handlers
from services.indexer.catalog import Catalog
from services.indexer.index import Index, hybrid
from services.indexer.vitals import vitals

log = structlog.get_logger("indexer")

QUEUE = "indexer"


@asynccontextmanager
async def build(context: Context) -> AsyncIterator[None]:
    """Know the catalog, learn from facts, answer queries."""
    bus = context.bus
    configured = frozenset(context.config.mcp.servers)
    catalog = Catalog(configured, _empty())
    bucket = Bucket(bus, subjects.CATALOG, owner=True)
    listings: Snapshot[Listing] = Snapshot(bucket, decoder(Listing))
    listings.listen(catalog.update)
    facts = Facts(context.nats_url, context.role, replicas=bus.replicas)
    facts.subscribe(ToolsListed, handlers.Facts(bucket, listings, configured, context.trail).on_listed)
    policy = context.config.policy()
    searches = handlers.Searches(bus, catalog, policy, context.telemetry.tracing)
    async with snapshots(listings), facts:
        queries = await bus.subscribe(subjects.SEARCH, searches.on_query, queue=QUEUE)
        await bus.settled()
        try:
            with watching(vitals(catalog, policy)):
                yield
        finally:
            with suppress(BusUnavailable):
                await bus.unsubscribe(queries)


def _empty() -> Index:
    """An index without tools; says in the log if it will not know what words mean."""
    index = hybrid()
    if not index.hybrid:
        log.warning("numpy is not installed, so tools are searched by words alone")
    return index
