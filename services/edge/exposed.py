"""Which tools the aggregate lists and takes by name: its own two, and what `expose` and `pinned` add."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from libs.common.errors import InvalidParams
from libs.common.identity import Principal
from libs.common.naming import SEPARATOR
from services.edge.cursors import Cursors
from services.edge.forward import Forward
from services.edge.gateway import Catalog
from services.edge.metatools import MetaTools
from services.edge.params import Mirrored
from services.edge.settings import Settings
from services.edge.shelf import TOOLS, Shelf
from services.edge.surface import Ask
from services.edge.tools import EXECUTE, SEARCH, own_tools


class Exposed:
    """`tools/list` and `tools/call` of the aggregate."""

    def __init__(
        self,
        catalog: Catalog,
        settings: Settings,
        schemas: Mirrored,
        cursors: Cursors,
        forward: Forward,
        meta: MetaTools,
    ) -> None:
        self._catalog = catalog
        self._only = None if settings.expose == "all" else frozenset(settings.pinned)
        self._policy = settings.policy
        self._shelf = Shelf(catalog, settings.policy, TOOLS, self._only)
        self._schemas = schemas
        self._cursors = cursors
        self._forward = forward
        self._meta = meta
        self._own = own_tools(structured=settings.structured_content)

    @property
    def changing(self) -> bool:
        """Whether the list may ever be another."""
        return self._only is None or bool(self._only)

    @property
    def shelf(self) -> Shelf:
        """The servers' own tools among those listed."""
        return self._shelf

    def list(self, ask: Ask) -> dict[str, Any]:
        """One page; the gateway's own tools begin the first."""
        page = self._cursors.page(ask, self._shelf.view(ask.principal), TOOLS.member)
        if "cursor" not in ask.params:
            page[TOOLS.member] = [*self._own, *page[TOOLS.member]]
        return page

    async def call(self, ask: Ask) -> Raw:
        """Raises `InvalidParams` for a tool that is not listed."""
        name = ask.params.get("name")
        if name == EXECUTE:
            return await self._meta.execute(ask)
        if name == SEARCH:
            return await self._meta.search(ask)
        if not isinstance(name, str):
            raise InvalidParams('tools/call needs the name of a tool in "name"')
        if not self._callable(name, ask.principal):
            raise InvalidParams(
                f"unknown tool {name[:64]!r}: call `{EXECUTE}` with this name and its arguments, "
                f"or `{SEARCH}` to find the right name"
            )
        rest = {key: value for key, value in ask.params.items() if key != "name"}
        return await self._forward.execute(ask, name, rest)

    def mirrored(self, tool: object, principal: Principal) -> Any | None:
        """The input schema of a listed tool that wants arguments repeated in headers."""
        entry = self._shelf.find(tool, principal) if isinstance(tool, str) else None
        listing = None if entry is None else self._catalog.listing(entry.server, principal)
        return None if entry is None or listing is None else self._schemas.schema(listing, entry.own)

    def _callable(self, name: str, principal: Principal) -> bool:
        """Of a server that has not listed yet nobody can say that it lacks a tool."""
        server = name.partition(SEPARATOR)[0]
        if self._catalog.listing(server, principal) is not None:
            return self._shelf.find(name, principal) is not None
        if server not in self._catalog.names() or not self._policy.allows(principal, server):
            return False
        return self._only is None or name in self._only
