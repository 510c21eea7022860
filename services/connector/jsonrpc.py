"""A raw JSON-RPC multiplexer: many calls over one pair of message streams.

It does no I/O of its own: `send` takes what goes out, `feed` takes what comes in.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import msgspec
from msgspec import UNSET, Raw

from libs.common import codec
from libs.common.errors import (
    DeadlineExceeded,
    DownstreamLost,
    NexusError,
    NotSent,
    Overloaded,
    ResultInvalid,
    ResultTooLarge,
)
from services.connector import envelope
from services.connector.envelope import Envelope
from services.connector.questions import Asked, Id, Question, decline
from services.connector.session import EventSink, Notice, Params
from services.connector.working import DOUBT, UNCANCELLED, Working

PROGRESS = "notifications/progress"
PENDING_MAX = 4096
"""Calls in flight on one session; the next one is refused."""
REPLIES_MAX = 128
"""Answers to the server and cancellations that it has not taken; those beyond are dropped."""

Send = Callable[[bytes], Awaitable[None] | None]
"""Takes one message. Raises `NotSent` or `Overloaded` if not a byte of it will leave.

It may return an awaitable that ends when the message has left; the transport bounds that in time.
"""


@dataclass(slots=True, eq=False)
class _Pending:
    future: asyncio.Future[Raw]
    method: str
    on_event: EventSink | None
    on_question: Asked | None = None
    sending: asyncio.Future[None] | None = None
    send: Send | None = None
    """The way of this call's own messages, if it has one."""

    def settle(self, outcome: Raw | NexusError) -> None:
        if self.future.done():
            return
        if isinstance(outcome, NexusError):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)

    def expire(self) -> None:
        self.settle(DeadlineExceeded(f"the server did not answer {self.method} in time"))


