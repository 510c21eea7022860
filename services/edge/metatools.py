"""`search` and `execute` at work.

What is wrong with their arguments is said in a tool result, which a model sees and can mend (MCP 2025-11-25,
Tools, Error Handling); an unknown tool is an error of the protocol.
"""

from __future__ import annotations

from typing import Any, TypeVar

from msgspec import Raw, ValidationError, convert
from msgspec.json import Decoder
from msgspec.structs import replace

from libs.common.codec import decoder, encode, raw
from libs.common.messages.calls import SearchTools
from libs.common.messages.catalog import Listing
from libs.common.messages.search import ToolsFound
from services.edge.forward import Forward
from services.edge.gateway import Catalog, Gateway
from services.edge.settings import Settings
from services.edge.surface import Ask
from services.edge.tools import EXECUTE, SEARCH, ExecuteArguments, SearchArguments

_found: Decoder[ToolsFound] = decoder(ToolsFound)
Arguments = TypeVar("Arguments")


class MetaTools:
    """The two tools behind which are all others."""

    def __init__(self, gateway: Gateway, catalog: Catalog, settings: Settings, forward: Forward) -> None:
        self._catalog = catalog
        self._gateway = gateway
        self._settings = settings
        self._forward = forward

    async def execute(self, ask: Ask) -> Raw:
        """The result of the tool that is named in the arguments."""
        wanted = _arguments(ask, ExecuteArguments)
        if isinstance(wanted, str):
            return refused(EXECUTE, wanted)
        rest = {key: value for key, value in ask.params.items() if key != "name"}
        return await self._forward.execute(ask, wanted.name, {**rest, "arguments": wanted.arguments})

    async def search(self, ask: Ask) -> Raw:
        """One text for each hit, and the same structured."""
        wanted = _arguments(ask, SearchArguments)
        if isinstance(wanted, str):
            return refused(SEARCH, wanted)
        if not wanted.query and not wanted.keywords:
            return refused(SEARCH, '"query" or "keywords" is needed')
        listings = self._catalog.personal(ask.principal)
        message = SearchTools(
            deadline=self._settings.deadline(),
            query=wanted.query,
            keywords=tuple(wanted.keywords),
            limit=wanted.limit,
            principal=ask.principal,
            digests={listing.server: listing.digest for listing in listings},
        )
        found = _found.decode(await self._gateway.request(message))
        if found.unknown:
            message = replace(message, listings=tuple(map(_searched, listings)), again=True)
            found = _found.decode(await self._gateway.request(message))
        return self._shown(found)

    def _shown(self, found: ToolsFound) -> Raw:
        """One text per hit, because some clients show a model only those."""
        texts = [encode(hit).decode() for hit in found.hits] or [_nothing(found)]
        result: dict[str, Any] = {"content": [{"type": "text", "text": text} for text in texts]}
        if self._settings.structured_content:
            result["structuredContent"] = {"results": found.hits}
        return raw(result)


def refused(tool: str, problem: str) -> Raw:
    """The result of a tool of ours that was not run."""
    text = f"The arguments do not fit the schema of `{tool}`; nothing was run. {problem}"
    return raw(
        {
            "content": [{"type": "text", "text": text}],
            "isError": True,
            "_meta": {"nexus/executed": "no"},
        }
    )


def _arguments(ask: Ask, kind: type[Arguments]) -> Arguments | str:
    """The arguments, or what is wrong with them."""
    try:
        return convert(ask.params.get("arguments", {}), kind)
    except ValidationError as error:
        return str(error)[:300]


def _searched(listing: Listing) -> Listing:
    """What a search is about: the tools."""
    return Listing(listing.server, listing.digest, listing.tools)


def _nothing(found: ToolsFound) -> str:
    near = f" The nearest names are: {', '.join(found.nearest)}." if found.nearest else ""
    return f"No tool matches.{near} Try other or fewer words."
