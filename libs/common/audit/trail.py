"""One process's audit trail: each event is numbered, chained, on this machine's disk, and shipped."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from libs.common.audit.chain import Chain, Head, Sealed
from libs.common.audit.commit import Commit
from libs.common.audit.events import Event, Making, target_of
from libs.common.audit.fingerprint import Fingerprints
from libs.common.audit.folders import Orphan, begin, orphans, predecessor
from libs.common.audit.held import Held
from libs.common.audit.shipper import Shipper, Source
from libs.common.audit.spool import Segments, Spool, SpoolFull, line_of
from libs.common.bus import Bus
from libs.common.config import Audit, Config
from libs.common.errors import AuditUnavailable
from libs.common.keyring import fleet_keys

log = structlog.get_logger("audit")

SPOOL_VARIABLE = "NEXUS_AUDIT_SPOOL"
DURABLE_WITHIN = 2.0
"""Seconds until a strict call is refused whose event is on no disk."""
FLUSH_WITHIN = 5.0
ADOPT_EVERY = 10.0
"""Seconds between two looks for spools whose writer has died."""
REOPEN_EVERY = 1.0
SAY_EVERY = 5.0


@dataclass(slots=True)
class Ticket:
    """What `record` gives: where the event is, for `durable`."""

    uid: str = ""
    """Empty until the event is written."""
    spool: Spool | None = None
    position: int = 0
    stored: asyncio.Future[None] | None = None


NO_TICKET = Ticket()


@dataclass(frozen=True, slots=True)
class Stats:
    """What of a trail is worth a metric; times in seconds, sizes in bytes."""

    lag: float = 0.0
    """Age of the oldest event that the stream has not got."""
    backlog: int = 0
    recorded: int = 0
    published: int = 0
    lost: int = 0


class Trail:
    """Records events. An async context manager: leaving it ships what is left, for 5 s at most.

    `strict` promises that an event is on a disk when `durable` returns; otherwise it outlives this process,
    but perhaps not a loss of power.
    """

    enabled = True

    def __init__(
        self,
        bus: Bus,
        root: Path,
        key: bytes,
        *,
        worker: str,
        strict: bool = False,
        most: int = 256 * 2**20,
    ) -> None:
        self.strict = strict
        self.fingerprints = Fingerprints(key)
        self._bus, self._root, self._worker, self._most = bus, root, worker, most
        self._orphans: list[Orphan] = []
        self._left: list[Spool] = []
        """Our own whose folder somebody has removed; the open file is still to be shipped."""
        self._spool: Spool | None = None
        self._tried = -REOPEN_EVERY
        self._held = Held()
        self._commit = Commit()
        self._shipper = Shipper(bus, self._sources)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[tuple[Event | Making, Ticket]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._missing: tuple[int, int] | None = None
        self._lost = 0
        self._told = -SAY_EVERY
        self._closed = False
        self._chain = Chain(worker)
        self._reopen()

    async def __aenter__(self) -> Trail:
        self._loop = asyncio.get_running_loop()
        self._tasks = [
            asyncio.create_task(self._shipper.run(), name="audit-shipper"),
            asyncio.create_task(self._adopt(), name="audit-adopt"),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.write()
        self._loop = None
        if not await self._shipper.flushed(FLUSH_WITHIN):
            log.warning("audit events stay on this machine until the next start", bytes=self.stats.backlog)
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._shipper.close()
        self._sweep()
        await self._commit.close()
        for each in (*self._orphans, *self._left, *filter(None, (self._spool,))):
            each.close()
        self._spool, self._closed = None, True

    def record(self, event: Event | Making) -> Ticket:
        """Take `event` down. Raises `AuditUnavailable`, only if strict, when nothing can take it.

        Unless strict, those of one turn of the event loop are put together and written at its end, or at
        `write`.
        """
        if self.strict or self._loop is None:
            made = event if isinstance(event, Event) else event()
            ticket = self._put(self._chain.seal(made), made)
            self._tell_gap()
            return ticket
        waiting, ticket = self._waiting, Ticket()
        waiting.append((event, ticket))
        if len(waiting) == 1:
            self._loop.call_soon(self.write)
        return ticket

    async def durable(self, ticket: Ticket) -> None:
        """Strict: return when the event is on a disk, here or in the stream; else at once.

        Raises `AuditUnavailable` after 2 s.
        """
        if not self.strict or not ticket.uid:
            return
        try:
            async with asyncio.timeout(DURABLE_WITHIN):
                await self._stored(ticket)
        except TimeoutError:
            raise AuditUnavailable(UNRECORDED) from None

    @property
    def before(self) -> Head:
        """The end of the chain that this one continues."""
        return self._chain.before

    @property
    def stats(self) -> Stats:
        self.write()
        sources = self._sources()
        oldest = next((born for each in sources if (born := each.oldest())), 0.0)
        return Stats(
            lag=max(0.0, time.time() - oldest) if oldest else 0.0,
            backlog=sum(each.end - each.acked for each in sources),
            recorded=self._chain.seq,
            published=self._shipper.published,
            lost=self._lost,
        )

    def write(self) -> None:
        """Write what has come in this turn of the loop: together, or where that fails one by one.

        Whoever sends something in the same turn that must not be without its event writes first.
        """
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        sealed = [pair for event, ticket in waiting if (pair := self._sealed(event, ticket)) is not None]
        spool = self._spool or self._reopen()
        if spool is not None and not self._held.backlog:
            lines = (line_of(target_of(event), each.uid, each.line) for each, event in sealed)
            try:
                spool.append(b"".join(lines))
            except SpoolFull as error:
                log.debug("audit events are written one by one", why=str(error))
            else:
                self._shipper.wake()
                self._tell_gap()
                return
        for each, event in sealed:
            self._put(each, event)
        self._tell_gap()

    def _sealed(self, event: Event | Making, ticket: Ticket) -> tuple[Sealed, Event] | None:
        try:
            made = event if isinstance(event, Event) else event()
            sealed = self._chain.seal(made)
        except Exception:
            # One event that is wrong must not take those with it that came in the same turn of the loop.
            log.exception("an audit event cannot be written", code=getattr(event, "code", ""))
            self._lost += 1
            return None
        ticket.uid = sealed.uid
        return sealed, made

    def _put(self, sealed: Sealed, event: Event) -> Ticket:
        """One event to the disk, else into memory for the stream. Raises `AuditUnavailable` if strict."""
        data = line_of(target_of(event), sealed.uid, sealed.line)
        spool = self._spool or self._reopen()
        why = "earlier ones wait in memory" if spool is not None else f"{self._root} cannot be written"
        if spool is not None and not self._held.backlog:
            try:
                position = spool.append(data)
            except SpoolFull as error:
                why = str(error)
                if not spool.folder.exists():
                    self._left.append(spool)
                    self._spool = None
            else:
                self._shipper.wake()
                return Ticket(sealed.uid, spool, position)
        return self._hold(sealed, data, why)

    def _hold(self, sealed: Sealed, data: bytes, why: str) -> Ticket:
        """Keep an event in memory for the stream, if there is one."""
        if self._bus.connected and self._held.room:
            stored = self._held.append(data)
            self._shipper.wake(urgent=True)
            return Ticket(sealed.uid, stored=stored)
        self._missing = (self._missing[0] if self._missing else sealed.seq, sealed.seq)
        self._say("audit events are lost" if not self.strict else "calls are refused", why)
        if self.strict:
            raise AuditUnavailable(UNRECORDED)
        self._lost += 1
        return NO_TICKET

    def _tell_gap(self) -> None:
        """Say in the trail itself what it has not got, as soon as it takes events again."""
        if self._missing is None or self._missing[1] == self._chain.seq:
            return
        first, last = self._missing
        facts = {"first": first, "last": last, "refused": self.strict}
        gap = Event(code="audit.gap", message="events could not be written down", facts=facts)
        with suppress(AuditUnavailable):
            if self._put(self._chain.seal(gap), gap) is not NO_TICKET:
                self._missing = None

    async def _stored(self, ticket: Ticket) -> None:
        if ticket.stored is not None:
            await asyncio.shield(ticket.stored)
            return
        if ticket.spool is None:
            return
        try:
            await self._commit.upto(ticket.spool, ticket.position)
        except OSError as error:
            self._say("the audit spool cannot be synced; waiting for the stream", error.strerror or "")
            await self._shipper.shipped(ticket.spool, ticket.position)

    def _sources(self) -> Sequence[Source]:
        spool = () if self._spool is None else (self._spool,)
        return (*self._orphans, *self._left, *spool, self._held)

    def _reopen(self) -> Spool | None:
        """Begin a folder, at most once a second; the first time after what a predecessor has left."""
        if self._closed or time.monotonic() - self._tried < REOPEN_EVERY:
            return None
        self._tried = time.monotonic()
        role = self._bus.role
        try:
            found = list(orphans(self._root, role))
            before = predecessor(found, self._worker)
            if not self._chain.seq:
                self._chain = Chain(self._worker, before.head() if before else None)
            self._orphans += found
            self._spool = begin(self._root, role, self._worker, self._most, keep=self.strict)
        except OSError as error:
            self._say("the audit spool cannot be opened", f"{self._root}: {error.strerror}")
        return self._spool

    async def _adopt(self) -> None:
        """Ship what others leave that die without a successor."""
        while True:
            self._sweep()
            await asyncio.sleep(ADOPT_EVERY)
            for orphan in orphans(self._root):
                if self._over(orphan):
                    orphan.close()
                else:
                    self._orphans.append(orphan)
                    self._shipper.wake()

    def _sweep(self) -> None:
        """Let go of what is shipped; our role's is of no further use."""
        for spool in [each for each in self._left if self._over(each)]:
            self._left.remove(spool)
            spool.close()
        for orphan in [each for each in self._orphans if self._over(each)]:
            self._orphans.remove(orphan)
            if orphan.failed:
                orphan.close()
                continue
            if orphan.backlog:
                log.warning("the end of an audit spool was not whole, and is left out", bytes=orphan.backlog)
            if orphan.role == self._bus.role:
                orphan.remove()
            else:
                orphan.close()

    def _over(self, spool: Segments) -> bool:
        """Whether nothing is left of it that could be shipped, now."""
        try:
            return spool.finished
        except OSError as error:
            spool.failed = True
            self._say("an audit spool cannot be read; it stays", f"{spool.folder}: {error.strerror}")
            return True

    def _say(self, what: str, why: str) -> None:
        if time.monotonic() - self._told > SAY_EVERY:
            self._told = time.monotonic()
            log.warning(what, why=why)


