"""What the router answers: decide, count, place, forward. It never looks into a payload."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, get_args

import structlog
from msgspec.json import Decoder
from nats.aio.msg import Msg
from nats.errors import MaxPayloadError

from libs.common import rpc, subjects
from libs.common.bus import Bus
from libs.common.codec import UNREADABLE, decoder, encode
from libs.common.config import Keeping
from libs.common.errors import (
    BodyTooLarge,
    BusUnavailable,
    InvalidRequest,
    NexusError,
    Overloaded,
    Refused,
    ScopeRefused,
    ServerUnavailable,
    ServerUnknown,
)
from libs.common.fleet import Fleet
from libs.common.identity import Principal
from libs.common.messages.calls import (
    Call,
    CallServer,
    ExecuteTool,
    HoldCall,
    ListServer,
    NotifyServer,
    Request,
    ResolveTool,
    SearchTools,
)
from libs.common.meters import families
from libs.common.policy import Policy
from services.router.meter import Meter
from services.router.names import Names
from services.router.placement import Placement
from services.router.spanned import routed, routing

if TYPE_CHECKING:
    from libs.common.telemetry.tracing import Tracing

WAITING_MAX = 4096
"""Requests that wait for the storage of limits at the same time."""

log = structlog.get_logger("router")

_request: Decoder[Request] = decoder(Request)
_KINDS: dict[type, str] = {each: str(each.__struct_config__.tag) for each in get_args(Request)}


class Router:
    """Stateless between messages; what it knows comes from the catalog and the live workers."""

    def __init__(
        self,
        bus: Bus,
        fleet: Fleet,
        names: Names,
        policy: Policy,
        keepings: Mapping[str, Keeping],
        meter: Meter | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._policy = policy
        self._bus = bus
        self._names = names
        self._placement = Placement(fleet, keepings)
        self._meter = meter
        self._tracing = tracing
        self._configured = frozenset(fleet.configured)
        self.waiting: set[asyncio.Task[None]] = set()

    async def on_request(self, msg: Msg) -> None:
        """Forward one request, to be answered where it came from, or answer it with a refusal.

        What has to wait for the storage of limits does so in a task: nothing else would arrive meanwhile.
        """
        if self._meter is None or not self._meter.waits:
            await self._handle(msg)
        elif len(self.waiting) < WAITING_MAX:
            task = asyncio.create_task(self._handle(msg))
            self.waiting.add(task)
            task.add_done_callback(self._waited)
        else:
            full = Overloaded(f"{WAITING_MAX} requests wait for their limits to be checked; try again")
            await rpc.respond(self._bus, msg.reply, full)

    async def drained(self) -> None:
        """Return when no request waits any more; none does for longer than the storage may take."""
        while self.waiting:
            await asyncio.wait(self.waiting)

    def _waited(self, task: asyncio.Task[None]) -> None:
        self.waiting.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("request lost", exc_info=error)

    async def _handle(self, msg: Msg) -> None:
        kind, outcome = "unreadable", "refused"
        try:
            request = _request.decode(msg.data)
            kind = _KINDS[type(request)]
            with routing(self._tracing, request) as known:
                await self._forward(known, msg.reply)
            outcome = "forwarded"
        except UNREADABLE as error:
            log.warning("unreadable request", error=str(error))
            await rpc.respond(self._bus, msg.reply, InvalidRequest("this router cannot read the request"))
        except MaxPayloadError:
            large = f"the request is larger than the gateway carries ({self._bus.max_payload} bytes)"
            await rpc.respond(self._bus, msg.reply, BodyTooLarge(large))
        except BusUnavailable as error:
            log.warning("request lost", error=error.message)
        except NexusError as refusal:
            await rpc.respond(self._bus, msg.reply, refusal)
        finally:
            families.ROUTED.cell(kind, outcome).add()

    async def _forward(self, request: Request, reply: str) -> None:
        if self._meter is not None:
            await self._meter.count(request)
        subject, message = self.route(request)
        routed(message)
        await self._bus.publish(subject, encode(message), subjects.forwarded(self._bus.inbox, reply))

    async def on_unheard(self, reply: str) -> None:
        """Tell the asker that what was forwarded has reached nobody."""
        gone = ServerUnavailable("nobody was there to take the call; it may be restarting")
        await rpc.respond(self._bus, reply, gone)

    def route(self, request: Request) -> tuple[str, Call | ListServer | SearchTools | ResolveTool | HoldCall]:
        """The next subject and message. Raises `Refused` for what goes nowhere."""
        if time.time() >= request.deadline:
            raise Refused("the deadline was over before the call was routed")
        match request:
            case ExecuteTool():
                return self._execute(request)
            case SearchTools():
                return subjects.SEARCH, request
            case CallServer() | NotifyServer():
                return self._call(request)
            case ListServer():
                return self._list(request)
            case HoldCall():
                return subjects.worker(request.worker), request

    def _execute(self, request: ExecuteTool) -> tuple[str, Call | ResolveTool]:
        found = self._names.find(request.name, request.own)
        if found is None:
            self._check_listed(request)
        if found is None or not self._permits(request.principal, *found):
            return subjects.SEARCH, _resolved(request)
        server, tool = found
        return self._placement.subject(server, request), Call(
            server=server,
            method="tools/call",
            deadline=request.deadline,
            params=request.params,
            tool=tool,
            principal=request.principal,
            client=request.client,
            progress=request.progress,
            trace=request.trace,
            token=request.token,
            headers=request.headers,
        )

    def _permits(self, principal: Principal, server: str, tool: str = "") -> bool:
        """Raises `ScopeRefused` for a caller who may, but not with this token."""
        decision = self._policy.decide(principal, server, tool)
        if decision.allowed and decision.missing:
            raise ScopeRefused(
                f"this needs the scopes: {' '.join(decision.missing)}", scopes=decision.missing
            )
        return decision.allowed

    def _check_listed(self, request: ExecuteTool) -> None:
        """Of a server that has not listed yet nobody can say that it lacks a tool: it is unavailable."""
        server = self._names.unlisted(request.name)
        if server and self._policy.allows(request.principal, server):
            self._placement.subject(server, request)
            raise ServerUnavailable(f'server "{server}" is there, but not its list of tools', server=server)

    def _list(self, request: ListServer) -> tuple[str, ListServer]:
        if not self._names.delegated(request.server) or not self._permits(request.principal, request.server):
            raise ServerUnknown("no such server")
        return self._placement.subject(request.server, request), request

    def _call(self, request: CallServer | NotifyServer) -> tuple[str, Call]:
        server = request.server
        tool = request.tool if isinstance(request, CallServer) else ""
        if server not in self._configured or not self._permits(request.principal, server, tool):
            raise ServerUnknown("no such server")
        subject = self._placement.subject(server, request)
        if isinstance(request, NotifyServer):
            call = Call(
                server,
                request.method,
                request.deadline,
                request.params,
                principal=request.principal,
                notify=True,
                token=request.token,
                headers=request.headers,
            )
        else:
            call = Call(
                server=server,
                method=request.method,
                deadline=request.deadline,
                params=request.params,
                principal=request.principal,
                client=request.client,
                progress=request.progress,
                trace=request.trace,
                token=request.token,
                headers=request.headers,
            )
        return subject, call


def _resolved(request: ExecuteTool) -> ResolveTool:
    return ResolveTool(request.name, request.deadline, request.principal, request.trace)
