"""The one auditor that reads every event: which calls never ended, what is missing, how far all have come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

import structlog
from msgspec import Struct

from libs.common import subjects
from libs.common.audit.chain import Head as Link
from libs.common.audit.checkpoint import Signer
from libs.common.audit.events import Event
from libs.common.audit.pull import ConsumerGone, Pull
from libs.common.audit.readers import unfollow
from libs.common.audit.trail import Trail
from libs.common.bus import Bus
from libs.common.codec import UNREADABLE, decoder, encode
from libs.common.errors import AuditUnavailable, BusUnavailable
from libs.common.kv import Bucket
from services.auditor.calls import Calls, Open
from services.auditor.chains import Chains, Gap, Head
from services.auditor.ended import ended
from services.auditor.seen import see
from services.auditor.sinks.sink import Delivery
from services.auditor.stream import Streams

log = structlog.get_logger("ledger")

KEY = "ledger"
TICK = 1.0
SAVE_EVERY = 5.0
SETTLED = 10.0
"""Seconds after a start, or after the bus came back, in which nothing is said to be missing.

Longer than a process waits before it tries once more to ship what it has kept meanwhile.
"""


class Kept(Struct):
    """What outlives an auditor: where to read on, and how far the chains had come."""

    sequence: int = 1
    heads: dict[str, Head] = {}
    since: float = 0.0
    """When the first event was stored that was ever read."""


class Ledger:
    """Runs while this auditor is the active one. Learns from the stream, and writes into the trail."""

    def __init__(
        self, bus: Bus, streams: Streams, bucket: Bucket, trail: Trail, signer: Signer | None, interval: float
    ) -> None:
        self.calls = Calls()
        self.chains = Chains()
        self._bus = bus
        self._streams = streams
        self._bucket = bucket
        self._trail = trail
        self._signer = signer
        self._interval = interval
        self._read = 0
        self._stored = 0.0
        self._still = 0.0
        self._saved = b""
        self._pull: Pull | None = None
        bus.on_reconnect(self._settle)

    async def run(self) -> None:
        """Read, tell and save until cancelled; goes on where the last one stopped."""
        kept = await self._load()
        while True:
            try:
                await self._follow(kept)
            except (ConsumerGone, BusUnavailable) as error:
                log.debug("reading anew", error=str(error))
                await asyncio.sleep(TICK)
            kept = self._state()

    async def _follow(self, kept: Kept) -> None:
        """Read from where `kept` says; returns when that should be done again from elsewhere."""
        self.calls, self.chains = Calls(), Chains(kept.heads, kept.since)
        self._settle()
        name, first = await self._streams.follow(KEY, kept.sequence)
        self._read = first - 1
        self._pull = pull = Pull(self._bus, subjects.AUDIT_STREAM, name)
        checked, saved = time.monotonic(), time.monotonic()
        try:
            while not self.calls.roomy():
                self._learn(await pull.batch(TICK))
                await self._tell()
                now = time.monotonic()
                if now - checked >= self._interval:
                    checked = now
                    self._vouch()
                if now - saved >= SAVE_EVERY:
                    saved = now
                    await self._save()
        finally:
            await pull.close()
            with suppress(BusUnavailable, TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._save()
                    await unfollow(self._bus, name)

    def _learn(self, batch: Sequence[Delivery]) -> None:
        for each in batch:
            stored = each.stored
            self._read, self._stored = each.sequence, stored
            self.chains.since = self.chains.since or stored
            seen = see(each.data)
            if seen is not None:
                self.calls.learn(seen, each.sequence, stored)
                self.chains.learn(seen, stored)

    async def _tell(self) -> None:
        """Write down what never came, as far as the stream has been read."""
        now = self._horizon()
        for call in self.calls.due(now):
            await self._end(call)
        for gap in self.chains.gaps(now):
            self._report(gap)

    def _horizon(self) -> float:
        """Until when everything that happened is known here; seconds since the epoch."""
        if time.monotonic() < self._still or self._pull is None:
            return 0.0
        return time.time() if self._pull.pending == 0 else self._stored

    async def _end(self, call: Open) -> None:
        data = await self._streams.event(call.sequence)
        try:
            self._trail.record(ended(call.call, data))
        except AuditUnavailable as error:
            log.warning("the end of a call is not written down yet", call=call.call, error=error.message)
            return
        call.told = True
        log.warning("a call has no end: its process died", call=call.call, sequence=call.sequence)

    def _report(self, gap: Gap) -> None:
        what = "does not follow from the one before it" if gap.broken else "never came"
        log.error("a chain of events is broken", chain=gap.chain, first=gap.first, last=gap.last, what=what)
        missing = {"first": gap.first, "last": gap.last}
        facts = {"chain": gap.chain, "missing": missing, "broken": gap.broken}
        number = str(gap.first) if gap.first == gap.last else f"{gap.first} to {gap.last}"
        message = f"event {number} of the chain {gap.chain} {what}"
        with suppress(AuditUnavailable):
            self._trail.record(Event(code="audit.gap", message=message, facts=facts))

    def _vouch(self) -> None:
        """Sign how far the chains have come that have moved."""
        moved = self.chains.moved()
        if self._signer is None or not moved:
            return
        links = [Link(uid, head.seq, head.hash) for uid, head in moved.items() if head.hash]
        for event in self._signer.events(links):
            with suppress(AuditUnavailable):
                self._trail.record(event)
        self.chains.vouch(moved)

    def _state(self) -> Kept:
        return Kept(self.calls.needed(self._read), self.chains.heads, self.chains.since)

    async def _load(self) -> Kept:
        """What the last auditor kept; nothing if that is not readable."""
        while True:
            try:
                entry = await self._bucket.get(KEY)
                return decoder(Kept).decode(entry) if entry else Kept()
            except UNREADABLE as error:
                log.warning("where the last auditor stopped is not readable; reading all", error=str(error))
                return Kept()
            except BusUnavailable:
                await asyncio.sleep(TICK)

    async def _save(self) -> None:
        self.chains.prune(time.time())
        state = encode(self._state())
        if state == self._saved:
            return
        with suppress(BusUnavailable):
            await self._bucket.put(KEY, state)
            self._saved = state

    def _settle(self) -> None:
        self._still = time.monotonic() + SETTLED