def spool_of(audit: Audit, file: Path) -> Path:
    """The folder where events wait: of the environment, the configuration, or beside its `file`."""
    given = os.environ.get(SPOOL_VARIABLE)
    return Path(given) if given else audit.spool or file.resolve().parent / ".nexus" / "audit"


def trail_of(config: Config, file: Path, bus: Bus, worker: str) -> Trail:
    """The trail of a process of `bus.role`, as the configuration in `file` wants it.

    Without a key of the fleet fingerprints mean nothing beyond this process. Raises `ConfigError`.
    """
    audit = config.audit
    if not audit.enabled:
        return NO_TRAIL
    root = spool_of(audit, file)
    key = next(iter(fleet_keys(config)), None) or os.urandom(32)
    strict = audit.mode == "strict"
    return Trail(bus, root, key, worker=worker, strict=strict, most=audit.spool_max_size)


UNRECORDED = "the call cannot be recorded now, and nothing is done without; try again in a moment"


class _NoTrail(Trail):
    """Records nothing."""

    enabled = False

    def __init__(self) -> None:
        self.strict = False
        self.fingerprints = Fingerprints(os.urandom(32))

    async def __aenter__(self) -> Trail:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def record(self, event: Event | Making) -> Ticket:
        return NO_TICKET

    def write(self) -> None:
        pass

    @property
    def before(self) -> Head:
        return Head()

    @property
    def stats(self) -> Stats:
        return Stats()


NO_TRAIL: Trail = _NoTrail()
"""Where auditing is off."""
