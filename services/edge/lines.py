"""Sessions of the older HTTP transport: each lives on one stream, and ends with it (MCP 2024-11-05)."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import structlog

from libs.common.codec import decode
from libs.common.errors import InvalidRequest, Overloaded
from libs.common.identity import Principal
from libs.common.messages.streams import MessagePosted
from services.edge.body import ClientGone
from services.edge.conversation import Conversation
from services.edge.exchange import Exchange
from services.edge.listening import Listening
from services.edge.message import INITIALIZE, Message, read_message
from services.edge.respond import cut_short, error_bytes, failure_of, result_bytes
from services.edge.sessions import Session, declared
from services.edge.streams import Answer
from services.edge.visitor import Visitor, welcome

log = structlog.get_logger("edge")

LINES_MAX = 1000
"""Streams of one replica."""
WORK_MAX = 100
"""Messages of one session that are being answered."""
IDLE = 3600.0
"""Seconds without a message after which a stream is closed."""
INITIALIZED = "notifications/initialized"

ACCEPTED = 202
"""The HTTP status of a message that was taken; its answer comes on the stream."""

TAKEN, UNKNOWN, BUSY = b"1", b"0", b"2"


class Mailbox:
    """The outlet of one message: its answer is one more event of the stream."""

    def __init__(self, answer: Answer) -> None:
        self.event = answer.event
        self._answer = answer

    async def finish(self, message: bytes) -> None:
        await self._answer.room()
        self._answer.deliver(message)

    async def silence(self) -> None:
        """There is nothing to tell."""


class Line:
    """One stream and what is said on it."""

    def __init__(
        self, exchange: Exchange, conversation: Conversation, listening: Listening, ttl: float
    ) -> None:
        self.id = secrets.token_hex(16)
        self.expires = time.time() + ttl
        exchange.visitor.open(self.id)
        self._exchange = exchange
        self._conversation = conversation
        self._listening = listening
        self._session: Session | None = None
        self._working: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Task[None] | None = None
        self._used = time.monotonic()

    def take(self, posted: MessagePosted) -> bytes:
        """Begin to answer one message; says whether it was taken.

        Its sender may do what its own credentials say, not what those of the stream said once.
        """
        if len(self._working) >= WORK_MAX:
            return BUSY
        self._used = time.monotonic()
        exchange = replace(self._exchange, principal=posted.principal or self._exchange.principal)
        message = read_message(decode(posted.message))
        exchange.visitor = self._visitor(posted, exchange.principal, message)
        task = asyncio.create_task(self._answer(exchange, message))
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        return TAKEN

    async def live(self, closing: asyncio.Event) -> None:
        """Return when nobody has said anything for an hour, the session is old, or the gateway drains."""
        while (rest := self._rest()) > 0:
            try:
                async with asyncio.timeout(rest):
                    await closing.wait()
            except TimeoutError:
                continue
            if self._working:
                await asyncio.wait(self._working)
            return

    def end(self) -> set[asyncio.Task[None]]:
        """Stop to listen; the work that goes on, with nobody to tell."""
        if self._listener is not None:
            self._listener.cancel()
        return self._working

    def _rest(self) -> float:
        idle = IDLE if self._working else IDLE - (time.monotonic() - self._used)
        return min(idle, self.expires - time.time())

    def _visitor(self, posted: MessagePosted, principal: Principal, message: Message) -> Visitor:
        """Whoever posted it, in the session of the stream."""
        visitor = self._exchange.visitor.part(message, ACCEPTED)
        visitor.verb, visitor.principal = "POST", principal
        visitor.address, visitor.agent, visitor.token = posted.address, posted.agent, posted.token
        if self._session is not None:
            visitor.info = self._session.info
        return visitor

    async def _answer(self, exchange: Exchange, message: Message) -> None:
        mailbox = Mailbox(exchange.answer)
        visitor = exchange.visitor
        welcome(visitor)
        try:
            await self._say(exchange, message, mailbox)
        except ClientGone:
            visitor.gone = True
        except asyncio.CancelledError:
            visitor.failure = cut_short()
            raise
        except Exception as error:  # noqa: BLE001 (the edge of the task: its failure is its own answer)
            visitor.failure = failure_of(error)
            if message.kind == "request":
                await mailbox.finish(error_bytes(message.id, visitor.failure))
        finally:
            visitor.leave()

    async def _say(self, exchange: Exchange, message: Message, mailbox: Mailbox) -> None:
        if message.method == INITIALIZE:
            await self._initialize(exchange, message, mailbox)
        elif self._session is None:
            raise InvalidRequest("send initialize first")
        else:
            if message.method == INITIALIZED and self._listener is None and self._exchange.surface.stands:
                listen = self._listening.listen(self._exchange, self._session, self._exchange.answer.hint)
                self._listener = asyncio.create_task(listen)
            await self._conversation.take(exchange, message, self._session, mailbox)

    async def _initialize(self, exchange: Exchange, message: Message, mailbox: Mailbox) -> None:
        if self._session is not None:
            raise InvalidRequest("this session is initialized already")
        version, result = self._conversation.introduce(exchange, message)
        capabilities, info = declared(message.params)
        self._session = Session(self.id, version, self.expires, capabilities, info)
        await mailbox.finish(result_bytes(message.id, result))


class Lines:
    """The open streams of this replica, by their sessions."""

    def __init__(self, replica: str) -> None:
        self.replica = replica
        self._open: dict[str, Line] = {}
        self._orphans: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def held(self, line: Line) -> Iterator[None]:
        """Messages reach `line` inside. Raises `Overloaded`."""
        if len(self._open) >= LINES_MAX:
            raise Overloaded("too many streams are open; try again later")
        self._open[line.id] = line
        try:
            yield
        finally:
            del self._open[line.id]
            self._adopt(line.end())

    def take(self, posted: MessagePosted) -> bytes:
        """Hand a message to its session; says what became of it."""
        line = self._open.get(posted.session)
        return UNKNOWN if line is None else line.take(posted)

    def _adopt(self, orphans: set[asyncio.Task[None]]) -> None:
        """Losing the stream cancels nothing: calls that were begun end, and nobody hears of it."""
        if orphans:
            log.info("a stream was lost while calls ran; their answers are dropped", calls=len(orphans))
        for task in list(orphans):
            self._orphans.add(task)
            task.add_done_callback(self._orphans.discard)
