"""The owner of one instance of one server: it starts, lists, watches, restarts and closes the session."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import structlog
from msgspec import Raw

from libs.common import rpc, subjects
from libs.common.audit.events import Event
from libs.common.audit.trail import NO_TRAIL, Trail
from libs.common.config import StdioServer
from libs.common.errors import AuditUnavailable, NexusError
from libs.common.facts import Facts, ServerFailed, ServerStarted
from libs.common.lease import Lease
from libs.common.log import hidden
from libs.common.messages.calls import Order
from libs.common.messages.catalog import Listing
from libs.common.meters import families
from services.connector import changes, lifecycle
from services.connector.arguments import Checker, schemas
from services.connector.bulletin import Bulletin
from services.connector.herald import Herald
from services.connector.listed import tools_listed
from services.connector.listing import collect
from services.connector.live import Live
from services.connector.pool import Pool
from services.connector.private import Connect, Private, Server
from services.connector.questions import decline
from services.connector.session import Opened, Session

log = structlog.get_logger("keeper")

BACKOFF_FIRST = 0.25
BACKOFF_MAX = 30.0
SHYNESS = 0.3
"""Seconds that others are given to take a lease, for each instance that a worker owns."""
STEADY = 60.0
"""Seconds a session must have lived for the back-off to begin anew."""
ANSWERED = "the server answered with an error"
CHANGED = frozenset(f"notifications/{what}/list_changed" for what in ("tools", "prompts", "resources"))
LISTING_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What every keeper of a worker shares."""

    pool: Pool
    calls: rpc.Server[Order]
    facts: Facts
    connect: Connect
    relist: float
    """Seconds between two listings nobody asked for; 0: never."""
    trail: Trail = NO_TRAIL


@dataclass(frozen=True, slots=True)
class End:
    """Why a life of a session ended: a sentence that callers may see, and the child's last words."""

    reason: str
    detail: str = ""
    lived: bool = False
    """Whether it was ready before."""
    own: bool = True
    """Whether the reason is a sentence of ours, not an error that the server wrote."""


class Backoff:
    """Waiting times that double from 0.25 s to 30 s, with jitter, and start again after a steady minute."""

    def __init__(self) -> None:
        self._next = BACKOFF_FIRST

    def delay(self, lived: float) -> float:
        """Seconds to wait after a session that lived `lived` seconds."""
        if lived > STEADY:
            self._next = BACKOFF_FIRST
        delay = self._next
        self._next = min(self._next * 2, BACKOFF_MAX)
        return delay * random.uniform(0.8, 1.2)  # noqa: S311 - jitter


