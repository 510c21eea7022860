"""From the spool to the stream: in order, in batches, until the stream says it has them."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import structlog

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.errors import BusUnavailable

log = structlog.get_logger("audit")

LINGER = 0.05
"""Seconds in which events gather to one batch."""
ACK_WITHIN = 5.0
BACKOFF_MAX = 5.0
SAY_EVERY = 30.0
_TARGET = re.compile(rb"[a-z_]+(\.[a-z2-7]{16})?")
_HEADERS = b"NATS/1.0\r\nNats-Msg-Id: %b\r\n\r\n"
_HEADERS_SIZE = len(_HEADERS) - 2 + 26


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


class NotTaken(Exception):
    """The stream has not taken a batch; the message says why, as far as it is known."""


class Publisher:
    """Publishes batches and counts what the stream acknowledges, on one reply subject for each batch."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def publish(self, data: bytes) -> tuple[int, int]:
        """Return when the stream holds all events of `data`: how many, and how many were none.

        Raises `NotTaken`.
        """
        token = f"audit-{secrets.token_hex(6)}"
        commands, count, torn = commands_of(data, f"{self._bus.inbox}.{token}".encode())
        if not count:
            return 0, torn
        acks = _Acks(count)
        self._bus.answers[token] = acks.take
        try:
            with self._bus.tied(acks.done):
                async with asyncio.timeout(ACK_WITHIN):
                    await self._bus.send(commands)
                    await acks.done
        except TimeoutError:
            raise NotTaken("the stream of audit events does not answer") from None
        except BusUnavailable as error:
            raise NotTaken(error.message) from None
        finally:
            self._bus.answers.pop(token, None)
        return count, torn


class _Acks:
    def __init__(self, wanted: int) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left = wanted

    def take(self, data: bytes) -> None:
        if self.done.done():
            return
        if not data:
            self.done.set_exception(NotTaken("there is no stream of audit events"))
        elif b'"error"' in data:
            self.done.set_exception(NotTaken(f"the stream refused an event: {data.decode(errors='replace')}"))
        else:
            self._left -= 1
            if not self._left:
                self.done.set_result(None)


def commands_of(data: bytes, reply: bytes) -> tuple[bytes, int, int]:
    """The protocol's commands for lines of a spool, their number, and how many lines were not whole."""
    parts: list[bytes] = []
    torn = 0
    for line in data.split(b"\n"):
        if not line:
            continue
        target, _, rest = line.partition(b" ")
        uid, _, event = rest.partition(b" ")
        if len(uid) != 26 or not event.endswith(b"}") or not _TARGET.fullmatch(target):
            torn += 1
            continue
        parts.append(
            b"HPUB %b.%b %b %d %d\r\nNATS/1.0\r\nNats-Msg-Id: %b\r\n\r\n%b\r\n"
            % (_ROOT, target, reply, _HEADERS_SIZE, _HEADERS_SIZE + len(event), uid, event)
        )
    return b"".join(parts), len(parts), torn


_ROOT = subjects.AUDIT.removesuffix(".>").encode()


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
        self.torn = 0
        self.failure = ""

    def wake(self, *, urgent: bool = False) -> None:
        """There is something to ship; if `urgent`, somebody waits for it."""
        self._wake.set()
        if urgent:
            self._urgent.set()

    async def run(self) -> None:
        """Ship for ever; back off while the stream takes nothing."""
        backoff = LINGER
        while True:
            try:
                shipped = await self._ship()
            except (NotTaken, OSError) as error:
                self._say(str(error))
                self._rest()
                backoff = min(backoff * 2, BACKOFF_MAX)
                with suppress(TimeoutError):
                    async with asyncio.timeout(backoff):
                        await self._pressed.wait()
                self._pressed.clear()
                continue
            backoff = LINGER
            self._say("")
            if shipped:
                continue
            self._rest()
            await self._wake.wait()
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    await self._urgent.wait()
            self._urgent.clear()

    async def flushed(self, timeout: float) -> bool:
        """Whether all that is recorded is in the stream: tries once more, for `timeout` seconds at most."""
        tried = asyncio.get_running_loop().create_future()
        self._trying.append(tried)
        self.wake(urgent=True)
        self._pressed.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await tried
        return not any(source.read(source.acked) for source in self._sources())

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
        """Send one chunk of the first source that has any; whether there was one."""
        for source in self._sources():
            position = source.acked
            data = source.read(position)
            if not data:
                following = source.after(position)
                if following is not None and position < source.end:
                    source.ack(following)
                    return True
                continue
            if not self._bus.connected:
                raise NotTaken("the gateway has lost its message bus")
            count, torn = await self._publisher.publish(data)
            source.ack(position + len(data))
            self._progress.set()
            self._progress.clear()
            self.published += count
            if torn:
                self.torn += torn
                log.warning("records of the audit spool were not whole, and are left out", count=torn)
            return True
        return False

    def _say(self, failure: str) -> None:
        if failure and not self.failure:
            log.warning("audit events wait on this machine", why=failure)
        elif self.failure and not failure:
            log.info("audit events are shipped again")
        self.failure = failure
