"""What a connector answers: one call, run on one live session."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from msgspec import Raw
from msgspec.structs import replace

from libs.common import rpc
from libs.common.codec import UNREADABLE, members, raw
from libs.common.crowd import PAUSE, Crowd
from libs.common.errors import InvalidParams, RateLimited, ServerUnavailable
from libs.common.messages.calls import EMPTY, Call, HoldCall, ListServer, Order
from libs.common.telemetry.current import SPAN
from libs.common.trace import NONE
from services.connector import logs, parking
from services.connector.delegation import Delegation
from services.connector.live import Live
from services.connector.needs import Offer, may_ask
from services.connector.ours import stripped
from services.connector.parking import Parking, Work
from services.connector.pool import Pool
from services.connector.questions import Asked, decline
from services.connector.session import EventSink, Params
from services.connector.timed import Timed

LISTEN = "subscriptions/listen"
IN_FLIGHT = "server/in-flight"
"""What the limit on calls at the same time is called."""


class Calls:
    """Runs calls on the sessions of a pool."""

    def __init__(self, pool: Pool, most: Mapping[str, int] = MappingProxyType({})) -> None:
        """`most` is how many calls a server takes at the same time, where that is limited."""
        self._pool = pool
        self._parking = Parking(pool.worker)
        self._most = most
        self._crowd = Crowd(IN_FLIGHT)

    async def handle(self, call: Order, job: rpc.Job) -> Raw:
        """The raw result of one call; arguments that miss the tool's schema are answered here."""
        if isinstance(call, HoldCall):
            return self._parking.hold(call)
        if isinstance(call, ListServer):
            return await self._delegation(call).list(call)
        most = self._most.get(call.server)
        if most is None or call.method == LISTEN:
            return await self._handle(call, job)
        with self._crowd.inside(call.server, most, partial(_full, most)):
            return await self._handle(call, job)

    async def _handle(self, call: Call, job: rpc.Job) -> Raw:
        params = _params(call)
        if parking.resumes(params):
            return await self._parking.resume(call, params, job)
        delegated = self._pool.delegated.get(call.server)
        if delegated is not None and call.notify and delegated.find(call) is None:
            return EMPTY
        live = self._pool.pick(call.server) if delegated is None else await delegated.take(call)
        if call.tool:
            params["name"] = raw(call.tool)
            problems = live.checker.problems(call.tool, params.get("arguments", EMPTY))
            if problems:
                return _explained(call.tool, problems)
        private = self._pool.private.get(call.server)
        if private is not None:
            if call.notify and private.find(call) is None:
                return EMPTY
            live = await private.take(call, live)
        return await self._on(live, call, params, job)

    def _delegation(self, call: ListServer) -> Delegation:
        delegated = self._pool.delegated.get(call.server)
        if delegated is None:
            raise ServerUnavailable(
                f'this connector does not hold server "{call.server}"', server=call.server
            )
        return delegated

    async def _on(self, live: Live, call: Call, params: Params, job: rpc.Job) -> Raw:
        if call.method == LISTEN:
            return await _until(
                self._pool.closing, live.bulletin.listen(params, call.deadline, job.event, job.flushed)
            )
        if live.opened.era == "legacy" and may_ask(call):
            offer = Offer(call.client)
            if offer:
                return await self._parking.begin(call, offer, live, job, _work(live, call, params))
            return await offer.judge(_counted(live, _overheard(live, call, params, job.event, offer.refuse)))
        return await _counted(live, _run(live, call, params, job))

    async def close(self) -> None:
        """Give up what waits for a client: its answer could no longer come here."""
        await self._parking.close()


def _full(most: int) -> RateLimited:
    return RateLimited(
        f"{most} calls of this server are under way, and no more may be; try again when one has ended",
        scope=IN_FLIGHT,
        limit=most,
        retry_after_ms=PAUSE,
    )


def _work(live: Live, call: Call, params: Params) -> Work:
    def work(on_event: EventSink, on_question: Asked, deadline: float) -> Awaitable[Raw]:
        longer = replace(call, deadline=deadline)
        return _counted(live, _overheard(live, longer, params, on_event, on_question))

    return work


async def _counted(live: Live, work: Coroutine[Any, Any, Raw]) -> Raw:
    live.running += 1
    try:
        return await work
    finally:
        live.running -= 1


async def _run(live: Live, call: Call, params: Params, job: rpc.Job) -> Raw:
    if call.notify:
        # A server of 2026-07-28 is told nothing: over HTTP that revision has no notifications of clients.
        if live.opened.era == "legacy":
            await live.session.notify(call.method, params, call.headers)
        return EMPTY
    return await _overheard(live, call, params, job.event)


async def _overheard(
    live: Live, call: Call, params: Params, on_event: EventSink, on_question: Asked | None = None
) -> Raw:
    """A call to which log lines without an address may belong."""
    level = logs.wanted(params)
    if level:
        await live.logs.ask(live.session, live.opened, level)
    talk = live.logs.begin(call.principal, on_event if level else None)
    asked = live.audience.begin(on_question or decline)
    try:
        return await _ask(live, call, params, on_event, on_question)
    finally:
        live.logs.end(talk)
        live.audience.end(asked)


async def _ask(
    live: Live, call: Call, params: Params, on_event: EventSink, on_question: Asked | None = None
) -> Raw:
    if (span := SPAN.get()) is not None:
        span.put({"mcp.protocol.version": live.opened.version})
    with Timed(call.server):
        result = await live.session.call(
            call.method,
            params,
            deadline=call.deadline,
            client=call.client,
            on_event=on_event,
            on_question=on_question,
            progress=call.progress,
            sent=call.headers,
        )
    return stripped(result)


async def _until(closing: asyncio.Event, work: Coroutine[Any, Any, Raw]) -> Raw:
    """The result of `work`, or an empty one if the worker drains first: listening has no end of its own."""
    task, closed = asyncio.create_task(work), asyncio.create_task(closing.wait())
    try:
        await asyncio.wait({task, closed}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else EMPTY
    finally:
        closed.cancel()
        task.cancel()
        await asyncio.gather(task, closed, return_exceptions=True)


def stands(order: Order) -> bool:
    """Whether it listens, for as long as its client does, rather than works."""
    return isinstance(order, Call) and order.method == LISTEN


def _params(call: Call) -> Params:
    try:
        params = members(call.params)
        if call.trace != NONE and (traced := call.trace.members()):
            meta = members(params.get("_meta", EMPTY))
            params["_meta"] = raw({**meta, **traced})
    except UNREADABLE:
        raise InvalidParams("params must be an object, and so must its _meta") from None
    return params


def _explained(tool: str, problems: list[str]) -> Raw:
    """A tool result the model can act on: which argument is wrong, and what the schema wants."""
    lines = "\n".join(f"- {problem}" for problem in problems)
    text = f'The arguments do not fit the schema of "{tool}"; the tool was not run.\n{lines}'
    return raw(
        {
            "content": [{"type": "text", "text": text}],
            "isError": True,
            "_meta": {"nexus/executed": "no"},
        }
    )
