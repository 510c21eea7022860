"""News of a server for all who listen, whatever its era.

A modern server is asked by one `subscriptions/listen` of ours, for what all listeners together want. Another
wish makes it another stream: the new one is open before the old one is closed, so that nothing is missed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from msgspec import Raw, Struct
from msgspec.json import Decoder

from libs.common import codec
from libs.common.errors import NexusError
from libs.common.messages.calls import Client
from services.connector.bulletin import LISTS, Bulletin
from services.connector.session import Notice, Opened, Session
from services.connector.subscribed import subscribe
from services.connector.wishes import Filter, Interest

log = structlog.get_logger("changes")

RENEW = 3600.0
"""Seconds after which a stream is replaced, although it lasts."""
OPENING = 5.0
"""Seconds a server has to acknowledge a stream."""
FIRST, LAST = 1.0, 60.0
"""Seconds before a stream that ended is asked for again; doubled each time, with jitter."""
STABLE = 30.0
"""Seconds a stream must have lasted for the back-off to begin anew."""
SETTLE = 0.05
"""Seconds in which further wishes are awaited, to be told the server together."""
OVERLAP = 0.5
"""Seconds that a stream is read on after the next one has begun: what was sent before may be on its way."""
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_TASKS = Client(capabilities=codec.raw({"extensions": {"io.modelcontextprotocol/tasks": {}}}))


class _Params(Struct, frozen=True):
    notifications: Filter | None = None


class _Acknowledged(Struct, frozen=True):
    params: _Params = _Params()


_acknowledged: Decoder[_Acknowledged] = codec.decoder(_Acknowledged)


async def follow(
    session: Session, opened: Opened, bulletin: Bulletin, on_notice: Notice, relist: Callable[[], None]
) -> None:
    """Keep the server told of what is listened to, and pass its news on, until cancelled.

    `relist` is called when a change of its lists may have been missed. Who listened to another session of the
    server before is told at once that anything may have changed.
    """
    lists = _lists(opened)
    if opened.era == "legacy":
        await subscribe(session, bulletin, lists)
        return
    tells: dict[str, Any] = {LISTS[method]: told for method, told in lists.items()}
    await _Changes(session, Filter(**tells), bulletin, on_notice).run(lists, relist)


class _Changes:
    """The one stream of a modern session; `told` is what it can tell without being asked for more."""

    def __init__(self, session: Session, told: Filter, bulletin: Bulletin, on_notice: Notice) -> None:
        self._session = session
        self._told = told
        self._bulletin = bulletin
        self._on_notice = on_notice
        self._stream: _Stream | None = None
        self._next: _Stream | None = None
        self._streams: set[_Stream] = set()
        self._pause = FIRST

    async def run(self, lists: dict[str, bool], relist: Callable[[], None]) -> None:
        """`lists` may have changed before."""
        try:
            await self._replaced()
            self._bulletin.hint(lists)
            while True:
                await self._until_due()
                if await self._replaced():
                    self._bulletin.hint()
                    relist()
        finally:
            for stream in list(self._streams):
                await self._close(stream)

    async def _replaced(self) -> bool:
        """Listen for what is wanted now; whether news may have been missed since the last stream."""
        while not await self._open():
            await self._back_off()
        last, self._stream = self._stream, self._next
        if last is None:
            return False
        missed = last.over
        if not missed:
            await asyncio.sleep(OVERLAP)
        await self._close(last)
        return missed

    async def _open(self) -> bool:
        """Whether there is a stream for what is wanted, or none is needed; tells the listeners either way."""
        bulletin = self._bulletin
        bulletin.altered.clear()
        interest = bulletin.interest
        wanted = msgspec.structs.replace(
            self._told,
            resource_subscriptions=tuple(sorted(interest.uris)),
            task_ids=tuple(sorted(interest.tasks)),
        )
        self._next = None
        if wanted == Filter():
            bulletin.cover(interest, frozenset())
            return True
        stream = _Stream(self._session, wanted, self._on_notice)
        self._streams.add(stream)
        honoured = await stream.opened()
        if honoured is None:
            await self._close(stream)
            kept = self._stream.wanted if self._stream is not None and not self._stream.over else Filter()
            bulletin.cover(interest, _missing(interest, kept))
            return False
        bulletin.cover(interest, _missing(interest, honoured))
        self._next = stream
        return True

    async def _close(self, stream: _Stream) -> None:
        await stream.close()
        self._streams.discard(stream)

    async def _until_due(self) -> None:
        """Wait until the stream has ended, its time is over, or something else is wanted."""
        altered = asyncio.ensure_future(self._bulletin.altered.wait())
        waits: set[asyncio.Future[Any]] = {altered}
        if self._stream is not None:
            waits.add(self._stream.task)
        try:
            await asyncio.wait(waits, timeout=RENEW, return_when=asyncio.FIRST_COMPLETED)
        finally:
            altered.cancel()
        if self._stream is not None and self._stream.over:
            if self._stream.lasted() > STABLE:
                self._pause = FIRST
            await self._back_off()
        else:
            await asyncio.sleep(SETTLE)

    async def _back_off(self) -> None:
        await asyncio.sleep(self._pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        self._pause = min(self._pause * 2, LAST)


class _Stream:
    """One `subscriptions/listen`."""

    def __init__(self, session: Session, wanted: Filter, on_notice: Notice) -> None:
        self.wanted = wanted
        self._session = session
        self._on_notice = on_notice
        self._began = time.monotonic()
        self._honoured: asyncio.Future[Filter] = asyncio.get_running_loop().create_future()
        self.task = asyncio.ensure_future(self._run())

    @property
    def over(self) -> bool:
        return self.task.done()

    def lasted(self) -> float:
        return time.monotonic() - self._began

    async def opened(self) -> Filter | None:
        """What the server honours; None if it refused, or said nothing in time."""
        waits: set[asyncio.Future[Any]] = {self.task, self._honoured}
        await asyncio.wait(waits, timeout=OPENING, return_when=asyncio.FIRST_COMPLETED)
        return self._honoured.result() if self._honoured.done() else None

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            await self._session.call(
                "subscriptions/listen",
                {"notifications": codec.raw(self.wanted)},
                deadline=time.time() + RENEW + OPENING,
                client=_TASKS if self.wanted.task_ids else Client(),
                on_event=self._hear,
                progress=False,
            )
        except NexusError as error:
            log.debug("listening ended", reason=error.message)

    def _hear(self, message: Raw) -> None:
        try:
            method = codec.decode(codec.members(message)["method"])
            if method != ACKNOWLEDGED:
                self._on_notice(method, message)
            elif not self._honoured.done():
                self._honoured.set_result(_honoured(message) or self.wanted)
        except (*codec.UNREADABLE, KeyError) as error:
            log.debug("news cannot be read", reason=str(error)[:200])


def _honoured(message: Raw) -> Filter | None:
    """The part of the filter that is acknowledged, where that can be read."""
    try:
        return _acknowledged.decode(message).params.notifications
    except codec.UNREADABLE:
        return None


def _lists(opened: Opened) -> dict[str, bool]:
    """The notifications for the lists that a server has, and whether it says that it sends them."""
    offered: Any = codec.decode(opened.capabilities)
    if not isinstance(offered, dict):
        return {}
    known = {method: offered.get(method.split("/")[1]) for method in LISTS}
    return {method: _tells(each) for method, each in known.items() if isinstance(each, dict)}


def _tells(capability: dict[str, Any]) -> bool:
    return capability.get("listChanged") is True


def _missing(interest: Interest, honoured: Filter) -> frozenset[str]:
    """What is followed and the server does not tell of."""
    return interest.uris.difference(honoured.resource_subscriptions) | interest.tasks.difference(
        honoured.task_ids
    )
