"""The answering side: one job per call, one sweep of beats, cancel, drain."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

import structlog
from msgspec import Raw
from msgspec.json import Decoder
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.codec import UNREADABLE, decoder, encode
from libs.common.errors import (
    BusUnavailable,
    DeadlineExceeded,
    Draining,
    InternalFault,
    InvalidRequest,
    NexusError,
    Overloaded,
    Refused,
    ResultTooLarge,
    WorkerLost,
)
from libs.common.messages.calls import Alive, CancelCall, Failed, Result
from libs.common.rpc.client import SWEEP
from libs.common.rpc.job import Job

log = structlog.get_logger("rpc")

JOBS_MAX = 2_000
STANDING_MAX = 10_000
"""Jobs that stand: they wait for what may never come, and must not keep calls out."""
ALIVE_CALLS = 500
"""Call ids in one beat message."""


class Timed(Protocol):
    """A message that carries its absolute deadline."""

    @property
    def deadline(self) -> float: ...


M = TypeVar("M", bound=Timed)
T = TypeVar("T")


async def respond(bus: Bus, reply: str, answer: Raw | NexusError) -> None:
    """Send the final frame of a call to whoever asked; an answer over the bus's bound becomes an error."""
    reply = subjects.asker(reply)
    try:
        if isinstance(answer, NexusError):
            await bus.publish(reply, encode(Failed(answer.failure())))
        else:
            await bus.publish(reply, encode(Result(answer)))
    except MaxPayloadError:
        size = len(bytes(answer)) if isinstance(answer, Raw) else 0
        failure = ResultTooLarge(
            f"the result is larger than the gateway carries ({bus.max_payload} bytes)", size=size
        )
        await bus.publish(reply, encode(Failed(failure.failure())))
    except (BusUnavailable, NatsError) as error:
        log.warning("answer lost", error=str(error))


