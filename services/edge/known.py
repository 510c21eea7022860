"""Which tools there are, by the names callers use: what else they write gets no label of its own."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from libs.common import naming
from libs.common.identity import Principal
from libs.common.messages.catalog import Listing
from libs.common.meters import OTHER
from services.edge.gateway import Catalog
from services.edge.permitted import names

LISTINGS_MAX = 256
"""Lists whose names are remembered: servers may list to each caller by himself."""


class Tool(NamedTuple):
    """A tool in labels: without a server where there is none of this name."""

    server: str
    name: str


STRANGE = Tool("", OTHER)


class _Names(NamedTuple):
    exposed: dict[str, Tool]
    own: dict[str, Tool]


class Known:
    """Follows the catalog: a list is read once for each of its versions."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._read: OrderedDict[tuple[str, str], _Names] = OrderedDict()

    def exposed(self, name: object, principal: Principal) -> Tool:
        """The tool that the aggregate knows as `name`."""
        if not isinstance(name, str):
            return STRANGE
        found = self._names(name.partition(naming.SEPARATOR)[0], principal)
        return STRANGE if found is None else found.exposed.get(name, STRANGE)

    def own(self, server: str, name: object, principal: Principal) -> Tool:
        """The tool that its server calls `name`."""
        found = self._names(server, principal)
        return STRANGE if found is None or not isinstance(name, str) else found.own.get(name, STRANGE)

    def _names(self, server: str, principal: Principal) -> _Names | None:
        listing = self._catalog.listing(server, principal)
        if listing is None:
            return None
        key = (server, listing.digest)
        found = self._read.get(key)
        if found is None:
            found = self._read[key] = _read(listing)
            if len(self._read) > LISTINGS_MAX:
                self._read.popitem(last=False)
        return found


def _read(listing: Listing) -> _Names:
    resolved, _ = naming.resolve((listing.server, name) for name in names(listing.tools))
    exposed = {name: Tool(*tool) for name, tool in resolved.items()}
    return _Names(exposed, {tool.name: tool for tool in exposed.values()})
