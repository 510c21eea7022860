"""The GET stream of a legacy session: what a server tells outside of any call.

Behind it is one `subscriptions/listen` to the server's connector, whatever era the server is of; it is asked
anew when the client follows other resources, and when it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog
from msgspec import Raw

from libs.common.codec import UNREADABLE, decode, members, raw
from libs.common.errors import InvalidRequest, NexusError, Overloaded
from services.edge.progress import about
from services.edge.respond import notice_bytes
from services.edge.results import SUBSCRIPTION

log = structlog.get_logger("edge")

STREAMS_MAX = 2000
"""GET streams of one replica."""
AGAIN = 1.0
AGAIN_MAX = 15.0
"""Seconds between two attempts to listen."""
LINGER = 30.0
"""Seconds that a stream goes on without its client: how long a broken connection may take to be renewed."""
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"

Listen = Callable[[dict[str, Any], Callable[[Raw], None]], Awaitable[Raw]]
"""Listens for what a filter names, telling events, until the stream ends. Raises `NexusError`."""
Hint = Callable[[bytes, str], None]
"""Takes one notification, and what it is about."""


class _Stream:
    """What may happen to one stream from outside."""

    __slots__ = ("changed", "over")

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.over = False


class Standing:
    """The GET streams of this replica. `close` ends them all: a drain must not wait."""

    def __init__(self) -> None:
        self.closing = asyncio.Event()
        self._streams: dict[str, set[_Stream]] = {}
        self._clients: dict[str, object] = {}
        self._lingering: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return sum(map(len, self._streams.values()))

    def close(self) -> None:
        self.closing.set()
        for session in list(self._streams):
            self.end(session)

    def change(self, session: str) -> None:
        """A session follows other resources than before; it may be of another replica."""
        for stream in self._streams.get(session, ()):
            stream.changed.set()

    def end(self, session: str) -> None:
        """A session is over, and so are its streams."""
        for stream in self._streams.get(session, ()):
            stream.over = True
            stream.changed.set()

    @contextmanager
    def attached(self, session: str, *, instead: bool = False) -> Iterator[None]:
        """One client reads inside; `instead` of the one that does, whose connection may be dead.

        Raises `InvalidRequest` if one does already, `Overloaded`.
        """
        if session in self._clients:
            if not instead:
                raise InvalidRequest("this session has a stream already: a message must not arrive on two")
            self.end(session)
        elif not instead:
            # Its client begins anew and will not be back for those that linger.
            self.end(session)
        if len(self) >= STREAMS_MAX:
            raise Overloaded("too many streams are open; try again later")
        mine = self._clients[session] = object()
        try:
            yield
        finally:
            if self._clients.get(session) is mine:
                del self._clients[session]

    def linger(self, work: asyncio.Task[None], ended: Callable[[], object]) -> None:
        """Let a stream go on for a while without its client, which may be back; then call `ended`."""
        self._lingering.add(work)
        timer = asyncio.get_running_loop().call_later(LINGER, work.cancel)

        def done(task: asyncio.Task[None]) -> None:
            timer.cancel()
            self._lingering.discard(task)
            ended()

        work.add_done_callback(done)

    async def serve(
        self,
        session: str,
        followed: Callable[[], tuple[str, ...]],
        listen: Listen,
        emit: Hint,
        ready: Callable[[], object] = lambda: None,
    ) -> None:
        """Emit notifications until the session ends, the gateway drains or the task is cancelled.

        Calls `ready` each time from when on nothing is missed.
        """
        stream = _Stream()
        stream.over = self.closing.is_set()
        self._streams.setdefault(session, set()).add(stream)
        try:
            await self._listen(stream, followed, listen, lambda event: _pass_on(event, emit, ready))
        finally:
            rest = self._streams[session] - {stream}
            if rest:
                self._streams[session] = rest
            else:
                del self._streams[session]

    async def _listen(
        self,
        stream: _Stream,
        followed: Callable[[], tuple[str, ...]],
        listen: Listen,
        hear: Callable[[Raw], None],
    ) -> None:
        pause, changed = AGAIN, stream.changed
        while not stream.over:
            changed.clear()
            work = asyncio.ensure_future(listen(_filter(followed()), hear))
            try:
                await _first(work, changed)
                pause = AGAIN if (work.done() and not work.exception()) or changed.is_set() else pause * 2
            except NexusError:
                pause *= 2
            finally:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
            if not changed.is_set():
                await _pause(min(pause, AGAIN_MAX), changed)


async def _first(work: asyncio.Future[Raw], event: asyncio.Event) -> None:
    """Return when `work` ends or `event` is set."""
    waiting = asyncio.ensure_future(event.wait())
    everything: set[asyncio.Future[Any]] = {work, waiting}
    try:
        await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


async def _pause(seconds: float, event: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _filter(uris: tuple[str, ...]) -> dict[str, Any]:
    wanted: dict[str, Any] = dict.fromkeys(
        ("toolsListChanged", "promptsListChanged", "resourcesListChanged"), True
    )
    return {**wanted, "resourceSubscriptions": list(uris)} if uris else wanted


def _pass_on(event: Raw, emit: Hint, ready: Callable[[], object]) -> None:
    """A notification as legacy clients know it: without the tag of the subscription."""
    try:
        parts = members(event)
        method = decode(parts["method"])
        params = members(parts.get("params", Raw(b"{}")))
        meta = members(params.pop("_meta", Raw(b"{}")))
        subject = about(method, raw(params))
    except (*UNREADABLE, KeyError) as error:
        log.warning("event is not JSON-RPC and was dropped", reason=str(error)[:200])
        return
    if method == ACKNOWLEDGED:
        ready()
        return
    meta.pop(SUBSCRIPTION, None)
    if meta:
        params["_meta"] = raw(meta)
    emit(notice_bytes(method, raw(params)), subject)
