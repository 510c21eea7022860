"""Sessions of one server that belong to one caller each: opened when it first calls, closed when idle.

A question on such a session needs no other sign of whose it is, whatever the transport.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from msgspec import Raw

from libs.common import sharing
from libs.common.config import HttpServer, StdioServer
from libs.common.errors import DeadlineExceeded, NexusError, NotSent, Overloaded
from libs.common.identity import ANONYMOUS
from libs.common.messages.calls import Call, Client, ListServer
from libs.common.messages.catalog import Listing
from libs.common.meters import families
from services.connector import changes
from services.connector.arguments import Checker, schemas
from services.connector.bearer import Bearer
from services.connector.bulletin import Bulletin
from services.connector.live import Live
from services.connector.needs import Offer, may_ask
from services.connector.questions import Asked, Audience, decline
from services.connector.session import Notice, Opened, Session

log = structlog.get_logger("private")

IDLE = 300.0
"""Seconds without a call after which a session is closed."""
LOOK = 15.0
"""Seconds between two looks whether one is idle."""
SETTLE = 1.0
"""Seconds a session is kept for the call that has just taken it, whoever else wants its place."""

CACHE = "sessions"
"""What the callers' sessions are called in metrics."""

Server = StdioServer | HttpServer


class Connect(Protocol):
    """Opens a session; raises `ServerUnavailable` with the reason, leaving nothing behind."""

    async def __call__(
        self, server: Server, on_notice: Notice, on_question: Asked, bearer: Bearer | None = None
    ) -> tuple[Session, Opened]:
        """`bearer` gives the tokens, in the place of what is configured for all callers."""
        ...


List = Callable[[Session, Opened], Awaitable[Listing]]
"""What the server offers on a session that was just opened."""
Key = tuple[str, int]
"""Its owner, and the number of the session among the owner's."""


@dataclass(slots=True, eq=False)
class _Seat:
    """The place of one session, from the moment it is wanted."""

    ready: asyncio.Future[Live]
    certain: bool
    """Whether all calls on it are one caller's beyond doubt."""
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    ending: bool = False
    used: float = field(default_factory=time.monotonic)

    def live(self) -> Live | None:
        """The session, once it is open."""
        return self.ready.result() if self.ready.done() and not self.ready.exception() else None

    def idle(self) -> float:
        """Seconds since it was last of use; 0 while it is."""
        live = self.live()
        now = time.monotonic()
        if live is None or live.running or len(live.bulletin):
            self.used = now
        return now - self.used

    def hear(self, method: str, message: Raw) -> None:
        live = self.live()
        if live is not None:
            live.stale = live.stale or method.endswith("/list_changed")
            live.hear(method, message)


