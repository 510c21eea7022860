"""What the servers can do, one by one and together."""

from __future__ import annotations

from typing import Any

from libs.common.codec import UNREADABLE, decode
from libs.common.identity import Principal
from libs.common.messages.catalog import Listing
from libs.common.policy import Policy
from services.edge.gateway import Catalog

Capabilities = dict[str, Any]


class Offers:
    """The capabilities of servers, read once per version of a listing."""

    def __init__(self, catalog: Catalog, policy: Policy) -> None:
        self._policy = policy
        self._catalog = catalog
        self._known: dict[str, tuple[Listing, Capabilities]] = {}

    def visible(self, principal: Principal) -> list[str]:
        """The configured servers that the caller may know of, sorted."""
        return [name for name in self._catalog.names() if self._policy.allows(principal, name)]

    def servers(self, capability: str, principal: Principal) -> list[str]:
        """Those of them that have listed, and can do this."""
        return [server for server in self.visible(principal) if self.has(server, capability, principal)]

    def has(self, server: str, capability: str, principal: Principal, detail: str = "") -> bool:
        """Whether the server can do this, and `detail` of it if one is given."""
        offered = self._of(server, principal).get(capability)
        return isinstance(offered, dict) and (not detail or offered.get(detail) is True)

    def known(self, server: str, principal: Principal) -> bool:
        """Whether the server has listed."""
        return self._catalog.listing(server, principal) is not None

    def _of(self, server: str, principal: Principal) -> Capabilities:
        listing = self._catalog.listing(server, principal)
        if listing is None:
            return {}
        known = self._known.get(server)
        if known is None or known[0] is not listing:
            known = self._known[server] = listing, _read(listing)
        return known[1]


def _read(listing: Listing) -> Capabilities:
    """What is no object says nothing."""
    try:
        offered = decode(listing.capabilities)
    except UNREADABLE:
        return {}
    return offered if isinstance(offered, dict) else {}
