"""The GET stream of a legacy session: what a server tells outside of any call.

Behind it is one `subscriptions/listen` to the server's connector, whatever era the server is of; it is asked
anew when the client follows other resources, and when it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from msgspec import DecodeError, Raw

from libs.common.codec import decode, members, raw
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
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"

Listen = Callable[[dict[str, Any], Callable[[Raw], None]], Awaitable[Raw]]
"""Listens for what a filter names, telling events, until the stream ends. Raises `NexusError`."""
Hint = Callable[[bytes, str], None]
"""Takes one notification, and what it is about."""


class Standing:
    """The open GET streams of this replica, one a session. `close` ends them all: a drain must not wait."""

    def __init__(self) -> None:
        self.closing = asyncio.Event()
        self._changed: dict[str, asyncio.Event] = {}

    def __len__(self) -> int:
        return len(self._changed)

    def close(self) -> None:
        self.closing.set()

    def change(self, session: str) -> None:
        """A session follows other resources than before; it may be of another replica."""
        changed = self._changed.get(session)
        if changed is not None:
            changed.set()

    async def serve(
        self,
        session: str,
        followed: Callable[[], tuple[str, ...]],
        listen: Listen,
        emit: Hint,
    ) -> None:
        """Emit notifications until the gateway drains or the task is cancelled: the client hung up.

        Raises `InvalidRequest` if the session has a stream here already.
        """
        if session in self._changed:
            raise InvalidRequest("this session has a stream already: a message must not arrive on two")
        if len(self._changed) >= STREAMS_MAX:
            raise Overloaded("too many streams are open; try again later")
        changed = self._changed[session] = asyncio.Event()
        try:
            await self._listen(changed, followed, listen, emit)
        finally:
            del self._changed[session]

    async def _listen(
        self,
        changed: asyncio.Event,
        followed: Callable[[], tuple[str, ...]],
        listen: Listen,
        emit: Hint,
    ) -> None:
        pause = AGAIN
        while not self.closing.is_set():
            changed.clear()
            work = asyncio.ensure_future(listen(_filter(followed()), lambda event: _pass_on(event, emit)))
            try:
                await _first(work, changed, self.closing)
                pause = AGAIN if (work.done() and not work.exception()) or changed.is_set() else pause * 2
            except NexusError:
                pause *= 2
            finally:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
            if not changed.is_set():
                await _pause(min(pause, AGAIN_MAX), changed, self.closing)


async def _first(work: asyncio.Future[Raw], *events: asyncio.Event) -> None:
    """Return when `work` ends or one of `events` is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    everything: set[asyncio.Future[Any]] = {work, *waits}
    try:
        await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def _pause(seconds: float, *events: asyncio.Event) -> None:
    idle: asyncio.Future[Raw] = asyncio.get_running_loop().create_future()
    timer = asyncio.get_running_loop().call_later(seconds, idle.cancel)
    try:
        await _first(idle, *events)
    finally:
        timer.cancel()


def _filter(uris: tuple[str, ...]) -> dict[str, Any]:
    wanted: dict[str, Any] = dict.fromkeys(
        ("toolsListChanged", "promptsListChanged", "resourcesListChanged"), True
    )
    return {**wanted, "resourceSubscriptions": list(uris)} if uris else wanted


def _pass_on(event: Raw, emit: Hint) -> None:
    """A notification as legacy clients know it: without the tag of the subscription."""
    try:
        parts = members(event)
        method = decode(parts["method"])
        params = members(parts.get("params", Raw(b"{}")))
        meta = members(params.pop("_meta", Raw(b"{}")))
        subject = about(method, raw(params))
    except (DecodeError, KeyError) as error:
        log.warning("event is not JSON-RPC and was dropped", reason=str(error)[:200])
        return
    if method == ACKNOWLEDGED:
        return
    meta.pop(SUBSCRIPTION, None)
    if meta:
        params["_meta"] = raw(meta)
    emit(notice_bytes(method, raw(params)), subject)
