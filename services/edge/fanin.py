"""News of all servers for one client: the aggregate's `subscriptions/listen`.

That a list has changed is known from the catalog, so that whoever lists again sees what is new. Resources are
followed at their servers, one listen for each server, asked again when it ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec import Raw, Struct, ValidationError, convert

from libs.common.codec import raw
from libs.common.errors import InvalidParams, Overloaded
from libs.common.identity import Principal
from services.edge.following import Following, tell
from services.edge.gateway import Catalog, Gateway
from services.edge.offers import Offers
from services.edge.resources import CAPABILITY, Place, Resources
from services.edge.settings import Settings
from services.edge.shelf import Shelf
from services.edge.standing import ACKNOWLEDGED
from services.edge.surface import Ask

STREAMS_MAX = 4000
"""Clients of one replica that listen to the aggregate."""
URIS_MAX = 100
"""Resources that one client follows."""
QUIET = 0.1
"""Seconds in which changes are told as one: servers start together."""
BEGIN = 2.0
"""Seconds that servers have to acknowledge before the client is told that it listens."""


class Filter(Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a client wants to hear."""

    tools_list_changed: bool = False
    prompts_list_changed: bool = False
    resources_list_changed: bool = False
    resource_subscriptions: tuple[str, ...] = ()


class Fanin:
    """`shelves` are the lists that may change, by the word that names them in methods.

    `closing` ends every stream: a drain must not wait.
    """

    def __init__(
        self,
        gateway: Gateway,
        catalog: Catalog,
        settings: Settings,
        shelves: Mapping[str, Sequence[Shelf]],
        resources: Resources,
        offers: Offers,
        closing: asyncio.Event,
    ) -> None:
        self._gateway = gateway
        self._catalog = catalog
        self._settings = settings
        self._shelves = shelves
        self._resources = resources
        self._offers = offers
        self._closing = closing
        self._open = 0

    async def listen(self, ask: Ask) -> Raw:
        """Tell `ask.on_event` until the gateway drains or it is time to listen again."""
        wanted = _wanted(ask)
        if self._open >= STREAMS_MAX:
            raise Overloaded("too many clients listen here; try again later")
        self._open += 1
        try:
            with self._changes() as changed:
                async with Following(self._gateway, self._settings, ask) as following:
                    await self._listen(ask, wanted, changed, following)
        finally:
            self._open -= 1
        return raw({})

    async def _listen(self, ask: Ask, wanted: Filter, changed: asyncio.Event, following: Following) -> None:
        until = time.monotonic() + self._settings.listen_ttl
        lists = [each for each in self._shelves if getattr(wanted, f"{each}_list_changed")]
        digests, routes = self._digests(lists, ask.principal), self._routes(wanted, ask.principal)
        following.follow(routes)
        await following.settled(BEGIN)
        tell(ask, ACKNOWLEDGED, {"notifications": _honoured(lists, routes)})
        while await self._news(changed, until):
            known, digests = digests, self._digests(lists, ask.principal)
            for each in lists:
                if digests[each] != known[each]:
                    tell(ask, f"notifications/{each}/list_changed", {})
            following.follow(self._routes(wanted, ask.principal))

    async def _news(self, changed: asyncio.Event, until: float) -> bool:
        """Wait until something may have changed; False when it is time to end."""
        await _first(until, changed, self._closing)
        if changed.is_set():
            await _first(time.monotonic() + QUIET, self._closing)
            changed.clear()
            return not self._closing.is_set()
        return False

    @contextmanager
    def _changes(self) -> Iterator[asyncio.Event]:
        """Set whenever a server may list something else."""
        changed = asyncio.Event()
        stop = self._catalog.watch(changed.set)
        try:
            yield changed
        finally:
            stop()

    def _digests(self, lists: list[str], principal: Principal) -> dict[str, list[bytes]]:
        return {each: [shelf.view(principal).digest for shelf in self._shelves[each]] for each in lists}

    def _routes(self, wanted: Filter, principal: Principal) -> dict[str, dict[str, Place]]:
        """The URIs that lead to a server that tells of changes, by server."""
        routes: dict[str, dict[str, Place]] = {}
        for uri in wanted.resource_subscriptions:
            try:
                place = self._resources.place(uri, principal)
            except InvalidParams:
                continue
            if self._offers.has(place.server, CAPABILITY, principal, "subscribe"):
                routes.setdefault(place.server, {})[uri] = place
        return routes


def _wanted(ask: Ask) -> Filter:
    try:
        wanted = convert(ask.params.get("notifications"), Filter)
    except ValidationError as error:
        raise InvalidParams(f'"notifications" must say what to listen to: {error}'[:300]) from None
    if len(wanted.resource_subscriptions) > URIS_MAX:
        raise InvalidParams(f"at most {URIS_MAX} resources can be followed by one stream")
    return wanted


def _honoured(lists: list[str], routes: Mapping[str, Mapping[str, Place]]) -> dict[str, Any]:
    uris = sorted(uri for places in routes.values() for uri in places)
    kept: dict[str, Any] = {f"{each}ListChanged": True for each in lists}
    return {**kept, "resourceSubscriptions": uris} if uris else kept


async def _first(until: float, *events: asyncio.Event) -> None:
    """Return when one of `events` is set, or at `until` on the monotonic clock."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(
            waits, timeout=max(0.0, until - time.monotonic()), return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        for wait in waits:
            wait.cancel()
