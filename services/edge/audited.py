"""A gateway in which no tool is called without a trace: one event before, one after, however it ends."""

from __future__ import annotations

import asyncio
import secrets
import time
from functools import partial

import structlog
from msgspec import Raw, Struct
from msgspec.json import Decoder
from msgspec.structs import replace

from libs.common.audit.events import Event, Making
from libs.common.audit.trail import Ticket, Trail
from libs.common.codec import UNREADABLE, decoder
from libs.common.errors import AuditUnavailable, CallFailed, Executed, Failure, InternalFault, NexusError
from libs.common.messages.calls import CallServer, ClientReply, ExecuteTool, Request, SearchTools
from libs.common.messages.streams import MessagePosted
from services.edge.evidence import CALL, Evidence, ToolCall
from services.edge.gateway import Gateway, OnEvent
from services.edge.visitor import LEFT, Visitor, visitor, welcome

log = structlog.get_logger("audit")

WITHHELD = 500
"""The status where an answer is not released because its event is not durable. 503 would say "again"."""


REASON = "audit_unavailable"
"""In the `data` of both errors."""
_FAULT = replace(InternalFault("").failure(), http=500)


class _Found(Struct):
    hits: list[Raw] = []


_found: Decoder[_Found] = decoder(_Found)


class Audited:
    """`Gateway` before another one; what is sent again inside is one call.

    In strict mode nothing is sent before its first event is durable, and no answer is given before its second
    is: the call then ends in `AuditUnavailable`, or in an error with the same code that says whether it ran.
    """

    def __init__(self, gateway: Gateway, trail: Trail, evidence: Evidence) -> None:
        self._gateway = gateway
        self._trail = trail
        self._evidence = evidence

    async def request(self, message: Request, *, on_event: OnEvent | None = None) -> Raw:
        who = visitor()
        if isinstance(message, ExecuteTool) or (isinstance(message, CallServer) and message.method == CALL):
            if who is None:
                welcome(who := Visitor())
            return await self._call(message, on_event, who)
        if who is not None and isinstance(message, CallServer):
            who.server = message.server
        result = await self._gateway.request(message, on_event=on_event)
        if who is not None and isinstance(message, SearchTools):
            who.facts = _searched(message, result)
        return result

    async def cancel_elsewhere(self, session: str, request_id: Raw, reason: str) -> None:
        await self._gateway.cancel_elsewhere(session, request_id, reason)

    async def reply_elsewhere(self, replica: str, reply: ClientReply) -> None:
        await self._gateway.reply_elsewhere(replica, reply)

    async def post_elsewhere(self, replica: str, posted: MessagePosted) -> bytes | None:
        return await self._gateway.post_elsewhere(replica, posted)

    async def _call(self, message: ToolCall, on_event: OnEvent | None, who: Visitor) -> Raw:
        who.call = _named(who.call)
        started, evidence = time.perf_counter(), self._evidence
        begun = evidence.requested(message, who, who.call)
        # Not sooner: a fault before this leaves the end of the request to be told by the request.
        who.told, who.sent = True, False
        try:
            await self._begin(begun)
            who.sent = True
            result = await self._gateway.request(message, on_event=on_event)
        except asyncio.CancelledError as end:
            self._note(evidence.stopped(begun, _cause(end), who, _since(started)))
            raise
        except AuditUnavailable as error:
            self._note(evidence.failed(begun, error.failure(), who, _since(started)))
            raise
        except Exception as error:
            failure = error.failure() if isinstance(error, NexusError) else _FAULT
            await self._end(evidence.failed(begun, failure, who, _since(started)))
            raise
        status = LEFT if who.closed() else who.status(None)
        await self._end(partial(evidence.answered, begun, result, status, _since(started)))
        return result

    async def _begin(self, requested: Event) -> None:
        try:
            ticket = self._trail.record(requested)
            if self._trail.strict:
                await self._trail.durable(ticket)
            else:
                # Not at the end of this turn of the loop: what is sent may leave before.
                self._trail.write()
        except AuditUnavailable as error:
            raise AuditUnavailable(error.message, reason=REASON) from None

    async def _end(self, event: Event | Making) -> None:
        """Record it before the answer is released. Raises `CallFailed` for an answer that must not be."""
        if not self._trail.strict:
            self._trail.record(event)
            return
        completed = event if isinstance(event, Event) else event()
        if not await self._kept(self._note(completed)):
            raise _withheld(completed)

    async def _kept(self, ticket: Ticket | None) -> bool:
        if ticket is None:
            return False
        try:
            await self._trail.durable(ticket)
        except AuditUnavailable:
            return False
        return True

    def _note(self, event: Event) -> Ticket | None:
        """None if it cannot be written; what it tells of cannot be undone any more."""
        try:
            return self._trail.record(event)
        except AuditUnavailable as error:
            log.warning("the end of a call is not recorded", call=event.call, reason=error.message)
            return None


def _named(before: str) -> str:
    """The name of a call; `before` is that of the round before, if it was held: each round ends by itself.

    A client may go on twice from the same round: what is random in the name tells one from the other.
    """
    call, _, last = before.partition(".")
    number = int(last.partition("-")[0] or 1) + 1
    return f"{call}.{number}-{secrets.token_hex(4)}" if call else secrets.token_hex(16)


def _withheld(completed: Event) -> CallFailed:
    executed: Executed = "unknown" if completed.outcome is None else completed.outcome.executed
    said = {"no": "the call was not executed", "yes": "the call was executed"}
    verdict = said.get(executed, "whether it ran is unknown")
    error = AuditUnavailable(f"{verdict}; its answer is withheld, as it cannot be recorded", reason=REASON)
    error.executed = executed
    failure = error.failure()
    return CallFailed(Failure(failure.code, failure.message, executed, WITHHELD, failure.data))


def _searched(message: SearchTools, result: Raw) -> dict[str, int]:
    try:
        results = len(_found.decode(result).hits)
    except UNREADABLE:
        results = 0
    return {"keywords": len(message.keywords), "query": len(message.query), "results": results}


def _cause(end: asyncio.CancelledError) -> str:
    return str(end.args[0]) if end.args else ""


def _since(started: float) -> int:
    return round((time.perf_counter() - started) * 1000)