class Server(Generic[M]):
    """Runs handlers for messages of one type, at most `limit` at once, each until its deadline.

    Messages that `stands` is true of are not counted among these; there may be 10,000 of them.
    Every accepted call is answered exactly once: result, error, `Overloaded`, `Draining`, or the deadline. A
    cancelled one is not answered, for nobody waits.
    """

    def __init__(
        self,
        bus: Bus,
        worker: str,
        messages: Decoder[M],
        handler: Callable[[M, Job], Awaitable[Raw]],
        *,
        limit: int = JOBS_MAX,
        stands: Callable[[M], bool] = lambda _: False,
    ) -> None:
        self._bus = bus
        self.worker = worker
        self._decoder = messages
        self._direct: Decoder[M | CancelCall] = decoder(CancelCall | messages.type)
        self._handler = handler
        self._limit = limit
        self._stands = stands
        self._standing = 0
        self._jobs: dict[str, Job] = {}
        self._subs: dict[str, Subscription] = {}
        self._listeners: Counter[str] = Counter()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._beats: asyncio.Task[None] | None = None
        self._closing = False
        self._draining = False

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def standing(self) -> int:
        """How many of them stand."""
        return self._standing

    async def start(self) -> None:
        """Listen for cancels and for messages to this worker alone, and begin to beat."""
        subject = subjects.worker(self.worker)
        self._subs[subject] = await self._bus.subscribe(subject, self._on_direct)
        self._beats = asyncio.create_task(self._beat(), name="rpc-beats")

    async def listen(self, subject: str, queue: str) -> None:
        """Take messages of `subject`; returns when the broker has confirmed it.

        Several may listen: the subscription is one, and ends when each of them has called `ignore`.
        """
        async with self._locks[subject]:
            if not self._closing:
                await self._subscribe(subject, queue)
            self._listeners[subject] += 1

    async def ignore(self, subject: str) -> None:
        """Take back one `listen`; after the last one, what has arrived is still handled."""
        async with self._locks[subject]:
            self._listeners[subject] -= 1
            if self._listeners[subject] <= 0:
                await self._unsubscribe(subject)

    async def _subscribe(self, subject: str, queue: str) -> None:
        if subject in self._subs:
            return
        self._subs[subject] = await self._bus.subscribe(subject, self._on_message, queue=queue)
        try:
            await self._bus.settled()
        except BaseException:
            await self._unsubscribe(subject)
            raise

    async def _unsubscribe(self, subject: str) -> None:
        sub = self._subs.pop(subject, None)
        if sub is not None:
            with suppress(NatsError, BusUnavailable):
                await self._bus.unsubscribe(sub)

    async def drain(self, grace: float) -> None:
        """Stop listening, let running calls finish for `grace` seconds, then end the rest."""
        direct = subjects.worker(self.worker)
        self._closing = True
        for subject in [s for s in self._subs if s != direct]:
            async with self._locks[subject]:
                await self._unsubscribe(subject)
        self._draining = True
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=5)
        await self._unsubscribe(direct)
        if self._beats is not None:
            self._beats.cancel()
            with suppress(asyncio.CancelledError):
                await self._beats

    async def _on_message(self, msg: Msg) -> None:
        message = await self._read(msg, self._decoder)
        if message is not None:
            await self._start(message, msg.reply)

    async def _read(self, msg: Msg, messages: Decoder[T]) -> T | None:
        try:
            return messages.decode(msg.data)
        except UNREADABLE as error:
            log.warning("unreadable message", subject=msg.subject, error=str(error))
        if msg.reply:
            await respond(self._bus, msg.reply, InvalidRequest("the message cannot be read by this worker"))
        return None

    async def _start(self, message: M, reply: str) -> None:
        stands = self._stands(message)
        refusal = self._refusal(stands=stands)
        if refusal is not None:
            await respond(self._bus, reply, refusal)
            return
        job = Job(self._bus, reply)
        job.stands = stands
        self._standing += stands
        self._jobs[job.id] = job
        job.task = asyncio.create_task(self._run(job, message))
        # A task that is cancelled before its first step never runs, nor do its own last steps.
        job.task.add_done_callback(lambda _: self._forget(job))

    def _forget(self, job: Job) -> None:
        if self._jobs.pop(job.id, None) is not None:
            self._standing -= job.stands

    def _refusal(self, *, stands: bool) -> Refused | None:
        if self._draining:
            return Draining("the worker is shutting down")
        if stands:
            running, limit, what = self._standing, STANDING_MAX, "streams"
        else:
            running, limit, what = len(self._jobs) - self._standing, self._limit, "calls"
        if running >= limit:
            return Overloaded(f"the worker already runs {limit} {what}; try again later")
        return None

    async def _run(self, job: Job, message: M) -> None:
        try:
            answer = await self._answer(job, message)
        finally:
            self._forget(job)
        if job.cancelled:
            job.hush()
            return
        await job.told()
        await respond(self._bus, job.reply, answer)

    async def _answer(self, job: Job, message: M) -> Raw | NexusError:
        if time.time() >= message.deadline:
            return Refused("the deadline was over before the call was started")
        try:
            return await self._handler(message, job)
        except NexusError as error:
            return error
        except TimeoutError:
            return DeadlineExceeded("the call took longer than its deadline")
        except asyncio.CancelledError:
            return WorkerLost("the worker stopped before the call was finished")
        except Exception:
            log.exception("handler failed", call=job.id)
            return InternalFault("internal error in the worker; its log has the details")

    async def _on_direct(self, msg: Msg) -> None:
        message = await self._read(msg, self._direct)
        if isinstance(message, CancelCall):
            self._cancel(message)
        elif message is not None and msg.reply:
            await self._start(message, msg.reply)

    def _cancel(self, cancel: CancelCall) -> None:
        job = self._jobs.get(cancel.call)
        if job is not None and job.task is not None:
            job.cancelled = True
            job.task.cancel()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            by_inbox: dict[str, list[str]] = defaultdict(list)
            for job in self._jobs.values():
                by_inbox[job.inbox].append(job.id)
            for inbox, calls in by_inbox.items():
                await self._tell(inbox, calls)

    async def _tell(self, inbox: str, calls: Iterable[str]) -> None:
        ids = iter(calls)
        while chunk := tuple(itertools.islice(ids, ALIVE_CALLS)):
            with suppress(BusUnavailable, NatsError):
                await self._bus.publish(f"{inbox}.alive", encode(Alive(self.worker, chunk)))
