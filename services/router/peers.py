"""Which routers live now: each tells the others every second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import structlog
from msgspec.json import Decoder
from nats.aio.msg import Msg

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.codec import UNREADABLE, decoder, encode
from libs.common.errors import BusUnavailable
from libs.common.messages.routers import RouterAlive

log = structlog.get_logger("peers")

EVERY = 1.0
SILENT = 3.5
"""Seconds after which a router that says nothing is gone: three words lost, and a little."""

_alive: Decoder[RouterAlive] = decoder(RouterAlive)


class Peers:
    """The live routers, this one among them; for a moment after one comes or goes, replicas differ."""

    def __init__(self, bus: Bus, router: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._router = router
        self._clock = clock
        self._heard: dict[str, float] = {}
        self.place = (1, 0)

    async def run(self) -> None:
        """Tell and forget, until cancelled; then say goodbye."""
        try:
            while True:
                await self._say()
                self._settle()
                await asyncio.sleep(EVERY)
        finally:
            await self._say(leaving=True)

    async def on_word(self, msg: Msg) -> None:
        try:
            word = _alive.decode(msg.data)
        except UNREADABLE as error:
            log.warning("unreadable word of a router", error=str(error))
            return
        if word.router == self._router:
            return
        known = word.router in self._heard
        if word.leaving:
            self._heard.pop(word.router, None)
        else:
            self._heard[word.router] = self._clock()
        self._settle()
        if not known and not word.leaving:
            await self._say()

    async def _say(self, *, leaving: bool = False) -> None:
        with suppress(BusUnavailable):
            await self._bus.publish(subjects.ROUTERS, encode(RouterAlive(self._router, leaving=leaving)))

    def _settle(self) -> None:
        old = self._clock() - SILENT
        self._heard = {name: at for name, at in self._heard.items() if at > old}
        names = sorted({*self._heard, self._router})
        self.place = (len(names), names.index(self._router))
