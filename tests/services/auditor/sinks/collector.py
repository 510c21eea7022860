"""An event collector as Splunk has it: tokens, channels, acknowledgements, and every way of failing."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

TOKEN = "0f2b6c1e-canary-token"
Trouble = Callable[[int], web.Response | str | tuple[int, int] | None]


def reply(status: int, code: int, text: str = "said so", **more: Any) -> web.Response:
    headers = {"Retry-After": "7"} if status in (429, 503) else {}
    return web.json_response({"text": text, "code": code, **more}, status=status, headers=headers)


@dataclass
class Collector:
    """Keeps what it indexes. `trouble` is asked before each request for events, by its number from 1.

    It answers with a response, with a status and a code, with `reset`, `stall` or `half` (half of the batch
    is indexed, then the connection breaks), or with nothing where all goes well.
    """

    url: str = ""
    indexed: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0
    asked: int = 0
    channels: list[str] = field(default_factory=list)
    trouble: Trouble = lambda number: None
    with_acks: bool = True
    judge: Callable[[dict[str, Any]], bool] = lambda event: True
    acks_lost: Callable[[int], bool] = lambda number: False
    """Whether the answer to that question is lost on its way: the collector has forgotten it then."""
    delay: int = 0
    """After how many questions an acknowledgement is there."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _waiting: dict[tuple[str, int], int] = field(default_factory=dict)

    @property
    def uids(self) -> list[str]:
        return [each["event"]["metadata"]["uid"] for each in self.indexed]

    async def until(self, condition: Callable[[], bool], timeout: float = 20) -> None:
        """Return once `condition` holds, looked at after each request."""
        async with asyncio.timeout(timeout):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def event(self, request: web.Request) -> web.StreamResponse:
        """`POST /services/collector/event`."""
        body = (await request.read()).decode()
        self.requests += 1
        self.changed.set()
        if request.headers.get("Authorization") != f"Splunk {TOKEN}":
            return reply(403, 4, "Invalid token")
        match self.trouble(self.requests):
            case web.Response() as response:
                return response
            case (status, code):
                return reply(status, code)
            case "stall":
                await asyncio.Event().wait()
            case str() as how:
                events = _split(body) if how == "half" else []
                self.indexed += events[: len(events) // 2]
                assert request.transport is not None
                request.transport.abort()
        return self._index(request, _split(body))

    def _index(self, request: web.Request, events: list[dict[str, Any]]) -> web.Response:
        for number, each in enumerate(events):
            if not self.judge(each["event"]):
                return reply(400, 6, "Invalid data format", **{"invalid-event-number": number})
            self.indexed.append(each)
        channel = request.headers.get("X-Splunk-Request-Channel")
        self.changed.set()
        if channel is None or not self.with_acks:
            return reply(200, 0, "Success")
        self.channels.append(channel)
        self._waiting[channel, self.requests] = self.delay
        return reply(200, 0, "Success", ackId=self.requests)

    async def ack(self, request: web.Request) -> web.StreamResponse:
        """`POST /services/collector/ack`: each acknowledgement is told once."""
        channel = request.headers["X-Splunk-Request-Channel"]
        self.asked += 1
        self.changed.set()
        told = {str(number): self._told(channel, number) for number in (await request.json())["acks"]}
        if self.acks_lost(self.asked):
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"acks": told})

    def _told(self, channel: str, number: int) -> bool:
        left = self._waiting.get((channel, number))
        if left is None:
            return False
        if left:
            self._waiting[channel, number] = left - 1
            return False
        del self._waiting[channel, number]
        return True


def _split(body: str) -> list[dict[str, Any]]:
    """JSON values one after the other, as the collector reads them."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(body):
        value, at = decoder.raw_decode(body, at)
        found.append(value)
        space = re.compile(r"\s*").match(body, at)
        at = space.end() if space else at
    return found


@asynccontextmanager
async def indexing(tls: ssl.SSLContext | None = None) -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application(client_max_size=2**24)
    app.router.add_post("/services/collector/event", collector.event)
    app.router.add_post("/services/collector/ack", collector.ack)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    collector.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        await runner.cleanup()
