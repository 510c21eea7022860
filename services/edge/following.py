"""Resources that one client of the aggregate follows, each at its server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self

import structlog
from msgspec import Raw

from libs.common.codec import UNREADABLE, decode, members, raw
from libs.common.errors import NexusError
from libs.common.messages.calls import EMPTY, CallServer
from services.edge.era import LISTEN
from services.edge.gateway import Gateway
from services.edge.resources import Place
from services.edge.respond import notice_bytes
from services.edge.results import SUBSCRIPTION
from services.edge.settings import Settings
from services.edge.standing import ACKNOWLEDGED
from services.edge.surface import Ask

log = structlog.get_logger("edge")

UPDATED = "notifications/resources/updated"
AGAIN = 0.5
AGAIN_MAX = 15.0
"""Seconds between two attempts to listen to a server; they double."""
STEADY = 30.0
"""Seconds a listen must have lasted for the pause to begin anew."""
TAG = {SUBSCRIPTION: 0}
"""Marks what belongs to a subscription; the client's own id takes the place of the number."""

Places = Mapping[str, Place]
"""Where the URIs that a client follows lead, by URI."""


@dataclass(slots=True)
class _Watch:
    places: Places
    task: asyncio.Task[None] | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the server has acknowledged, or the first attempt has failed."""


class Following:
    """An async context manager: what is left behind is cancelled."""

    def __init__(self, gateway: Gateway, settings: Settings, ask: Ask) -> None:
        self._gateway = gateway
        self._settings = settings
        self._ask = ask
        self._watches: dict[str, _Watch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def follow(self, wanted: Mapping[str, Places]) -> None:
        """Follow these from now on, by server, and no others; what stays the same is left alone."""
        for server, watch in list(self._watches.items()):
            if wanted.get(server) != watch.places and watch.task is not None:
                watch.task.cancel()
                del self._watches[server]
        for server, places in wanted.items():
            if server not in self._watches:
                self._begin(server, places)

    async def settled(self, timeout: float) -> None:
        """Return when every server has acknowledged or failed once, after `timeout` seconds at the latest."""
        try:
            async with asyncio.timeout(timeout):
                for watch in list(self._watches.values()):
                    await watch.begun.wait()
        except TimeoutError:
            return

    def _begin(self, server: str, places: Places) -> None:
        watch = self._watches[server] = _Watch(places)
        watch.task = asyncio.create_task(self._keep(server, watch))
        self._tasks.add(watch.task)
        watch.task.add_done_callback(self._tasks.discard)

    async def _keep(self, server: str, watch: _Watch) -> None:
        """Listen, and again when that ends, until cancelled."""
        pause = AGAIN
        while True:
            begun = time.monotonic()
            try:
                await self._listen(server, watch)
            except NexusError as error:
                log.debug("listening ended", server=server, reason=error.message)
            watch.begun.set()
            pause = AGAIN if time.monotonic() - begun > STEADY else pause
            await asyncio.sleep(pause)
            pause = min(pause * 2, AGAIN_MAX)

    async def _listen(self, server: str, watch: _Watch) -> None:
        owns = sorted({place.own for place in watch.places.values()})
        message = CallServer(
            server=server,
            method=LISTEN,
            deadline=time.time() + self._settings.listen_ttl,
            params=raw({"notifications": {"resourceSubscriptions": owns}}),
            principal=self._ask.principal,
            client=self._ask.client,
        )
        await self._gateway.request(message, on_event=partial(self._told, watch))

    def _told(self, watch: _Watch, message: Raw) -> None:
        try:
            parts = members(message)
            method, params = decode(parts["method"]), members(parts.get("params", EMPTY))
            own = decode(params["uri"]) if method == UPDATED else ""
            params["_meta"] = raw({**members(params.get("_meta", EMPTY)), **TAG})
        except (*UNREADABLE, KeyError) as error:
            log.warning("event is not JSON-RPC and was dropped", reason=str(error)[:200])
            return
        if method == ACKNOWLEDGED:
            watch.begun.set()
        elif method == UPDATED and isinstance(own, str):
            for shown in sorted(set(_shown(watch.places, own))):
                tell(self._ask, UPDATED, {**params, "uri": raw(shown)})


def tell(ask: Ask, method: str, params: Mapping[str, object]) -> None:
    """Pass a notification to the client, tagged as one of its subscription."""
    ask.on_event(Raw(notice_bytes(method, raw({"_meta": TAG, **params}))))


def _shown(places: Places, own: str) -> Iterator[str]:
    """The URIs by which the client knows a resource of the server, if it follows it or what it is part of."""
    for place in places.values():
        if own.startswith(place.own):
            yield place.prefix + own
