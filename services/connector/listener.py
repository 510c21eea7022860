"""The stream a legacy server may offer for what belongs to no call: a GET that stays open."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

from libs.common.errors import NexusError
from services.connector.client import HttpClient, Response
from services.connector.events import EventParser
from services.connector.headers import Headers
from services.connector.replies import EVENTS, mime

FIRST = 1.0
"""Seconds before the stream is opened again; doubled each time up to `LAST`, with jitter."""
LAST = 60.0
STABLE = 30.0
"""Seconds a stream must have lasted for the back-off to begin anew."""

Take = Callable[[bytes], object]


async def listen(client: HttpClient, headers: Callable[[], Headers], take: Take) -> None:
    """Hand every message of the stream to `take`, and open it again whenever it ends.

    Returns when the server offers no stream, or no longer. A failure of this stream fails nothing else.
    """
    pause = FIRST
    while True:
        began = time.monotonic()
        parser = EventParser()
        try:
            async with client.send("GET", {**headers(), "accept": EVENTS}) as response:
                if not offered(response):
                    return
                async for chunk in response.content.iter_any():
                    for event in parser.feed(chunk):
                        if event.name == "message" and event.data:
                            take(event.data)
        except NexusError:
            pass
        if time.monotonic() - began > STABLE:
            pause = FIRST
        await asyncio.sleep(max((parser.retry or 0) / 1000, pause * random.uniform(0.5, 1.5)))  # noqa: S311 - jitter
        pause = min(pause * 2, LAST)


def offered(response: Response) -> bool:
    """Whether this is the stream; a server without one answers 405."""
    return response.status == 200 and mime(response.headers.get("content-type")) == EVENTS