class Multiplexer:
    """Matches answers to calls by minted ids, and progress by minted tokens.

    `garbage` counts messages that are no JSON-RPC, `streak` those since the last good one, and `foreign`
    answers to no call in flight. None of these disturbs a call.
    """

    def __init__(self, send: Send, on_notice: Notice, on_question: Asked = decline) -> None:
        self._send = send
        self._on_notice = on_notice
        self._on_question = on_question
        self._pending: dict[Id, _Pending] = {}
        self._sending: set[asyncio.Future[None]] = set()
        self._replies = 0
        self._working = Working()
        self._last = 0
        self._failed = ""
        self.garbage = 0
        self.streak = 0
        self.foreign = 0

    @property
    def in_flight(self) -> int:
        """Calls that wait for an answer."""
        return len(self._pending)

    async def call(
        self,
        method: str,
        params: Params,
        deadline: float,
        on_event: EventSink | None = None,
        *,
        on_question: Asked | None = None,
        progress: bool = True,
        owner: str = "",
        send: Send | None = None,
    ) -> Raw:
        """The raw `result`, an object. `deadline` is absolute, seconds since the epoch.

        `owner` is whose call it is, where that is certain: who calls again may be asked for the sake of both.
        With `send`, what is said for its sake goes that way. Errors are those of `Session.call`.
        The server is told when nobody waits any more.
        """
        remaining = deadline - time.time()
        self._admit(method, remaining)
        self._last = number = self._last + 1
        loop = asyncio.get_running_loop()
        pending = self._pending[number] = _Pending(
            loop.create_future(), method, on_event, on_question, send=send
        )
        self._working.begin(number, method, owner)
        timer = loop.call_later(remaining, pending.expire)
        try:
            marked = progress and on_event is not None
            message = envelope.request(number, method, params, progress=marked)
            self._launch(message, pending.send, pending)
            return await pending.future
        except asyncio.CancelledError:
            self._abandon(number, pending, "the caller stopped waiting")
            raise
        except DeadlineExceeded:
            self._abandon(number, pending, "the time of the call is over")
            raise
        finally:
            timer.cancel()
            self._working.end(number)
            del self._pending[number]

    async def notify(self, method: str, params: Params, send: Send | None = None) -> None:
        """Send one notification; returns when the transport has taken it."""
        if self._failed:
            raise NotSent(self._failed)
        waiting = (send or self._send)(envelope.notification(method, params))
        if waiting is not None:
            await waiting

    def feed(self, message: bytes) -> None:
        """Take one incoming message, or a batch. Never raises for what is in it."""
        if not self._take(message):
            self._spoil(message)

    def discard(self, head: bytes, tail: bytes, limit: int) -> None:
        """Fail the call whose answer was over `limit` bytes, told by its two ends (`FRAGMENT` bytes)."""
        pending = self._pending.get(envelope.answered(head, tail))
        if pending is None:
            self.foreign += 1
            return
        pending.settle(ResultTooLarge(f"the answer of the server is longer than {limit} bytes", limit=limit))

    def fail(self, reason: str) -> None:
        """End the session: calls in flight are lost, later ones are not sent."""
        self._failed = self._failed or reason
        for pending in self._pending.values():
            pending.settle(DownstreamLost(self._failed))
        for sending in self._sending:
            sending.cancel()

    def _admit(self, method: str, remaining: float) -> None:
        if self._failed:
            raise NotSent(self._failed)
        if remaining <= 0:
            late = DeadlineExceeded(f"the time for {method} was over before it was sent")
            late.executed = "no"
            raise late
        if len(self._pending) >= PENDING_MAX:
            raise Overloaded(f"{PENDING_MAX} calls are in flight on this session already")

    def _launch(self, message: bytes, send: Send | None, pending: _Pending | None = None) -> None:
        waiting = (send or self._send)(message)
        if waiting is None:
            return
        sending = asyncio.ensure_future(waiting)
        self._sending.add(sending)
        self._replies += pending is None
        sending.add_done_callback(lambda done: self._sent(done, pending))
        if pending is not None:
            pending.sending = sending

    def _sent(self, sending: asyncio.Future[None], pending: _Pending | None) -> None:
        self._sending.discard(sending)
        self._replies -= pending is None
        error = None if sending.cancelled() else sending.exception()
        if error is not None and pending is not None:
            pending.settle(error if isinstance(error, NexusError) else DownstreamLost(str(error)))

    def _abandon(self, number: int, pending: _Pending, reason: str) -> None:
        if pending.sending is not None:
            pending.sending.cancel()
        self._working.end(number, DOUBT)
        if not self._failed and pending.method not in UNCANCELLED:
            params = {"requestId": codec.raw(number), "reason": codec.raw(reason)}
            self._reply(envelope.notification("notifications/cancelled", params), pending.send)

    def _reply(self, message: bytes, send: Send | None = None) -> None:
        """Send what nobody waits for, unless the server asks more than it listens."""
        if self._replies >= REPLIES_MAX:
            return
        with contextlib.suppress(NexusError):
            self._launch(message, send)

    def _take(self, message: bytes) -> bool:
        try:
            parsed = envelope.parse(message)
        except (msgspec.DecodeError, RecursionError):
            return False
        text = envelope.is_text(message)
        if parsed.method is UNSET:
            return self._settle(parsed, text=text)
        if not text:
            return False
        self.streak = 0
        if parsed.id is UNSET:
            self._hear(parsed.method, message)
        else:
            self._ask(parsed.id, parsed.method, message)
        return True

    def _settle(self, parsed: Envelope, *, text: bool) -> bool:
        if parsed.id is UNSET:
            return False
        self.streak = 0
        self._working.answered(parsed.id)
        pending = self._pending.get(parsed.id)
        if pending is None or pending.future.done():
            self.foreign += 1
        else:
            pending.settle(envelope.outcome(parsed, text=text))
        return True

    def _hear(self, method: str, message: bytes) -> None:
        owner = envelope.token(message) if method == PROGRESS else envelope.subscription(message)
        if owner is None:
            if method != PROGRESS:
                self._on_notice(method, Raw(message))
            return
        pending = self._pending.get(owner)
        if pending is not None and pending.on_event is not None and not pending.future.done():
            pending.on_event(Raw(message))

    def _ask(self, number: Id, method: str, message: bytes) -> None:
        asker = None if method == "ping" else self._asker()
        send = None if asker is None else asker.send
        question = Question(number, method, Raw(message), partial(self._reply, send=send))
        if method == "ping":
            question.answer(Raw(b"{}"))
        else:
            ((asker and asker.on_question) or self._on_question)(question)

    def _asker(self) -> _Pending | None:
        """For whose sake a question must be: nothing on these streams says it."""
        sole = self._working.sole()
        pending = None if sole is None else self._pending.get(sole)
        return None if pending is None or pending.future.done() else pending

    def _spoil(self, message: bytes) -> None:
        batch = envelope.split(message)
        if batch:
            for part in batch:
                self._take(bytes(part))
            return
        self.garbage += 1
        self.streak += 1
        broken = self._pending.get(
            envelope.answered(message[: envelope.FRAGMENT], message[-envelope.FRAGMENT :])
        )
        if broken is not None:
            broken.settle(ResultInvalid("the answer of the server is not valid JSON"))
