"""Calls that wait for a person: a legacy server asks while it works, the client answers with a new request.

The call goes on in a task of its own. It asks by `input_required` of MCP 2026-07-28, whatever the client's
era: the edge works that off with those that have sessions.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec import Raw

from libs.common import rpc
from libs.common.codec import UNREADABLE, decode, members, raw
from libs.common.errors import NULL, DeadlineExceeded, InvalidParams, Overloaded
from libs.common.messages.calls import EMPTY, REFUSED, WORKER, Call, HoldCall
from services.connector.handshake import MODERN
from services.connector.live import Live
from services.connector.needs import Offer
from services.connector.questions import INTERNAL, Asked, Question
from services.connector.session import EventSink, Params

LIFE = 900.0
"""Seconds a call may go on after the deadline of the request that began it."""
PATIENCE = 120.0
"""Seconds in which a modern client may come back with its answers."""
VIGIL = 15.0
"""Seconds until an edge that asks a client with a session has to say again that it still waits."""
TOGETHER = 0.05
"""Seconds in which more questions of a call may come, so that the client is asked once for all of them."""
PARKED_MAX = 500
"""Calls of one worker that wait for answers."""
QUESTIONS_MAX = 16
"""Open questions of one call."""
QUESTIONS_BYTES = 4 * 1024 * 1024
"""Bytes of these: they travel to the client in one message."""
PARKED_BYTES = 64 * 1024 * 1024
"""Bytes of the questions of all calls that wait for answers."""
STATE, RESPONSES = "requestState", "inputResponses"

_MARK = "nexus-parked."
_REFUSED = f'"{REFUSED}"'.encode()

Work = Callable[[EventSink, Asked, float], Awaitable[Raw]]
"""Runs a call downstream, given who hears its events and its questions, and its absolute deadline."""


def resumes(params: Params) -> bool:
    """Whether this request goes on with a parked call."""
    return bytes(params.get(STATE, NULL)).startswith(f'"{_MARK}'.encode())


@dataclass(slots=True, eq=False)
class _Held:
    """One call that runs, the questions it has open, and the job that waits for it, if one does."""

    key: tuple[str, ...]
    offer: Offer
    live: Live
    patience: float
    token: str = ""
    job: rpc.Job | None = None
    task: asyncio.Future[Raw] = field(init=False)
    timer: asyncio.TimerHandle | None = None
    fresh: dict[str, Question] = field(default_factory=dict)
    """Questions the client has not been told of."""
    shown: dict[str, Question] = field(default_factory=dict)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    last: int = 0

    def hear(self, event: Raw) -> None:
        if self.job is not None:
            self.job.event(event)

    def ask(self, question: Question) -> None:
        self.last += 1
        self.fresh[f"q{self.last}"] = question
        self.asked.set()

    def size(self) -> int:
        """Bytes of its open questions."""
        return sum(len(bytes(each.message)) for each in (*self.shown.values(), *self.fresh.values()))

    def show(self) -> dict[str, object]:
        """The open questions for the client; from now on it knows them."""
        self.shown, self.fresh = {**self.shown, **self.fresh}, {}
        self.asked.clear()
        return {key: _shown(question) for key, question in self.shown.items()}

    def reply(self, replies: Params) -> None:
        """Answer what the client was asked; what it left out is refused."""
        for key, question in self.shown.items():
            _settle(question, replies.get(key, NULL))
        self.shown.clear()

    def give_up(self) -> None:
        """Tell the server that nobody will answer it any more."""
        for question in (*self.shown.values(), *self.fresh.values()):
            question.refuse(INTERNAL, "the call was given up before the client had answered")


class Parking:
    """The parked calls of one worker. Each is resumed once, by whoever began it, or given up.

    A modern client has 120 s to come back. One with a session has as long as its edge says that it waits.
    """

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._parked: dict[str, _Held] = {}
        self._tasks: set[asyncio.Future[Raw]] = set()
        self._closing = False

    def __len__(self) -> int:
        return len(self._parked)

    async def begin(self, call: Call, offer: Offer, live: Live, job: rpc.Job, work: Work) -> Raw:
        """The result of `work` on the session `live`, or the questions it has first.

        Raises `DeadlineExceeded` if neither comes in the time of `call`.
        """
        held = _Held(_key(call), offer, live, PATIENCE if call.client.version == MODERN else VIGIL)
        until = call.deadline + LIFE
        running = work(held.hear, lambda asked: self._ask(held, asked), until)
        held.task = asyncio.ensure_future(offer.judge(running))
        self._tasks.add(held.task)
        held.task.add_done_callback(lambda _: self._ended(held))
        return await self._wait(held, call, job)

    async def resume(self, call: Call, params: Params, job: rpc.Job) -> Raw:
        """Bring the client's answers to its parked call, and wait again.

        Raises `InvalidParams`, the same whether the call is over or somebody else's.
        """
        held = self._parked.get(str(decode(params[STATE])))
        if held is None or held.key != _key(call):
            raise _unknown()
        replies = _replies(params)
        self._release(held)
        held.reply(replies)
        return await self._wait(held, call, job)

    def hold(self, wish: HoldCall) -> Raw:
        """Let a parked call wait on, or end it. Raises `InvalidParams` like `resume`."""
        held = self._parked.get(str(decode(wish.state)))
        if held is None or held.key[-1] != wish.principal.key:
            raise _unknown()
        if wish.end:
            self._expire(held)
        else:
            self._await(held)
        return raw({"over": held.task.done()})

    async def close(self) -> None:
        """Give every call up that nobody waits for; none is parked any more."""
        self._closing = True
        given_up = list(self._parked.values())
        for held in given_up:
            self._expire(held)
        await asyncio.gather(*(held.task for held in given_up), return_exceptions=True)

    async def _wait(self, held: _Held, call: Call, job: rpc.Job) -> Raw:
        held.job = job
        asked = asyncio.ensure_future(held.asked.wait())
        try:
            waits: set[asyncio.Future[Any]] = {held.task, asked}
            await asyncio.wait(
                waits, timeout=max(0, call.deadline - time.time()), return_when=asyncio.FIRST_COMPLETED
            )
            if held.fresh:
                await asyncio.wait({held.task}, timeout=TOGETHER)
            if held.task.done():
                return held.task.result()
            if held.fresh:
                return self._park(held)
            raise DeadlineExceeded(f"the server did not answer {call.method} in time")
        finally:
            asked.cancel()
            held.job = None
            if not held.token:
                held.task.cancel()

    def _ask(self, held: _Held, question: Question) -> None:
        if not held.offer.admits(question):
            return
        if self._closing or self._crowded(held, len(bytes(question.message))):
            question.refuse(INTERNAL, "too many questions wait for an answer")
        else:
            held.ask(question)

    def _crowded(self, held: _Held, more: int) -> bool:
        """Whether a question of so many bytes is one too many, for its call or for all."""
        if len(self._parked) >= PARKED_MAX or len(held.fresh) + len(held.shown) >= QUESTIONS_MAX:
            return True
        others = sum(each.size() for each in self._parked.values() if each is not held)
        own = held.size() + more
        return own > QUESTIONS_BYTES or others + own > PARKED_BYTES

    def _park(self, held: _Held) -> Raw:
        """Keep the call and tell what it asks. Raises `Overloaded` if no more can be kept."""
        if self._closing or len(self._parked) >= PARKED_MAX:
            full = Overloaded("the server asks, but no more calls can wait for answers here")
            full.executed = "unknown"
            raise full
        held.token = f"{_MARK}{secrets.token_urlsafe(24)}"
        self._parked[held.token] = held
        held.live.parked += 1
        self._await(held)
        return raw(
            {
                "resultType": "input_required",
                "inputRequests": held.show(),
                STATE: held.token,
                "_meta": {WORKER: self._worker},
            }
        )

    def _await(self, held: _Held) -> None:
        if held.timer is not None:
            held.timer.cancel()
        held.timer = asyncio.get_running_loop().call_later(held.patience, self._expire, held)

    def _release(self, held: _Held) -> None:
        del self._parked[held.token]
        held.live.parked -= 1
        held.token = ""
        if held.timer is not None:
            held.timer.cancel()

    def _expire(self, held: _Held) -> None:
        self._release(held)
        held.task.cancel()

    def _ended(self, held: _Held) -> None:
        """A call may fail while it is parked: whoever resumes it hears of that, if anybody does."""
        self._tasks.discard(held.task)
        if held.task.cancelled():
            held.give_up()
        else:
            held.task.exception()


def _key(call: Call) -> tuple[str, ...]:
    """What a request that resumes a call has in common with the one that began it."""
    params = members(call.params)
    target = call.tool or bytes(params.get("name", params.get("uri", EMPTY))).decode()
    return call.server, call.method, target, call.principal.key


def _unknown() -> InvalidParams:
    unknown = InvalidParams("the call this answers is over or unknown")
    unknown.executed = "unknown"
    return unknown


def _replies(params: Params) -> Params:
    try:
        return members(params.get(RESPONSES, EMPTY))
    except UNREADABLE:
        raise InvalidParams(f"{RESPONSES} must be an object") from None


def _settle(question: Question, reply: Raw) -> None:
    """Pass on what a client said: its answer, the error it answered with, or nothing."""
    said = bytes(reply)
    if not said.startswith(b"{"):
        question.refuse(-1, "the client did not answer")
    elif _REFUSED in said and REFUSED in (parts := members(reply)):
        question.fail(parts[REFUSED])
    else:
        question.answer(reply)


def _shown(question: Question) -> dict[str, object]:
    return {"method": question.method, "params": members(question.message).get("params", EMPTY)}
