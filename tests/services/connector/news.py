"""The two ends of the news of a server: who listens, and a session in memory that records its requests."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
from msgspec import Raw

from libs.common import codec
from libs.common.errors import DownstreamError
from libs.common.messages.calls import Client
from services.connector.bulletin import Bulletin
from services.connector.questions import Asked
from services.connector.session import NOTHING, EventSink, Params

ACKNOWLEDGED = "notifications/subscriptions/acknowledged"


def notice(method: str, **params: Any) -> tuple[str, Raw]:
    return method, codec.raw({"jsonrpc": "2.0", "method": method, "params": params})


class Listener:
    """One stream: what it asked for, and what it heard."""

    def __init__(self, bulletin: Bulletin, seconds: float = 60, **wanted: Any) -> None:
        self.heard: list[Any] = []
        self.news = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()
        params = {"notifications": codec.raw(wanted)}
        self.task = asyncio.ensure_future(
            bulletin.listen(params, time.time() + seconds, self._hear, self._flushed)
        )

    def _hear(self, event: Raw) -> None:
        self.heard.append(json.loads(bytes(event)))
        self.news.set()

    async def _flushed(self) -> None:
        await self.room.wait()

    @property
    def honoured(self) -> Any:
        assert self.heard[0]["method"] == ACKNOWLEDGED
        return self.heard[0]["params"]["notifications"]

    @property
    def told(self) -> list[str]:
        """What it heard of, in short."""
        params = [(each["method"], each["params"]) for each in self.heard if each["method"] != ACKNOWLEDGED]
        return [each.get("uri") or each.get("taskId") or method for method, each in params]

    async def until(self, true: Callable[[], Any]) -> None:
        """Wait for news that make it true."""
        with anyio.fail_after(10):
            while not true():
                self.news.clear()
                await self.news.wait()

    async def heard_of(self, *told: str) -> None:
        await self.until(lambda: self.told == [*told])

    async def began(self) -> None:
        await self.until(lambda: self.heard)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@dataclass(eq=False)
class Stream:
    """One `subscriptions/listen` that a session was asked for."""

    wanted: Any
    client: Client
    tell: EventSink
    ended: asyncio.Future[Raw] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    closed: bool = False

    def say(self, method: str, **params: Any) -> None:
        self.tell(notice(method, **params)[1])


class Server:
    """The part of a session that listening uses. Refuses what `refuses` names; is mute while it is `mute`."""

    kind = "stdio"

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.streams: list[Stream] = []
        self.refuses: set[str] = set()
        self.mute = False
        self.news = asyncio.Event()
        self.in_flight = 0
        self.most = 0

    @property
    def open(self) -> list[Stream]:
        return [each for each in self.streams if not each.closed]

    async def call(
        self,
        method: str,
        params: Params,
        *,
        deadline: float,
        client: Client,
        on_event: EventSink | None = None,
        on_question: Asked | None = None,
        progress: bool = True,
        sent: Mapping[str, str] = NOTHING,
    ) -> Raw:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            if method == "subscriptions/listen" and on_event is not None:
                return await self._listen(codec.decode(params["notifications"]), client, on_event)
            uri = codec.decode(params["uri"])
            self.asked.append((method, uri))
            self.news.set()
            await asyncio.sleep(0)
            if uri in self.refuses:
                raise DownstreamError(-32602, "no such resource")
            return Raw(b"{}")
        finally:
            self.in_flight -= 1

    async def _listen(self, wanted: Any, client: Client, tell: EventSink) -> Raw:
        if "subscriptions/listen" in self.refuses:
            raise DownstreamError(-32601, "unknown method")
        stream = Stream(wanted, client, tell)
        self.streams.append(stream)
        if not self.mute:
            self.acknowledge(stream)
        self.news.set()
        try:
            return await stream.ended
        finally:
            stream.closed = True
            self.news.set()

    def acknowledge(self, stream: Stream) -> None:
        """Honour what is not refused."""
        uris = [uri for uri in stream.wanted.get("resourceSubscriptions", ()) if uri not in self.refuses]
        stream.say(ACKNOWLEDGED, notifications={**stream.wanted, "resourceSubscriptions": uris})

    async def until(self, true: Callable[[], Any]) -> None:
        """Wait until it was asked for what makes it true."""
        with anyio.fail_after(10):
            while not true():
                self.news.clear()
                await self.news.wait()