class Private:
    """The callers' sessions with one server, at most `limit` of them; the least used one gives way."""

    def __init__(self, server: Server, connect: Connect, limit: int = 0, idle: float = 0.0) -> None:
        self._server = server
        self._connect = connect
        self._limit = limit or server.max_sessions
        self._idle = idle or IDLE
        self._seats: dict[Key, _Seat] = {}
        self._tasks: dict[asyncio.Task[None], _Seat] = {}

    def __len__(self) -> int:
        return len(self._seats)

    def find(self, call: Call) -> Live | None:
        """The caller's session, if it has one."""
        seat = self._seats.get((self._owner(call), 0))
        return None if seat is None else seat.live()

    async def take(self, call: Call, listed: Live) -> Live:
        """The caller's session, opened if need be; it offers what `listed` does.

        Raises `NotSent` if it cannot be opened, `Overloaded` if all places are taken by calls that run,
        `DeadlineExceeded` if it did not open in time; each a proven `no`.
        """
        live = await self.open(call, _listed(listed))
        if live.listing is not listed.listing:
            live.listing, live.checker = listed.listing, listed.checker
            live.session.learn(schemas(live.listing))
        return live

    async def open(self, call: Call | ListServer, list_: List, bearer: Bearer | None = None) -> Live:
        """The same for a server where each session has a list of its own, got by `list_`."""
        seat = self._seat(call, list_, bearer)
        seat.used = time.monotonic()
        await asyncio.wait({seat.ready}, timeout=max(0.0, call.deadline - time.time()))
        if not seat.ready.done():
            late = DeadlineExceeded("the session for this caller did not open in time")
            late.executed = "no"
            raise late
        live = seat.ready.result()
        seat.used = time.monotonic()
        return live

    async def close(self) -> None:
        """End every session; bounded by what one takes to end."""
        for task, seat in self._tasks.items():
            # What is about to end is left to it: a child process that is not waited for might stay.
            if not seat.ending:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _owner(self, call: Call | ListServer) -> str:
        return sharing.owner(self._server.keeping, call.principal, _client(call))

    def _seat(self, call: Call | ListServer, list_: List, bearer: Bearer | None) -> _Seat:
        """The caller's first; for a call to be apart, the first where none waits for its client."""
        owner, apart = self._owner(call), isinstance(call, Call) and self._apart(call)
        for number in itertools.takewhile(lambda number: (owner, number) in self._seats, itertools.count()):
            seat = self._seats[owner, number]
            live = seat.live()
            if live is None or not (apart and live.parked):
                families.CACHED.cell(CACHE, "hit").add()
                return seat
        families.CACHED.cell(CACHE, "miss").add()
        return self._open(owner, call, list_, bearer)

    def _apart(self, call: Call) -> bool:
        """Whether its client may be asked, and has no session that tells it from others of its principal."""
        sessionless = self._server.keeping == "per-session" and not call.client.session
        return sessionless and may_ask(call) and bool(Offer(call.client))

    def _open(self, owner: str, call: Call | ListServer, list_: List, bearer: Bearer | None) -> _Seat:
        if len(self._tasks) >= 2 * self._limit:
            # Those that made room are still about to end, which a server may take its time for.
            raise self._overloaded()
        if len(self._seats) >= self._limit:
            self._make_room()
        key = next((owner, number) for number in itertools.count() if (owner, number) not in self._seats)
        # Anonymous callers may be several, and only a session tells them apart.
        certain = bool(_client(call).session) or call.principal.key != ANONYMOUS.key
        seat = self._seats[key] = _Seat(asyncio.get_running_loop().create_future(), certain)
        # What the session does later is not for the sake of the call that it is opened for.
        task = asyncio.create_task(self._own(key, seat, list_, bearer), context=Context())
        self._tasks[task] = seat
        task.add_done_callback(self._tasks.pop)
        return seat

    def _make_room(self) -> None:
        """Close the session that has been idle for longest."""
        key, seat = max(self._seats.items(), key=lambda item: item[1].idle())
        if seat.idle() <= SETTLE:
            raise self._overloaded()
        self._forget(key, seat)
        families.EVICTED.cell(CACHE).add()
        seat.leave.set()

    def _overloaded(self) -> Overloaded:
        return Overloaded(
            f'server "{self._server.name}" has {len(self._tasks)} sessions for callers here, all in use',
            server=self._server.name,
        )

    async def _own(self, key: Key, seat: _Seat, list_: List, bearer: Bearer | None) -> None:
        """The life of one session. A call that waits for it is told why it does not come."""
        reason = "the gateway is shutting down"
        try:
            await self._live(key, seat, list_, bearer)
        except NexusError as error:
            reason = error.message
        except Exception:
            log.exception("session of a caller was given up", server=self._server.name)
            reason = "internal error while opening it"
        finally:
            self._forget(key, seat)
            if not seat.ready.done():
                seat.ready.set_exception(NotSent(f"a session for this caller could not be opened: {reason}"))
                seat.ready.exception()

    async def _live(self, key: Key, seat: _Seat, list_: List, bearer: Bearer | None) -> None:
        audience = Audience()
        asked = audience.ask if seat.certain else decline
        session, opened = await self._connect(self._server, seat.hear, asked, bearer)
        try:
            listing = await list_(session, opened)
            session.learn(schemas(listing))
            live = Live(session, opened, listing, Checker(listing), Bulletin(), audience=audience)
            seat.ready.set_result(live)
            await self._while_useful(seat, live)
        finally:
            seat.ending = True
            self._forget(key, seat)
            await session.close()

    async def _while_useful(self, seat: _Seat, live: Live) -> None:
        """Follow the news of the session until it is lost, has been idle for long, or has to make room."""
        following = asyncio.create_task(self._follow(live, seat.hear))
        leaving = asyncio.create_task(seat.leave.wait())
        waits: set[asyncio.Future[Any]] = {live.session.lost, leaving}
        try:
            while not any(each.done() for each in waits) and seat.idle() < self._idle:
                await asyncio.wait(waits, timeout=min(LOOK, self._idle), return_when=asyncio.FIRST_COMPLETED)
        finally:
            live.bulletin.close()
            following.cancel()
            leaving.cancel()
            await asyncio.gather(following, leaving, return_exceptions=True)

    async def _follow(self, live: Live, hear: Notice) -> None:
        try:
            await changes.follow(live.session, live.opened, live.bulletin, hear, _listed_elsewhere)
        except Exception:
            log.exception("the news of a server are not followed any more", server=self._server.name)

    def _forget(self, key: Key, seat: _Seat) -> None:
        if self._seats.get(key) is seat:
            del self._seats[key]


def _listed(live: Live) -> List:
    async def list_(session: Session, opened: Opened) -> Listing:
        return live.listing

    return list_


def _client(call: Call | ListServer) -> Client:
    return call.client if isinstance(call, Call) else Client()


def _listed_elsewhere() -> None:
    """Nothing lists here by itself."""
