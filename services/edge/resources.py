"""Resources of all servers, by URI; one that names its server (`github+file:///x`) reaches that server."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from libs.common.codec import UNREADABLE, decode, members, raw
from libs.common.errors import InvalidParams, ResultInvalid
from libs.common.identity import Principal
from services.edge import template
from services.edge.cursors import Cursors
from services.edge.forward import Forward
from services.edge.offers import Offers
from services.edge.shelf import RESOURCES, TEMPLATES, Entry, Shelf, scheme
from services.edge.surface import Ask

CAPABILITY = "resources"
_contents = msgspec.json.Decoder(list[dict[str, Raw]]).decode


class Place(NamedTuple):
    """Where a URI leads."""

    server: str
    own: str
    """The URI as the server knows it."""
    prefix: str = ""
    """What clients see in front of it."""


class Resources:
    """`resources/list`, `resources/templates/list` and `resources/read` of the aggregate."""

    def __init__(
        self, shelf: Shelf, templates: Shelf, offers: Offers, cursors: Cursors, forward: Forward
    ) -> None:
        self._shelf = shelf
        self._templates = templates
        self._offers = offers
        self._cursors = cursors
        self._forward = forward

    def list(self, ask: Ask) -> dict[str, Any]:
        return self._cursors.page(ask, self._shelf.view(ask.principal), RESOURCES.member)

    def list_templates(self, ask: Ask) -> dict[str, Any]:
        return self._cursors.page(ask, self._templates.view(ask.principal), TEMPLATES.member)

    async def read(self, ask: Ask) -> Raw:
        """Raises `InvalidParams` for a URI that leads nowhere."""
        uri = ask.params.get("uri")
        if not isinstance(uri, str):
            raise InvalidParams('resources/read needs the URI of a resource in "uri"')
        place = self.place(uri, ask.principal)
        result = await self._forward.call(ask, place.server, {**ask.params, "uri": place.own})
        return _prefixed(result, place.prefix) if place.prefix else result

    def place(self, uri: str, principal: Principal) -> Place:
        """Listed URIs come first, then templates, a server that is named, and the only one with resources.

        Raises `InvalidParams` if none of them is there.
        """
        entry = self._shelf.find(uri, principal) or self._templates.find(uri, principal)
        entry = entry or self._generated(uri, principal)
        place = self._placed(uri, entry) if entry is not None else self._named(uri, principal)
        place = place or self._only(uri, principal)
        if place is None or place.server not in self._offers.visible(principal):
            raise InvalidParams(
                f"there is no resource {uri[:256]!r}: resources/list has the URIs", uri=uri[:2048]
            )
        return place

    def _generated(self, uri: str, principal: Principal) -> Entry | None:
        """The most literal template that the URI may come from, of equals the first."""
        entries = self._templates.view(principal).entries
        found = [entry for entry in entries if template.matches(entry.shown, uri)]
        return max(found, key=lambda entry: template.weight(entry.shown), default=None)

    @staticmethod
    def _placed(uri: str, entry: Entry) -> Place:
        prefix = entry.shown.removesuffix(entry.own)
        return Place(entry.server, uri.removeprefix(prefix), prefix)

    def _named(self, uri: str, principal: Principal) -> Place | None:
        for server in self._offers.servers(CAPABILITY, principal):
            prefix = f"{scheme(server)}+"
            if uri.startswith(prefix) and uri != prefix:
                return Place(server, uri.removeprefix(prefix), prefix)
        return None

    def _only(self, uri: str, principal: Principal) -> Place | None:
        servers = self._offers.servers(CAPABILITY, principal)
        return Place(servers[0], uri) if len(servers) == 1 else None


def _prefixed(result: Raw, prefix: str) -> Raw:
    """What was read, under the URIs that the client knows."""
    try:
        parts = members(result)
        if "contents" not in parts:
            return result
        contents = _contents(parts["contents"])
        renamed = [{**content, "uri": prefix + decode(content["uri"])} for content in contents]
    except (*UNREADABLE, KeyError, TypeError):
        raise ResultInvalid("the server's result has no contents with URIs as MCP requires") from None
    return raw({**parts, "contents": renamed})
