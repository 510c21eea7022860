"""A stream taken up again: what was kept of it, and then what comes, until it is over."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import NamedTuple, Self

import structlog
from msgspec import Raw
from msgspec.json import Decoder
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import APIError, NotFoundError

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.cancel import cancellable
from libs.common.codec import UNREADABLE, decoder, encode, members
from libs.common.errors import BusUnavailable, InvalidRequest, WorkerLost
from libs.common.messages.streams import Kept, StreamAsked
from services.edge.respond import error_bytes

log = structlog.get_logger("edge")

ASK_EVERY = 1.0
"""Seconds of silence after which the holder of a stream is asked whether it goes on."""
ANSWER_WITHIN = 1.0
MISSES_MAX = 3
"""Questions in a row without an answer after which the holder counts as dead."""
STORING = 0.1
"""Seconds a message may take into its stream: the broker tells subscribers of it before it can be read."""
WAITING_MAX = 1000
"""Writes that wait to be read; a stream that is faster is broken off, and can be taken up again."""

STANDS = "g"
"""Ahead of the number of a stream that answers no request."""
_EVENT_ID = re.compile(r"(([0-9a-f]{12})-(g?)[0-9a-f]{1,12})-([0-9]{1,12})\Z", re.ASCII)
_kept: Decoder[Kept] = decoder(Kept)


class Place(NamedTuple):
    """Where in which stream a client was."""

    stream: str
    label: bytes
    holder: str
    number: int
    stands: bool

    @classmethod
    def of(cls, session: str, last: str) -> Self | None:
        """By the `Last-Event-ID` of a client; None if that is none of ours."""
        match = _EVENT_ID.match(last)
        if match is None:
            return None
        return cls(f"{session}-{match[1]}", match[1].encode(), match[2], int(match[4]), match[3] == STANDS)


class Replay:
    """Reads one stream from a place on. An async context manager: it hears what comes while entered.

    Entering raises `InvalidRequest` if nothing is known of the stream, `BusUnavailable`.
    """

    def __init__(self, bus: Bus, place: Place, *, leave: bool = False) -> None:
        self._bus = bus
        self._place = place
        self._leave = leave
        self._subject = subjects.stream(place.stream)
        self._heard: deque[Kept] = deque()
        self._news = asyncio.Event()
        self._at = place.number
        self._seen = 0
        self._next = 1
        self._requests: dict[bytes, Raw] = {}
        self._answered: set[bytes] = set()
        self._over = False
        self._cut = False
        self._misses = 0

    async def __aenter__(self) -> Self:
        self._sub = await self._bus.subscribe(self._subject, self._on_kept)
        try:
            await self._bus.settled()
            await self._begin()
        except BaseException:
            await self._bus.drop(self._sub)
            raise
        return self

    async def _begin(self) -> None:
        goes_on = await self._ask()
        stored = await self._stored()
        if goes_on is False and not (stored or self._heard):
            await asyncio.sleep(STORING)
            stored = await self._stored()
            if not (stored or self._heard):
                raise InvalidRequest("the stream of this Last-Event-ID is not kept any more")
        self._heard.extendleft(reversed(stored))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._bus.drop(self._sub)

    async def stored(self) -> AsyncIterator[tuple[bytes, bytes]]:
        """Ids and messages that are there already."""
        while self._heard:
            kept = self._heard.popleft()
            if kept.first > self._seen + 1:
                # Heard before what went ahead of it could be read.
                for each in await self._stored():
                    for event in self._fresh(each):
                        yield event
            for event in self._fresh(kept):
                yield event

    async def events(self, closing: asyncio.Event) -> AsyncGenerator[tuple[bytes, bytes], None]:
        """Ids and messages until the stream is over; last the errors of requests nobody will answer.

        Broken off when `closing` is set, or the client reads too slowly: it can come back once more.
        """
        while not closing.is_set():
            async for each in self.stored():
                yield each
            if self._over or self._cut:
                break
            if not await self._wait():
                self._heard.extend(await self._stored())
                self._over = True
        if not self._over:
            return
        lost = WorkerLost("the replica that ran the call is gone; whether it ran is unknown")
        for key, request in self._requests.items():
            if key not in self._answered:
                yield b"", error_bytes(request, lost.failure())

    def _fresh(self, kept: Kept) -> list[tuple[bytes, bytes]]:
        """What of these messages the client has not seen yet."""
        self._over = self._over or kept.last
        self._requests = {bytes(each): each for each in kept.requests}
        self._seen = max(self._seen, kept.first + len(kept.events) - 1)
        fresh = []
        for number, event in enumerate(kept.events, kept.first):
            self._note(event)
            if number > self._at:
                self._at = number
                fresh.append((b"%b-%d" % (self._place.label, number), bytes(event)))
        return fresh

    def _note(self, event: Raw) -> None:
        """Remember which requests are answered."""
        parts = members(event)
        if "id" in parts and "method" not in parts:
            self._answered.add(bytes(parts["id"]))

    async def _wait(self) -> bool:
        """Whether more may come: something has, or the holder says so."""
        self._news.clear()
        if not self._heard:
            try:
                async with asyncio.timeout(ASK_EVERY):
                    await self._news.wait()
            except TimeoutError:
                goes_on = await self._ask()
                self._misses = self._misses + 1 if goes_on is None else 0
                return bool(goes_on) or 0 < self._misses < MISSES_MAX
        return True

    async def _ask(self) -> bool | None:
        """Whether the holder goes on with the stream; None if it said nothing."""
        question = encode(StreamAsked(self._place.stream, self._leave))
        try:
            said = await self._bus.ask(subjects.held(self._place.holder), question, ANSWER_WITHIN)
        except BusUnavailable:
            return None
        return None if said is None else said == b"1"

    async def _stored(self) -> list[Kept]:
        """What the broker has kept since the last look."""
        found: list[Kept] = []
        js = self._bus.jetstream()
        try:
            while True:
                message = await cancellable(
                    js.get_msg(subjects.EVENT_STREAM, self._next, self._subject, direct=True, next=True)
                )
                self._next = (message.seq or self._next) + 1
                found += _read(message.data or b"")
        except NotFoundError:
            return found
        except (NatsError, APIError, TimeoutError) as error:
            log.warning("a stream could not be read again", error=str(error))
            return found

    async def _on_kept(self, msg: Msg) -> None:
        if len(self._heard) >= WAITING_MAX:
            self._cut = True
        else:
            self._heard += _read(msg.data)
        self._news.set()


def _read(data: bytes) -> list[Kept]:
    try:
        return [_kept.decode(data)]
    except UNREADABLE as error:
        log.warning("unreadable message of a stream", error=str(error))
        return []
