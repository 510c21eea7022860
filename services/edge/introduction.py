"""How the aggregate introduces itself: what all servers together can do, and which there are."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from libs.common.codec import raw
from libs.common.identity import Principal
from services.edge.gateway import Catalog
from services.edge.offers import Offers
from services.edge.surface import Description
from services.edge.tools import EXECUTE, SEARCH

NAMED_MAX = 100
"""Servers that the instructions name."""
_SOME = ("prompts", "resources", "completions", "logging")
_CHANGING = {"listChanged": True}

_FRONT = (
    "This server stands in front of many others and shows their tools through two of its own. "
    f"First call `{SEARCH}` with what you want to do, in your own words. "
    f"Then call `{EXECUTE}` with the exact name of a tool you found and arguments that fit its input schema. "
)
_GUESSING = "Names you have not seen in a search result do not work: search again instead of guessing."
_LISTED = "Tools that are listed beside the two can be called directly."


class Introduction:
    """`changing` says whether the list of tools may ever be another."""

    def __init__(self, catalog: Catalog, offers: Offers, info: Raw, *, changing: bool) -> None:
        self._catalog = catalog
        self._offers = offers
        self._info = info
        self._changing = changing

    def describe(self, principal: Principal) -> Description:
        servers = self._offers.visible(principal)
        return Description(
            raw(self._capabilities(servers, principal)), self._info, self._instructions(servers)
        )

    def _capabilities(self, servers: list[str], who: Principal) -> dict[str, Any]:
        """A server that is about to list for the first time may turn out to do anything."""
        offers, unknown = self._offers, self._unknown(servers, who)
        able = {each for each in _SOME if unknown or any(offers.has(server, each, who) for server in servers)}
        capabilities: dict[str, Any] = {"tools": _CHANGING if self._changing else {}}
        capabilities.update((each, {}) for each in _SOME if each in able)
        if "prompts" in able:
            capabilities["prompts"] = _CHANGING
        if "resources" in able:
            follows = unknown or any(offers.has(server, "resources", who, "subscribe") for server in servers)
            capabilities["resources"] = {**_CHANGING, **({"subscribe": True} if follows else {})}
        return capabilities

    def _unknown(self, servers: list[str], who: Principal) -> bool:
        unlisted = {server for server in servers if not self._offers.known(server, who)}
        return bool(unlisted) and any(
            status.name in unlisted and status.state == "starting" for status in self._catalog.servers()
        )

    def _instructions(self, servers: list[str]) -> str:
        named = ", ".join(servers[:NAMED_MAX])
        more = f" and {len(servers) - NAMED_MAX} more" if len(servers) > NAMED_MAX else ""
        there = f" The servers are: {named}{more}." if servers else ""
        return f"{_FRONT}{_LISTED if self._changing else _GUESSING}{there}"