class Keeper:
    """Runs until cancelled; a server that fails is reported and tried again, never fatal."""

    def __init__(self, parts: Parts, server: Server, slot: int, lease: Lease | None) -> None:
        self._parts = parts
        self._server = server
        self._slot = slot
        self._lease = lease
        self._relist = asyncio.Event()
        self._told: set[str] = set()
        self._bulletin = Bulletin()
        self._backoff = Backoff()
        self._restarts = 0
        self._live: Live | None = None
        self._listening = False
        self._herald = Herald(parts.facts, server.name)

    async def run(self) -> None:
        """Own the lease while there is one to own, and keep the session up.

        Where callers have sessions of their own, this one only lists.
        """
        private = Private(self._server, self._parts.connect)
        if self._server.sharing != "shared":
            self._parts.pool.private[self._server.name] = private
        try:
            await self._run()
        finally:
            self._herald.close()
            await private.close()

    async def _run(self) -> None:
        if self._lease is None:
            await self._keep()
            return
        while True:
            self._say("standby")
            await self._lease.acquire(self._reluctance)
            try:
                await self._while_owned(self._lease)
            finally:
                await self._lease.release()

    def _reluctance(self) -> float:
        """Seconds: a worker that has more leaves the next instance to others, and begins with the first."""
        return SHYNESS * (self._parts.pool.owned() + self._slot)

    async def _while_owned(self, lease: Lease) -> None:
        """Keep the session for as long as the lease holds; whichever ends first ends both."""
        tasks = {asyncio.create_task(lease.hold()), asyncio.create_task(self._keep())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self) -> None:
        """Run one session after the other; who listens to the server stays, and is told by the next one."""
        self._bulletin = Bulletin()
        try:
            while True:
                started = time.monotonic()
                end = await self._live_once()
                delay = self._backoff.delay(time.monotonic() - started)
                self._report(end, delay)
                await asyncio.sleep(delay)
        finally:
            self._bulletin.close()

    def _report(self, end: End, delay: float) -> None:
        # What a child says last goes to callers, and may be what it was given in secret.
        end = replace(end, reason=hidden(end.reason), detail=hidden(end.detail))
        self._restarts += 1
        families.BACKOFF.cell(self._server.name).set(delay)
        self._say(
            "failed",
            error=end.reason,
            detail=end.detail,
            restarts=self._restarts,
            back_at=time.time() + delay if end.lived else 0.0,
        )
        name = self._server.name
        log.warning(
            "server failed",
            server=name,
            reason=end.reason,
            stderr=end.detail or None,
            retry_in=round(delay, 1),
        )
        worker = self._parts.pool.worker
        self._herald.tell(ServerFailed(server=name, worker=worker, reason=end.reason, retry_in=delay))
        told = end.reason if end.own else ANSWERED
        self._record(lifecycle.failed(name, worker, told, self._restarts, delay, lived=end.lived))

    async def _live_once(self) -> End:
        """One life of the session; returns why it ended."""
        self._say("starting")
        try:
            session, opened = await self._parts.connect(self._server, self._on_notice, decline)
        except NexusError as error:
            return End(error.message, str(error.data.get("stderr", "")), own=_is_own(error))
        except Exception:
            log.exception("session could not be opened", server=self._server.name)
            return End("internal error while opening the session")
        try:
            return End(await self._serve(session, opened), lived=True)
        except NexusError as error:
            return End(error.message, own=_is_own(error))
        except Exception:
            log.exception("session was given up", server=self._server.name)
            return End("internal error while the session was kept")
        finally:
            await session.close()

    async def _serve(self, session: Session, opened: Opened) -> str:
        self._relist.clear()
        listing = await self._list(session, opened)
        live = Live(session, opened, listing, Checker(listing), self._bulletin)
        self._announce(live)
        following = asyncio.create_task(self._follow(session, opened))
        self._live = live
        try:
            await self._enter(live)
            return await self._watch(live)
        finally:
            self._live = None
            following.cancel()
            await self._leave(live)
            await asyncio.gather(following, return_exceptions=True)

    async def _list(self, session: Session, opened: Opened) -> Listing:
        listing = await collect(session, opened, self._server.name, LISTING_TIMEOUT)
        session.learn(schemas(listing))
        return listing

    async def _follow(self, session: Session, opened: Opened) -> None:
        try:
            await changes.follow(session, opened, self._bulletin, self._on_notice, self._relist.set)
        except Exception:
            log.exception("the news of a server are not followed any more", server=self._server.name)

    async def _enter(self, live: Live) -> None:
        server = self._server.name
        self._parts.pool.add(server, live)
        await self._parts.calls.listen(subjects.call(server), "connector")
        self._listening = True
        self._say_ready(live)
        log.info(
            "server ready",
            server=server,
            tools=len(live.listing.tools),
            kind=live.session.kind,
            version=live.opened.version,
        )

    async def _leave(self, live: Live) -> None:
        server = self._server.name
        self._parts.pool.remove(server, live)
        if self._listening:
            self._listening = False
            await asyncio.shield(self._parts.calls.ignore(subjects.call(server)))

    async def _watch(self, live: Live) -> str:
        """List again when told or when it is time, until the session is lost; returns why."""
        lost = live.session.lost
        while not lost.done():
            changed = asyncio.ensure_future(self._relist.wait())
            waits: set[asyncio.Future[Any]] = {lost, changed}
            try:
                done, _ = await asyncio.wait(
                    waits, timeout=self._parts.relist or None, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                changed.cancel()
            if not lost.done():
                await self._refresh(live, again=not done)
        return lost.result()

    async def _refresh(self, live: Live, *, again: bool) -> None:
        """List; tell of it if it changed, or `again`: the catalog may have been lost meanwhile."""
        self._relist.clear()
        told, self._told = self._told, set()
        try:
            listing = await self._list(live.session, live.opened)
        except NexusError as error:
            log.warning("listing failed", server=self._server.name, reason=error.message)
            return
        if listing.digest != live.listing.digest:
            self._hint(live.listing, listing, told)
            live.listing, live.checker = listing, Checker(listing)
            self._say_ready(live)
            again = True
        if again:
            self._herald.tell(tools_listed(live.listing, self._parts.pool.worker))

    def _hint(self, before: Listing, now: Listing, told: set[str]) -> None:
        """Tell listeners of the lists that changed without a word of the server, who `told` of others."""
        changed = {
            "tools": before.tools != now.tools,
            "prompts": before.prompts != now.prompts,
            "resources": (before.resources, before.templates) != (now.resources, now.templates),
        }
        silent = {f"notifications/{what}/list_changed" for what, differs in changed.items() if differs} - told
        self._bulletin.change(sorted(silent))

    def _announce(self, live: Live) -> None:
        worker = self._parts.pool.worker
        version, kind = live.opened.version, live.session.kind
        self._herald.tell(
            ServerStarted(server=self._server.name, worker=worker, kind=kind, version=version),
            tools_listed(live.listing, worker),
        )
        self._record(lifecycle.started(self._server.name, worker, kind, version, self._restarts))

    def _record(self, event: Event) -> None:
        """Never more than a note: the server matters more than what is told of it."""
        with suppress(AuditUnavailable):
            self._parts.trail.record(event)

    def _on_notice(self, method: str, message: Raw) -> None:
        if method in CHANGED:
            self._told.add(method)
            self._relist.set()
        if self._live is not None:
            self._live.hear(method, message)

    def _say_ready(self, live: Live) -> None:
        families.BACKOFF.cell(self._server.name).set(0)
        self._say("ready", tools=len(live.listing.tools), kind=live.session.kind, restarts=self._restarts)

    def _say(self, state: str, **facts: object) -> None:
        # The names are those of `Held`, whose fields the checker cannot see through `**`.
        self._parts.pool.say(self._server.name, self._slot, state, **facts)  # type: ignore[arg-type]


def _is_own(error: NexusError) -> bool:
    return not error.failure().verbatim


def slots(server: Server) -> range:
    """The instances of `server` that one worker may run, as lease numbers."""
    if isinstance(server, StdioServer) and isinstance(server.instances, int) and leased(server):
        return range(server.instances)
    return range(1)


def leased(server: Server) -> bool:
    """Whether instances of `server` are counted over the whole fleet."""
    counted = isinstance(server, StdioServer) and isinstance(server.instances, int)
    return counted and server.sharing == "shared"
