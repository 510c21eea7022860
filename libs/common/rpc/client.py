"""The asking side: one pending entry per call, one sweep for all deadlines and silences."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from contextlib import suppress

import structlog
from msgspec import Raw, Struct
from msgspec.json import Decoder
from nats.errors import MaxPayloadError

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.codec import UNREADABLE, decoder, encode
from libs.common.errors import (
    BodyTooLarge,
    BusUnavailable,
    CallFailed,
    DeadlineExceeded,
    NexusError,
    Overloaded,
    Refused,
    ResultInvalid,
    ServerUnavailable,
    WorkerLost,
)
from libs.common.messages.calls import Alive, CancelCall, Event, Failed, Frame, Result
from libs.common.meters import families

log = structlog.get_logger("rpc")

SWEEP = 0.25
"""Seconds between two looks at the pending calls, and between two beats of a worker."""
LOST_AFTER = 2.5
"""Seconds without a frame after which a call's worker counts as dead (promised: within 3 s)."""
GRACE = 0.5
"""Seconds past its deadline that a call waits for the worker's own verdict."""
PENDING_MAX = 10_000

OnEvent = Callable[[Raw], None]
_frame: Decoder[Frame] = decoder(Frame)


class _Pending:
    __slots__ = ("call", "cancelled", "deadline", "future", "heard", "on_event", "worker")

    def __init__(
        self, call: str, future: asyncio.Future[Raw], deadline: float, on_event: OnEvent | None
    ) -> None:
        self.call = call
        self.future = future
        self.deadline = deadline
        self.on_event = on_event
        self.heard = time.monotonic()
        self.worker = ""
        self.cancelled = False


class Client:
    """Sends requests and waits for their end; used as an async context manager, which owns its sweep.

    Every call ends: with its result, its error, `WorkerLost` after 2.5 s of silence, or `DeadlineExceeded`.
    """

    def __init__(self, bus: Bus, *, pending_max: int = PENDING_MAX) -> None:
        self._bus = bus
        self._pending: dict[str, _Pending] = {}
        self._max = pending_max
        self._ids = itertools.count(1)
        self._sweeper: asyncio.Task[None] | None = None
        self._cancels: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Client:
        self._bus.answers["alive"] = self._on_alive
        self._sweeper = asyncio.create_task(self._sweep(), name="rpc-sweep")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeper
        for pending in list(self._pending.values()):
            self._end(pending, WorkerLost("the gateway is shutting down"))

    def __len__(self) -> int:
        return len(self._pending)

    async def request(
        self, subject: str, message: Struct, *, deadline: float, on_event: OnEvent | None = None
    ) -> Raw:
        """The raw result of `message`. Raises `NexusError`; cancelling the task cancels the call.

        `deadline` is absolute, seconds since the epoch. `on_event` gets raw messages in order; it must not
        block.
        """
        self._admit(deadline)
        call = f"{self._bus.client}-{next(self._ids):x}"
        future: asyncio.Future[Raw] = asyncio.get_running_loop().create_future()
        pending = _Pending(call, future, deadline, on_event)
        self._pending[call] = pending
        self._bus.answers[call] = lambda data: self._on_frame(pending, data)
        try:
            await self._bus.publish(subject, encode(message), f"{self._bus.inbox}.{call}")
            return await pending.future
        except MaxPayloadError:
            raise BodyTooLarge(
                f"the request is larger than the gateway carries ({self._bus.max_payload} bytes)"
            ) from None
        except asyncio.CancelledError:
            self._abandon(pending)
            raise
        finally:
            if not pending.cancelled:
                self._forget(call)

    def _admit(self, deadline: float) -> None:
        if not self._bus.connected:
            raise BusUnavailable("the gateway has lost its message bus; try again in a moment")
        if len(self._pending) >= self._max:
            raise Overloaded(f"{self._max} calls are already waiting; try again later")
        if time.time() >= deadline:
            raise Refused("the deadline was over before the call was sent")

    def _forget(self, call: str) -> None:
        self._pending.pop(call, None)
        self._bus.answers.pop(call, None)

    def _on_frame(self, pending: _Pending, data: bytes) -> None:
        pending.heard = time.monotonic()
        if not data:
            self._end(pending, ServerUnavailable("nobody was there to take the call; it may be restarting"))
            return
        try:
            frame = _frame.decode(data)
        except UNREADABLE as error:
            log.warning("unreadable frame", error=str(error))
            self._end(pending, ResultInvalid("the worker sent an answer that cannot be read"))
            return
        match frame:
            case Result():
                self._end(pending, frame.result)
            case Failed():
                self._end(pending, CallFailed(frame.error))
            case Event() if pending.on_event is not None and not pending.future.done():
                pending.on_event(frame.message)
                for message in frame.more:
                    pending.on_event(message)
            case _:
                pass

    def _on_alive(self, data: bytes) -> None:
        try:
            alive = _frame.decode(data)
        except UNREADABLE as error:
            log.warning("unreadable beat", error=str(error))
            return
        if not isinstance(alive, Alive):
            return
        now = time.monotonic()
        for call in alive.calls:
            pending = self._pending.get(call)
            if pending is None:
                continue
            pending.heard, pending.worker = now, alive.worker
            if pending.cancelled:
                self._send_cancel(call, alive.worker)
                self._forget(call)

    def _end(self, pending: _Pending, outcome: Raw | NexusError) -> None:
        if pending.cancelled:
            self._forget(pending.call)
        if pending.future.done():
            return
        if isinstance(outcome, NexusError):
            pending.future.set_exception(outcome)
        else:
            pending.future.set_result(outcome)

    def _abandon(self, pending: _Pending) -> None:
        """Tell the worker to stop; if it is not known yet, its first beat tells who it is."""
        if pending.worker:
            self._send_cancel(pending.call, pending.worker)
        else:
            pending.cancelled = True

    def _send_cancel(self, call: str, worker: str) -> None:
        message = encode(CancelCall(call))
        task = asyncio.create_task(self._try_publish(subjects.worker(worker), message))
        self._cancels.add(task)
        task.add_done_callback(self._cancels.discard)

    async def _try_publish(self, subject: str, message: bytes) -> None:
        with suppress(BusUnavailable):
            await self._bus.publish(subject, message)

    async def _sweep(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(SWEEP)
            now = time.monotonic()
            # Frames may wait unread in the socket after our own loop stalled: that silence is ours.
            stalled = max(0.0, now - last - 2 * SWEEP)
            last = now
            for pending in list(self._pending.values()):
                pending.heard += stalled
                self._judge(pending, now)

    def _judge(self, pending: _Pending, now: float) -> None:
        silent = now - pending.heard > LOST_AFTER
        if pending.cancelled:
            if silent:
                self._forget(pending.call)
        elif silent:
            families.LOST.cell().add()
            self._end(pending, WorkerLost("the worker that ran the call is gone; whether it ran is unknown"))
        elif time.time() > pending.deadline + GRACE:
            self._abandon(pending)
            self._end(pending, DeadlineExceeded("the call took longer than its deadline"))
