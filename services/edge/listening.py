"""Streams that a client can leave and take up again: what its GET gets, and what is kept for that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from functools import partial
from typing import Any

from msgspec import Raw

from libs.common.errors import BusUnavailable, InvalidRequest, MethodNotAllowed, Overloaded
from services.edge.body import ClientGone
from services.edge.era import LISTEN, PRIMED, RESUMING
from services.edge.exchange import Exchange
from services.edge.gateway import Catalog, OnEvent
from services.edge.journal import Journal, Journals
from services.edge.message import Message
from services.edge.replay import Place
from services.edge.sessions import Session
from services.edge.standing import STREAMS_MAX, Hint, Standing
from services.edge.streams import Watch, frame
from services.edge.surface import Ask

LAST = "last-event-id"
OPEN_AFTER = 1.0
"""Seconds after which a call without events gets a stream, where the client can then come back for it."""
READY_WITHIN = 2.0
"""Seconds until a new stream hears everything; the one it follows on is read then."""


class Listening:
    """Without `journals` nothing is kept, and a broken stream is lost."""

    def __init__(
        self, catalog: Catalog, standing: Standing, journals: Journals | None, ttl: float = 3600.0
    ) -> None:
        """A stream that stands does so for `ttl` seconds: its client then shows its credentials again."""
        self._catalog = catalog
        self._ttl = ttl
        self._standing = standing
        self._journals = journals
        self._resumed = 0

    @contextmanager
    def recording(self, exchange: Exchange, session: Session, messages: Sequence[object]) -> Iterator[None]:
        """Keep what is streamed in answer to these messages, if anything is."""
        requests = [each.id for each in messages if isinstance(each, Message) and each.kind == "request"]
        journals, primes = self._journals, session.version in PRIMED
        if journals is None or not requests or session.version not in RESUMING:
            yield
            return
        answer = exchange.answer
        answer.record(lambda: journals.start(session.id, tuple(requests), primes=primes))
        if not primes:
            yield
            return
        timer = asyncio.get_running_loop().call_later(OPEN_AFTER, answer.begin)
        try:
            yield
        finally:
            timer.cancel()

    async def serve(self, exchange: Exchange, session: Session) -> None:
        """The GET of a session: a stream that stands, or one that is taken up again.

        Raises `InvalidRequest` if that one is not kept any more.
        """
        last, place = exchange.headers.get(LAST), None
        if last is not None and self._journals is not None and session.version in RESUMING:
            place = Place.of(session.id, last)
        if place is not None and not place.stands and self._journals is not None:
            await self._resume(exchange, place, self._journals)
        elif exchange.surface.stands:
            with self._standing.attached(session.id, instead=place is not None):
                await self._stand(exchange, session, place)
        else:
            raise MethodNotAllowed("no stream is offered here: use POST", allow=["POST", "DELETE"])

    async def _resume(self, exchange: Exchange, place: Place, journals: Journals) -> None:
        if self._resumed >= STREAMS_MAX:
            raise Overloaded("too many streams are open; try again later")
        self._resumed += 1
        try:
            async with journals.replay(place) as replay:
                exchange.answer.open()
                with Watch(exchange.receive):
                    async with aclosing(replay.events(self._standing.closing)) as events:
                        await _pass(exchange, events)
        finally:
            self._resumed -= 1
        await exchange.answer.silence()

    async def _stand(self, exchange: Exchange, session: Session, place: Place | None) -> None:
        """Open until the client hangs up, the session or the time ends, or the gateway drains."""
        answer, journals, journal = exchange.answer, self._journals, None
        answer.open()
        if journals is not None and session.version in RESUMING:
            journal = journals.start(session.id, None, primes=session.version in PRIMED)
            answer.put(journal.head())

        def emit(message: bytes, about: str) -> None:
            answer.hint(message, about, b"" if journal is None else journal.add(message))

        ready = asyncio.Event()
        work = asyncio.create_task(self.listen(exchange, session, emit, ready.set))
        tasks = [work]
        if journal is not None:
            journal.on_leave = work.cancel
        if place is not None and journals is not None:
            tasks.append(asyncio.create_task(_follow_on(journals, place, emit, ready)))
        try:
            with Watch(exchange.receive):
                await asyncio.wait({work}, timeout=self._ttl)
        except ClientGone:
            self._leave(journal, tasks)
            raise
        else:
            self._leave(journal, tasks)
        finally:
            await _end(tasks)
        await answer.silence()

    def _leave(self, journal: Journal | None, tasks: list[asyncio.Task[None]]) -> None:
        """The first of `tasks` may go on, unless it is over: its client may be back for what it hears."""
        if journal is None:
            return
        if tasks[0].done():
            journal.end(answered=False)
        else:
            self._standing.linger(tasks.pop(0), partial(journal.end, answered=False))

    async def listen(
        self,
        exchange: Exchange,
        session: Session,
        emit: Hint,
        ready: Callable[[], object] = lambda: None,
    ) -> None:
        """Emit what belongs to no call, for as long as the session lives."""
        surface, principal = exchange.surface, exchange.principal

        async def listen(wanted: dict[str, Any], on_event: OnEvent) -> Raw:
            return await surface.answer(
                Ask(LISTEN, {"notifications": wanted}, principal, session.client(), on_event)
            )

        def followed() -> tuple[str, ...]:
            return self._catalog.noted(session.id).uris

        await self._standing.serve(session.id, followed, listen, emit, ready)


async def _pass(exchange: Exchange, events: Any) -> None:
    async for label, message in events:
        exchange.answer.put(frame(message, label))
        await exchange.answer.room()


async def _follow_on(journals: Journals, place: Place, emit: Hint, ready: asyncio.Event) -> None:
    """Tell what the stream before this one had to tell, when nothing new is missed any more."""
    with suppress(TimeoutError):
        async with asyncio.timeout(READY_WITHIN):
            await ready.wait()
    with suppress(InvalidRequest, BusUnavailable):
        async with journals.replay(place, leave=True) as replay:
            async for _, message in replay.stored():
                emit(message, message.decode())


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
