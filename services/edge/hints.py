"""How long a merged list may be kept, and for whom: no longer and no wider than every server allows."""

from __future__ import annotations

from typing import Any

from libs.common.identity import Principal
from libs.common.messages.catalog import Hint
from libs.common.policy import Policy
from services.edge.gateway import Catalog
from services.edge.offers import Offers
from services.edge.shelf import Shelf

OWN_TTL = 60_000
"""Milliseconds for the gateway's own two tools, which only another version of it changes."""


class Hints:
    """`ttlMs` and `cacheScope` of the aggregate's lists."""

    def __init__(self, catalog: Catalog, policy: Policy, offers: Offers) -> None:
        self._policy = policy
        self._catalog = catalog
        self._offers = offers

    def of(self, shelf: Shelf, principal: Principal) -> dict[str, Any]:
        """The shortest time of all servers with such a list, 0 if one has said none or has not listed yet.

        Private if one of them says so, or if answers depend on who asks.
        """
        visible, capability = set(self._offers.visible(principal)), shelf.kind.capability
        hints = [
            self._hint(server, shelf.kind.member, principal)
            for server in shelf.children()
            if server in visible and self._counts(server, capability, principal)
        ]
        public = not self._policy.personal and all(hint.cache_scope == "public" for hint in hints)
        ttl = min((hint.ttl_ms for hint in hints), default=OWN_TTL)
        return {"ttlMs": ttl, "cacheScope": "public" if public else "private"}

    def _counts(self, server: str, capability: str, principal: Principal) -> bool:
        offers = self._offers
        return not offers.known(server, principal) or offers.has(server, capability, principal)

    def _hint(self, server: str, member: str, principal: Principal) -> Hint:
        listing = self._catalog.listing(server, principal)
        return Hint() if listing is None else listing.hints.get(member, Hint())
