"""The edge's way onto the bus: ask a router, and send a proven `no` once more."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import structlog
from msgspec import Raw
from msgspec.structs import replace
from nats.errors import MaxPayloadError

from libs.common import rpc, subjects
from libs.common.bus import Bus
from libs.common.codec import encode
from libs.common.errors import (
    BodyTooLarge,
    BusUnavailable,
    CallFailed,
    NexusError,
    ServerUnavailable,
    WorkerLost,
)
from libs.common.fleet import Fleet
from libs.common.messages.calls import (
    CallServer,
    CancelRequest,
    ClientReply,
    ExecuteTool,
    HoldCall,
    ListServer,
    NotifyServer,
    Request,
)
from libs.common.messages.streams import MessagePosted
from libs.common.naming import SEPARATOR
from services.edge.delegating import Delegating
from services.edge.gateway import OnEvent
from services.edge.visitor import visitor

log = structlog.get_logger("dispatch")

COMEBACK = 6.0
"""Seconds that a call waits for its server to come back: a lease (4 s) and a start."""
POSTED_WITHIN = 2.0
"""Seconds for another replica to take a message."""
PAUSE = 0.25
"""Seconds between two looks whether somebody takes the call now."""


class Dispatch:
    """`Gateway` over the bus.

    What provably was not executed is sent again within its deadline: while nobody holds the server but it is
    coming back, until somebody does (6 s at most); for any other proven `no`, once. What goes on with a call
    that one worker holds is sent to nobody else.
    """

    def __init__(
        self, bus: Bus, client: rpc.Client, fleet: Fleet, delegating: Delegating | None = None
    ) -> None:
        self._delegating = delegating
        self._bus = bus
        self._client = client
        self._fleet = fleet

    async def request(self, message: Request, *, on_event: OnEvent | None = None) -> Raw:
        try:
            return await self._send(message, on_event)
        except NexusError as error:
            return await self._again(message, on_event, _repeatable(message, error))

    async def cancel_elsewhere(self, session: str, request_id: Raw, reason: str) -> None:
        with suppress(BusUnavailable):
            await self._bus.publish(subjects.CANCEL, encode(CancelRequest(session, request_id, reason)))

    async def reply_elsewhere(self, replica: str, reply: ClientReply) -> None:
        with suppress(BusUnavailable):
            await self._bus.publish(subjects.edge(replica), encode(reply))

    async def post_elsewhere(self, replica: str, posted: MessagePosted) -> bytes | None:
        try:
            return await self._bus.ask(subjects.held(replica), encode(posted), POSTED_WITHIN)
        except MaxPayloadError:
            raise BodyTooLarge(
                f"the request is larger than the gateway carries ({self._bus.max_payload} bytes)"
            ) from None

    async def _send(self, message: Request, on_event: OnEvent | None) -> Raw:
        if self._delegating is not None:
            message = self._delegating.attach(message)
        return await self._client.request(
            subjects.REQUEST, message, deadline=message.deadline, on_event=on_event
        )

    async def _again(self, message: Request, on_event: OnEvent | None, error: NexusError) -> Raw:
        server = _server(message)
        message = _marked(message, error)
        until = min(time.time() + COMEBACK, message.deadline)
        who = visitor()
        while _nobody(error) and time.time() + PAUSE < until and self._returning(server):
            if who is not None:
                who.sent = False
            await self._change()
            if who is not None:
                who.sent = True
            try:
                return await self._send(message, on_event)
            except NexusError as again:
                error = _repeatable(message, again)
                message = _marked(message, error)
        if _nobody(error):
            raise error
        return await self._send(message, on_event)

    def _returning(self, server: str) -> bool:
        """Whether `server` may take calls soon: it starts, changes hands, or was there a moment ago."""
        if not server:
            return True
        now, status = time.time(), self._fleet.status(server)
        match status.state:
            case "failed":
                return 0 < status.back_at < now + COMEBACK
            case "stopped":
                return now < status.since + COMEBACK
            case _:
                return True

    async def _change(self) -> None:
        """Wait for news of the fleet, or a moment."""
        news = asyncio.Event()
        stop = self._fleet.listen(news.set)
        try:
            async with asyncio.timeout(PAUSE):
                await news.wait()
        except TimeoutError:
            pass
        finally:
            stop()


def _repeatable(message: Request, error: NexusError) -> NexusError:
    """`error` if it is a proven `no` that somebody else, or somebody later, may answer; else it is raised."""
    failure = error.failure()
    if not failure.retry or failure.executed != "no":
        raise error
    if _bound(message) and isinstance(error, CallFailed):
        # A router said so. Where there was none, nothing is known of the worker.
        raise WorkerLost("the worker that held this call is gone") from error
    return error


def _marked(message: Request, error: NexusError) -> Request:
    """The message as a repetition, which limits do not count, if a router has had it already."""
    if isinstance(message, HoldCall) or not isinstance(error, CallFailed):
        return message
    return replace(message, again=True)


def _bound(message: Request) -> bool:
    """Whether only one worker can take this: it holds the call that goes on."""
    return isinstance(message, CallServer | ExecuteTool | HoldCall) and message.worker != ""


def _nobody(error: NexusError) -> bool:
    return error.failure().code == ServerUnavailable.code


def _server(message: Request) -> str:
    """The server a message is for; empty for a search."""
    match message:
        case ExecuteTool():
            return message.name.partition(SEPARATOR)[0]
        case CallServer() | NotifyServer() | ListServer():
            return message.server
        case _:
            return ""
