"""Several JSON-RPC messages in one POST, as revisions up to 2025-03-26 allow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from msgspec import Raw

from libs.common.errors import Failure, InvalidRequest, NexusError
from services.edge.body import ClientGone
from services.edge.exchange import Exchange
from services.edge.message import BATCH_MAX, INITIALIZE, Message, known_id, read_message
from services.edge.respond import cut_short, error_bytes, failure_of
from services.edge.sessions import Session
from services.edge.streams import Answer, Outlet
from services.edge.visitor import welcome

Take = Callable[[Exchange, Message, Session, Outlet], Awaitable[None]]
ANSWERED = 200
"""The HTTP status of a batch, whatever becomes of its messages."""


class Unread(NamedTuple):
    """One message of a batch that cannot be read, and what is answered to it."""

    id: Raw
    failure: Failure


Member = Message | Unread


class Collected:
    """The answers of a batch: one array, or one event each once something was streamed."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._waiting: list[bytes] = []

    def add(self, message: bytes) -> None:
        self._waiting.append(message)
        if self._answer.streaming:
            self._stream()

    async def finish(self) -> None:
        if self._answer.streaming:
            self._stream()
            await self._answer.silence()
        elif self._waiting:
            await self._answer.finish(b"[%b]" % b",".join(self._waiting))
        else:
            await self._answer.silence()

    def _stream(self) -> None:
        for message in self._waiting:
            self._answer.deliver(message)
        self._waiting.clear()


class Share:
    """The outlet of one message of a batch."""

    def __init__(self, answer: Answer, collected: Collected) -> None:
        self.event = answer.event
        self._collected = collected

    async def finish(self, message: bytes) -> None:
        self._collected.add(message)

    async def silence(self) -> None:
        """Nothing is said of it."""


def read_batch(posted: list[Any]) -> list[Member]:
    """Raises `InvalidRequest` for a batch that is refused as a whole."""
    if not 0 < len(posted) <= BATCH_MAX:
        raise InvalidRequest(f"a batch has 1 to {BATCH_MAX} messages")
    batch = [_read(each) for each in posted]
    _check([each for each in batch if isinstance(each, Message)])
    return batch


async def serve_batch(exchange: Exchange, batch: list[Member], session: Session, take: Take) -> None:
    """Take all messages at once, and answer when the last is done."""
    answer = exchange.answer
    collected = Collected(answer)

    async def one(message: Message) -> None:
        welcome(visitor := exchange.visitor.part(message, ANSWERED))
        try:
            await take(exchange, message, session, Share(answer, collected))
        except ClientGone:
            visitor.gone = True
        except asyncio.CancelledError:
            visitor.failure = cut_short()
            raise
        except Exception as error:  # noqa: BLE001 (the edge of the task: its failure is its own answer)
            visitor.failure = failure_of(error)
            if message.kind == "request":
                collected.add(error_bytes(message.id, visitor.failure))
        finally:
            visitor.leave()

    exchange.visitor.told = True
    async with asyncio.TaskGroup() as tasks:
        for each in batch:
            if isinstance(each, Unread):
                visitor = exchange.visitor.part(None, ANSWERED)
                visitor.failure = each.failure
                visitor.leave()
                collected.add(error_bytes(each.id, each.failure))
            else:
                tasks.create_task(one(each))
    await collected.finish()


def _read(value: Any) -> Member:
    try:
        return read_message(value)
    except NexusError as error:
        return Unread(known_id(value), error.failure())


def _check(messages: list[Message]) -> None:
    if any(each.method == INITIALIZE for each in messages):
        raise InvalidRequest("initialize must not be part of a batch")
    ids = [bytes(each.id) for each in messages if each.kind == "request"]
    if len(set(ids)) != len(ids):
        raise InvalidRequest("two requests of a batch have the same id")
