"""The other edges: what each must have heard before a client may be told that it is so.

A replica that does not answer is dead, or its loop stands still: that one looks again before it decides
(`lag`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog
from msgspec import Struct
from msgspec.json import Decoder
from nats.aio.msg import Msg

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.codec import UNREADABLE, decoder, encode
from libs.common.errors import BusUnavailable
from libs.common.messages.edges import EdgeGone, EdgeHere, Heard, News, SessionEnded

log = structlog.get_logger("edge")

WITHIN = 0.25
"""Seconds in which every living replica answers."""
ANSWERS = "peers"

_news: Decoder[News] = decoder(News)
_heard: Decoder[Heard] = decoder(Heard)

OnEnded = Callable[[str, float], None]
"""Told of a session that was ended elsewhere, and until when that must be remembered."""


class _Wait:
    """Who has not yet heard of one session's end."""

    __slots__ = ("done", "missing")

    def __init__(self, missing: set[str]) -> None:
        self.missing = missing
        self.done = asyncio.Event()


class Peers:
    """Knows the other replicas. An async context manager: it is one of them while entered."""

    def __init__(self, bus: Bus, on_ended: OnEnded) -> None:
        self._bus = bus
        self._on_ended = on_ended
        self._waits: dict[str, _Wait] = {}
        self._greeting: asyncio.Task[None] | None = None
        self.known: set[str] = set()

    async def __aenter__(self) -> Self:
        self._bus.answers[ANSWERS] = self._on_heard
        self._sub = await self._bus.subscribe(subjects.EDGES, self._on_news)
        await self._bus.settled()
        self._bus.on_reconnect(self._greet)
        await self._say(EdgeHere(self._bus.client))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._greeting is not None:
            self._greeting.cancel()
            await asyncio.gather(self._greeting, return_exceptions=True)
        await self._bus.drop(self._sub)
        self._bus.answers.pop(ANSWERS, None)
        await self._say(EdgeGone(self._bus.client))

    async def ended(self, session: str, until: float) -> None:
        """Return when every replica knows that a session is over; one that is silent for 250 ms is gone."""
        wait = self._waits[session] = _Wait(set(self.known))
        try:
            await self._say(SessionEnded(self._bus.client, session, until))
            async with asyncio.timeout(WITHIN):
                if wait.missing:
                    await wait.done.wait()
        except TimeoutError:
            self.known -= wait.missing
            log.info("edges did not answer and count as gone", replicas=sorted(wait.missing))
        finally:
            self._waits.pop(session, None)

    def _greet(self) -> None:
        """After a reconnection: others may have given us up."""
        self._greeting = asyncio.create_task(self._say(EdgeHere(self._bus.client)))

    async def _say(self, news: Struct) -> None:
        try:
            await self._bus.publish(subjects.EDGES, encode(news), f"{self._bus.inbox}.{ANSWERS}")
        except BusUnavailable as error:
            log.debug("the other edges could not be told", reason=error.message)

    async def _on_news(self, msg: Msg) -> None:
        try:
            news = _news.decode(msg.data)
        except UNREADABLE as error:
            log.warning("unreadable news of an edge", error=str(error))
            return
        if news.replica == self._bus.client:
            return
        if isinstance(news, EdgeGone):
            self._lost(news.replica)
        else:
            self.known.add(news.replica)
            await self._bus.publish(msg.reply, encode(Heard(self._bus.client, self._learnt(news))))

    def _learnt(self, news: EdgeHere | SessionEnded) -> str:
        if isinstance(news, EdgeHere):
            return ""
        self._on_ended(news.session, news.until)
        return news.session

    def _on_heard(self, data: bytes) -> None:
        try:
            heard = _heard.decode(data)
        except UNREADABLE as error:
            log.warning("unreadable answer of an edge", error=str(error))
            return
        self.known.add(heard.replica)
        if heard.session in self._waits:
            _strike(self._waits[heard.session], heard.replica)

    def _lost(self, replica: str) -> None:
        self.known.discard(replica)
        for wait in self._waits.values():
            _strike(wait, replica)


def _strike(wait: _Wait, replica: str) -> None:
    wait.missing.discard(replica)
    if not wait.missing:
        wait.done.set()
