"""`search` and `execute` at work.

What is wrong with their arguments is said in a tool result, which a model sees and can mend (MCP 2025-11-25,
Tools, Error Handling); an unknown tool is an error of the protocol.
"""

from __future__ import annotations

from msgspec import Raw
from msgspec.json import Decoder
from msgspec.structs import replace

from libs.common.codec import decoder, raw
from libs.common.messages.calls import SearchTools
from libs.common.messages.catalog import Listing
from libs.common.messages.search import ToolsFound
from services.edge import found as shown
from services.edge.arguments import read
from services.edge.forward import Forward
from services.edge.gateway import Catalog, Gateway
from services.edge.settings import Settings
from services.edge.surface import Ask
from services.edge.tally import hits
from services.edge.tools import EXECUTE, EXPECTED, SEARCH, ExecuteArguments, SearchArguments
from services.edge.visitor import visitor

_found: Decoder[ToolsFound] = decoder(ToolsFound)


class MetaTools:
    """The two tools behind which are all others."""

    def __init__(self, gateway: Gateway, catalog: Catalog, settings: Settings, forward: Forward) -> None:
        self._catalog = catalog
        self._gateway = gateway
        self._settings = settings
        self._forward = forward

    async def execute(self, ask: Ask) -> Raw:
        """The result of the tool that is named in the arguments."""
        wanted = read(ask.params.get("arguments", {}), ExecuteArguments, EXPECTED)
        if isinstance(wanted, str):
            return refused(EXECUTE, wanted)
        rest = {key: value for key, value in ask.params.items() if key != "name"}
        return await self._forward.execute(ask, wanted.name, {**rest, "arguments": wanted.arguments})

    async def search(self, ask: Ask) -> Raw:
        """The tools found, or what a model may try instead."""
        wanted = read(ask.params.get("arguments", {}), SearchArguments, EXPECTED)
        if isinstance(wanted, str):
            return refused(SEARCH, wanted)
        if not wanted.query and not wanted.keywords:
            return refused(SEARCH, '"query" or "keywords" is needed.')
        listings = self._catalog.personal(ask.principal)
        message = SearchTools(
            deadline=self._settings.deadline(),
            query=wanted.query,
            keywords=tuple(wanted.keywords),
            limit=wanted.limit,
            principal=ask.principal,
            digests={listing.server: listing.digest for listing in listings},
            server=wanted.server,
            read_only=wanted.read_only,
            detail=wanted.detail,
            trace=ask.trace,
        )
        found = _found.decode(await self._gateway.request(message))
        if found.unknown:
            message = replace(message, listings=tuple(map(_searched, listings)), again=True)
            found = _found.decode(await self._gateway.request(message))
        hits.set(len(found.hits))
        return shown.result(found, wanted, structured=self._settings.structured_content)


def refused(tool: str, problem: str) -> Raw:
    """The result of a tool of ours that was not run."""
    if (who := visitor()) is not None:
        who.refused = True
    text = f"The arguments do not fit the schema of `{tool}`; nothing was run. {problem}"
    return raw(
        {
            "content": [{"type": "text", "text": text}],
            "isError": True,
            "_meta": {"nexus/executed": "no"},
        }
    )


def _searched(listing: Listing) -> Listing:
    """What a search is about: the tools."""
    return Listing(listing.server, listing.digest, listing.tools)
