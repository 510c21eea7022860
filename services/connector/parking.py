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
from libs.common.messages.calls import EMPTY, WORKER, Call
from services.connector.questions import Asked, Question, decline
from services.connector.session import EventSink, Params

LIFE = 900.0
"""Seconds a call may go on after the deadline of the request that began it."""
PATIENCE = 300.0
"""Seconds for the answers to come."""
PARKED_MAX = 500
"""Calls of one worker that wait for answers."""
QUESTIONS_MAX = 16
"""Open questions of one call."""
STATE, RESPONSES = "requestState", "inputResponses"

_NEEDS = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
_URL = "elicitation.url"
"""What a client declares beside `elicitation` if it can send a person to an address."""
_ASKING = frozenset({"tools/call", "prompts/get", "resources/read"})
"""The requests that may be answered by a question."""
_MARK = "nexus-parked."

Work = Callable[[EventSink, Asked, float], Awaitable[Raw]]
"""Runs a call downstream, given who hears its events and its questions, and its absolute deadline."""


def answers(call: Call) -> bool:
    """Whether the client of this call can be asked anything while it runs."""
    return call.method in _ASKING and bool(_offered(call))


def resumes(params: Params) -> bool:
    """Whether this request goes on with a parked call."""
    return bytes(params.get(STATE, NULL)).startswith(f'"{_MARK}'.encode())


@dataclass(slots=True, eq=False)
class _Held:
    """One call that runs, the questions it has open, and the job that waits for it, if one does."""

    key: tuple[str, ...]
    offered: frozenset[str]
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

    def reply(self, replies: Params) -> None:
        """Answer what the client was asked; what it left out is refused."""
        for key, question in self.shown.items():
            result = replies.get(key, NULL)
            if bytes(result).startswith(b"{"):
                question.answer(result)
            else:
                question.refuse(-1, "the client did not answer")
        self.shown.clear()


class Parking:
    """The parked calls of one worker. Each is resumed once, by whoever began it, or given up after 300 s."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._parked: dict[str, _Held] = {}
        self._tasks: set[asyncio.Future[Raw]] = set()
        self._closing = False

    def __len__(self) -> int:
        return len(self._parked)

    async def begin(self, call: Call, job: rpc.Job, work: Work) -> Raw:
        """The result of `work`, or the questions it has first.

        Raises `DeadlineExceeded` if neither comes in the time of `call`.
        """
        held = _Held(_key(call), _offered(call))
        until = call.deadline + LIFE
        held.task = asyncio.ensure_future(work(held.hear, lambda asked: self._ask(held, asked), until))
        self._tasks.add(held.task)
        held.task.add_done_callback(self._ended)
        return await self._wait(held, call, job)

    async def resume(self, call: Call, params: Params, job: rpc.Job) -> Raw:
        """Bring the client's answers to its parked call, and wait again.

        Raises `InvalidParams`, the same whether the call is over or somebody else's.
        """
        held = self._parked.get(str(decode(params[STATE])))
        if held is None or held.key != _key(call):
            raise InvalidParams("the call this answers is over or unknown")
        replies = _replies(params)
        self._release(held)
        held.reply(replies)
        return await self._wait(held, call, job)

    async def close(self) -> None:
        """Give every call up that nobody waits for; none is parked any more."""
        self._closing = True
        given_up = list(self._parked.values())
        for held in given_up:
            self._release(held)
            held.task.cancel()
        await asyncio.gather(*(held.task for held in given_up), return_exceptions=True)

    async def _wait(self, held: _Held, call: Call, job: rpc.Job) -> Raw:
        held.job = job
        asked = asyncio.ensure_future(held.asked.wait())
        try:
            waits: set[asyncio.Future[Any]] = {held.task, asked}
            await asyncio.wait(
                waits, timeout=max(0, call.deadline - time.time()), return_when=asyncio.FIRST_COMPLETED
            )
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
        crowded = len(self._parked) >= PARKED_MAX or len(held.fresh) + len(held.shown) >= QUESTIONS_MAX
        if _needed(question) not in held.offered:
            decline(question)
        elif self._closing or crowded:
            question.refuse(-32603, "too many questions wait for an answer")
        else:
            held.ask(question)

    def _park(self, held: _Held) -> Raw:
        """Keep the call and tell what it asks. Raises `Overloaded` if no more can be kept."""
        if self._closing or len(self._parked) >= PARKED_MAX:
            full = Overloaded("the server asks, but no more calls can wait for answers here")
            full.executed = "unknown"
            raise full
        held.token = f"{_MARK}{secrets.token_urlsafe(24)}"
        self._parked[held.token] = held
        held.timer = asyncio.get_running_loop().call_later(PATIENCE, self._expire, held)
        wanted = {key: _shown(question) for key, question in held.fresh.items()}
        held.shown, held.fresh = {**held.shown, **held.fresh}, {}
        held.asked.clear()
        return raw(
            {
                "resultType": "input_required",
                "inputRequests": wanted,
                STATE: held.token,
                "_meta": {WORKER: self._worker},
            }
        )

    def _release(self, held: _Held) -> None:
        del self._parked[held.token]
        held.token = ""
        if held.timer is not None:
            held.timer.cancel()

    def _expire(self, held: _Held) -> None:
        self._release(held)
        held.task.cancel()

    def _ended(self, task: asyncio.Future[Raw]) -> None:
        """A call may fail while it is parked: whoever resumes it hears of that, if anybody does."""
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()


def _offered(call: Call) -> frozenset[str]:
    """The capabilities of the client that a question can be for."""
    if call.client.capabilities == EMPTY:
        return frozenset()
    try:
        declared = members(call.client.capabilities)
        modes = members(declared.get("elicitation", EMPTY))
    except UNREADABLE:
        return frozenset()
    offered = frozenset(declared) & frozenset(_NEEDS.values())
    return offered | {_URL} if "url" in modes else offered


def _needed(question: Question) -> str | None:
    """The capability of the client that `question` is for; None if no client can answer it."""
    try:
        mode = members(members(question.message).get("params", EMPTY)).get("mode", NULL)
    except UNREADABLE:
        return None
    if question.method == "elicitation/create" and bytes(mode) == b'"url"':
        return _URL
    return _NEEDS.get(question.method)


def _key(call: Call) -> tuple[str, ...]:
    """What a request that resumes a call has in common with the one that began it."""
    params = members(call.params)
    target = call.tool or bytes(params.get("name", params.get("uri", EMPTY))).decode()
    return call.server, call.method, target, call.principal.key


def _replies(params: Params) -> Params:
    try:
        return members(params.get(RESPONSES, EMPTY))
    except UNREADABLE:
        raise InvalidParams(f"{RESPONSES} must be an object") from None


def _shown(question: Question) -> dict[str, object]:
    return {"method": question.method, "params": members(question.message).get("params", EMPTY)}
