"""From the spool to the stream: in order, in batches, until the stream says it has them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import structlog

from libs.common.audit.publisher import NotTaken, Publisher
from libs.common.bus import Bus

log = structlog.get_logger("audit")

LINGER = 0.1
"""Seconds in which events gather to one batch."""
RETRY, BACKOFF_MAX = 0.05, 5.0
SAY_AFTER = 3.0


class Source(Protocol):
    """Records in their order, by position."""

    @property
    def acked(self) -> int: ...
    @property
    def end(self) -> int: ...
    def read(self, position: int) -> bytes: ...
    def after(self, position: int) -> int | None: ...
    def ack(self, position: int) -> None: ...
    def oldest(self) -> float: ...


class Shipper:
    """One task: sends what dead writers left, then our own, and forgets what the stream has taken."""

    def __init__(self, bus: Bus, sources: Callable[[], Sequence[Source]]) -> None:
        self._bus = bus
        self._sources = sources
        self._publisher = Publisher(bus)
        self._wake = asyncio.Event()
        self._pressed = asyncio.Event()
        self._trying: list[asyncio.Future[None]] = []
        self._urgent = asyncio.Event()
        self._progress = asyncio.Event()
        self.published = 0
        self._since = 0.0
        self._said = False

    def wake(self, *, urgent: bool = False) -> None:
        """There is something to ship; if `urgent`, somebody waits for it."""
        self._wake.set()
        if urgent:
            self._urgent.set()

    async def run(self) -> None:
        """Ship for ever; back off while the stream takes nothing."""
        backoff = RETRY
        while True:
            try:
                shipped = await self._ship()
            except Exception as error:  # noqa: BLE001 - the edge of the task: without it nothing is shipped
                self._say(str(error) or repr(error))
                self._rest()
                backoff = min(backoff * 2, BACKOFF_MAX)
                await _first(self._pressed, backoff)
                continue
            backoff = RETRY
            self._say("")
            if shipped:
                continue
            self._rest()
            await self._wake.wait()
            self._wake.clear()
            await _first(self._urgent, LINGER)

    async def flushed(self, timeout: float) -> bool:
        """Whether all that is recorded is in the stream: tries once more, for `timeout` seconds at most."""
        tried = asyncio.get_running_loop().create_future()
        self._trying.append(tried)
        self.wake(urgent=True)
        self._pressed.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await tried
        return not any(map(_left, self._sources()))

    async def close(self) -> None:
        """Take no more answers; `run` has ended."""
        await self._publisher.close()

    def _rest(self) -> None:
        """Nothing is left to ship, or nobody takes it."""
        for tried in self._trying:
            if not tried.done():
                tried.set_result(None)
        self._trying.clear()

    async def shipped(self, source: Source, position: int) -> None:
        """Return when the stream has all of `source` before `position`."""
        while source.acked < position:
            self.wake(urgent=True)
            await self._progress.wait()

    async def _ship(self) -> bool:
        """Send one chunk of the first source that has any; whether there was one.

        A source that cannot be read keeps nobody from the others. Raises `NotTaken`; `OSError` for it then.
        """
        failure: OSError | None = None
        for source in self._sources():
            position = source.acked
            try:
                data = source.read(position)
            except OSError as error:
                failure = error
                continue
            if not data:
                following = source.after(position)
                if following is not None and position < source.end:
                    source.ack(following)
                    return True
                continue
            if not self._bus.connected:
                raise NotTaken("the gateway has lost its message bus")
            taken = await self._publisher.publish(data)
            self.published += taken.events
            if taken.torn:
                log.warning("records of the audit spool were not whole, and are left out", count=taken.torn)
            source.ack(position + taken.size)
            self._progress.set()
            self._progress.clear()
            if taken.failure:
                raise NotTaken(taken.failure)
            return True
        if failure is not None:
            raise failure
        return False

    def _say(self, failure: str) -> None:
        """Once for each outage; one that is over soon is not worth a word, as when all begin together."""
        if not failure:
            if self._said:
                log.info("audit events are shipped again")
            self._since, self._said = 0.0, False
            return
        self._since = self._since or time.monotonic()
        if not self._said and time.monotonic() - self._since > SAY_AFTER:
            self._said = True
            log.warning("audit events wait on this machine", why=failure)


async def _first(event: asyncio.Event, timeout: float) -> None:
    """Wait for `event`, for `timeout` seconds at most; it is to be set anew afterwards."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await event.wait()
    event.clear()


def _left(source: Source) -> bool:
    """Whether a source has what is not shipped, or might have."""
    try:
        return bool(source.read(source.acked))
    except OSError:
        return True
