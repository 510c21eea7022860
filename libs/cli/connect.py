"""A command's own connection to the bus of a running gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.common.bus import Bus
from libs.common.errors import BusUnavailable

CONNECT_WITHIN = 10.0


@asynccontextmanager
async def joined(bus: Bus) -> AsyncIterator[Bus]:
    """`bus`, connected while entered, and closed however that ends.

    Raises `BusUnavailable`: nobody there within 10 s, or this user is refused.
    """
    try:
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                await bus.connect()
        except TimeoutError:
            raise BusUnavailable("the message bus cannot be reached; is the gateway running?") from None
        yield bus
    finally:
        await bus.close()
