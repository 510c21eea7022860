"""What the indexer answers: searches, and names nobody has; what it learns from facts."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from msgspec import Raw, convert
from msgspec.json import Decoder
from nats.aio.msg import Msg

from libs.common import rpc
from libs.common.audit.trail import NO_TRAIL, Trail
from libs.common.bus import Bus
from libs.common.codec import UNREADABLE, decoder, encode, raw
from libs.common.errors import AuditUnavailable, InvalidRequest, NexusError, Refused
from libs.common.facts import ToolsListed
from libs.common.kv import Bucket
from libs.common.messages.calls import Query, ResolveTool, SearchTools
from libs.common.messages.catalog import Hint, Listing
from libs.common.messages.search import ToolsFound
from libs.common.meters import families
from libs.common.policy import Policy
from libs.common.snapshot import Snapshot
from services.indexer.catalog import Catalog
from services.indexer.drift import findings
from services.indexer.finder import Finder
from services.indexer.spanned import searching, told

if TYPE_CHECKING:
    from libs.common.telemetry.tracing import Tracing

log = structlog.get_logger("indexer")

_query: Decoder[Query] = decoder(Query)


class Searches:
    """Answers queries from the catalog, each within milliseconds, so none gets a task of its own."""

    def __init__(self, bus: Bus, catalog: Catalog, policy: Policy, tracing: Tracing | None = None) -> None:
        self._tracing = tracing
        self._bus = bus
        self._finder = Finder(catalog, policy)

    async def on_query(self, msg: Msg) -> None:
        """Answer one query on the caller's own inbox."""
        await rpc.respond(self._bus, msg.reply, self._answer(msg.data))

    def _answer(self, data: bytes) -> Raw | NexusError:
        try:
            query = _query.decode(data)
        except UNREADABLE as error:
            log.warning("unreadable query", error=str(error))
            return InvalidRequest("this indexer cannot read the query")
        if time.time() >= query.deadline:
            return Refused("the deadline was over before the search was started")
        with searching(self._tracing, query):
            return self._result(query)

    def _result(self, query: Query) -> Raw:
        match query:
            case SearchTools():
                found = self._found(query)
                told(found)
                return raw(found)
            case ResolveTool():
                return self.resolve(query)

    def _found(self, query: SearchTools) -> ToolsFound:
        began = time.perf_counter()
        found = self._finder.find(query)
        families.SEARCHES.cell().observe(time.perf_counter() - began)
        if not found.hits and not found.unknown:
            families.EMPTY.cell().add()
        return found

    def resolve(self, query: ResolveTool) -> Raw:
        """A tool result for a name nobody has, which a model can read and act on."""
        nearest = list(self._finder.near(query.name, query.principal))
        text = f'There is no tool "{query.name[:128]}"; nothing was run.'
        if nearest:
            text += f" The nearest names are: {', '.join(nearest)}."
        text += " Call `search` to find the exact name."
        return raw(
            {
                "content": [{"type": "text", "text": text}],
                "isError": True,
                "_meta": {"nexus/executed": "no", "nexus/nearest": nearest},
            }
        )


class Facts:
    """Folds what connectors list into the catalog bucket, which every replica watches."""

    def __init__(
        self,
        bucket: Bucket,
        known: Snapshot[Listing],
        configured: frozenset[str],
        trail: Trail = NO_TRAIL,
    ) -> None:
        self._trail = trail
        self._bucket = bucket
        self._known = known
        self._configured = configured
        self._written: dict[str, tuple[int, Listing]] = {}

    async def on_listed(self, fact: ToolsListed) -> None:
        """Store a listing if it is new; a server that is not configured is ignored."""
        server, listing = fact.server, _listing(fact)
        known = self._current(server)
        if server not in self._configured or _is_same(known, listing):
            return
        self._find(known, listing)
        self._written[server] = await self._bucket.put(server, encode(listing)), listing
        log.info("catalog updated", server=server, tools=len(listing.tools))

    def _find(self, known: Listing | None, listing: Listing) -> None:
        """Tell of changed definitions before they count: a fact that comes twice tells twice."""
        if not self._trail.enabled:
            return
        with suppress(AuditUnavailable):
            for finding in findings(known, listing):
                self._trail.record(finding)

    def _current(self, server: str) -> Listing | None:
        """What the bucket holds: what came back from it, or what we wrote if that has not come back yet."""
        revision, written = self._written.get(server, (0, None))
        if revision > self._known.revisions.get(server, 0):
            return written
        return self._known.values.get(server)


def _is_same(known: Listing | None, listing: Listing) -> bool:
    """The digest is over the lists alone, whatever their order."""
    return known is not None and (
        (known.digest, known.version, known.instructions)
        == (listing.digest, listing.version, listing.instructions)
        and (known.capabilities, known.info, known.hints)
        == (listing.capabilities, listing.info, listing.hints)
    )


def _listing(fact: ToolsListed) -> Listing:
    return Listing(
        server=fact.server,
        digest=fact.digest,
        tools=tuple(raw(tool) for tool in fact.tools if isinstance(tool.get("name"), str)),
        prompts=tuple(map(raw, fact.prompts)),
        resources=tuple(map(raw, fact.resources)),
        templates=tuple(map(raw, fact.templates)),
        version=fact.version,
        capabilities=raw(fact.capabilities),
        info=raw(fact.info),
        instructions=fact.instructions,
        hints=convert(fact.hints, dict[str, Hint]),
    )
