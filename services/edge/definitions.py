"""Tools by the names of calls: whose they are, and the digest of the definition that was listed last."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import msgspec
from msgspec import Raw

from libs.common import naming
from libs.common.codec import UNREADABLE
from libs.common.definition import definition_digest
from libs.common.identity import Principal
from libs.common.messages.catalog import Listing
from services.edge.gateway import Catalog

LISTINGS_MAX = 1000
"""Versions of lists whose tools are kept by name."""


class Definition(NamedTuple):
    """What a call's name stands for; the digest is empty for a tool that is not listed."""

    server: str
    tool: str
    digest: str = ""


class _Named(msgspec.Struct):
    name: str


_named = msgspec.json.Decoder(_Named).decode


class Definitions:
    """Reads each version of a list once, and digests a tool when it is called first."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._tables: OrderedDict[tuple[str, str], tuple[Listing, dict[str, str], _Table]] = OrderedDict()

    def exposed(self, name: str, principal: Principal) -> Definition:
        """The tool with a name of the aggregate's."""
        server = name.partition(naming.SEPARATOR)[0]
        listing = self._catalog.listing(server, principal)
        if listing is None:
            return Definition(server, name.partition(naming.SEPARATOR)[2])
        _, names, table = self._read(listing)
        own = names.get(name)
        return Definition(server, name.partition(naming.SEPARATOR)[2]) if own is None else table.find(own)

    def own(self, server: str, tool: str, principal: Principal) -> Definition:
        """The tool with a name of the server's own."""
        listing = self._catalog.listing(server, principal)
        return Definition(server, tool) if listing is None else self._read(listing)[2].find(tool)

    def _read(self, listing: Listing) -> tuple[Listing, dict[str, str], _Table]:
        key = listing.server, listing.digest
        known = self._tables.get(key)
        if known is None or known[0] is not listing:
            table = _Table(listing)
            names = {shown: own for shown, (_, own) in naming.resolve(table.names())[0].items()}
            known = self._tables[key] = listing, names, table
            if len(self._tables) > LISTINGS_MAX:
                self._tables.popitem(last=False)
        return known


class _Table:
    """The tools of one list by their own names."""

    def __init__(self, listing: Listing) -> None:
        self._server = listing.server
        self._tools: dict[str, Raw] = {}
        self._known: dict[str, Definition] = {}
        for tool in listing.tools:
            try:
                self._tools.setdefault(_named(tool).name, tool)
            except UNREADABLE:
                continue

    def names(self) -> list[tuple[str, str]]:
        return [(self._server, name) for name in self._tools]

    def find(self, tool: str) -> Definition:
        known = self._known.get(tool)
        if known is None:
            listed = self._tools.get(tool)
            if listed is None:
                return Definition(self._server, tool)
            known = self._known[tool] = Definition(self._server, tool, definition_digest(listed))
        return known
