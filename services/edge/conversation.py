"""What the client of a session says, one message at a time, on whatever way it came."""

from __future__ import annotations

import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from msgspec import Raw, UnsetType, structs

from libs.common.codec import raw
from libs.common.errors import NULL, InvalidParams, MethodNotFound
from libs.common.messages.calls import ClientReply
from libs.common.meters.outcomes import Cause
from services.edge.arrival import noted
from services.edge.envelope import LEVELS, LOG_LEVEL, forwardable, progress_token, trace_context
from services.edge.era import LISTEN, negotiate
from services.edge.exchange import Exchange
from services.edge.flights import Cancelled, Flights
from services.edge.gateway import Catalog, Gateway
from services.edge.message import Message
from services.edge.modern import DISCOVER
from services.edge.progress import Relay
from services.edge.questions import Questions, Reply, addressed
from services.edge.respond import legacy_status, result_bytes
from services.edge.results import legacy_result
from services.edge.rounds import Answers, complete
from services.edge.sessions import Session
from services.edge.standing import Standing
from services.edge.streams import Outlet, Watch
from services.edge.surface import Ask
from services.edge.tally import Tally
from services.edge.vigil import Vigil
from services.edge.visitor import visitor

REASON_MAX = 256
SET_LEVEL = "logging/setLevel"
SUBSCRIBE = "resources/subscribe"
UNSUBSCRIBE = "resources/unsubscribe"
URI_MAX = 2048
URIS_MAX = 100
"""Resources that one session may follow."""
FOLLOWED_MAX = 16 * 1024
"""Characters of all their URIs: every edge keeps them for as long as the session may live."""
_LOGGING = frozenset({"tools/call", "prompts/get", "resources/read"})
"""Requests during which a server may log; a modern one does so only if they say from which level on."""
DEFAULT_LEVEL = "info"
"""For a client that has set none: MCP leaves it to the server."""
_EMPTY = Raw(b"{}")


class Conversation:
    """Answers requests and takes the rest. A client that hangs up has not cancelled."""

    def __init__(
        self,
        gateway: Gateway,
        catalog: Catalog,
        flights: Flights,
        questions: Questions,
        standing: Standing,
        vigil: Vigil,
        tally: Tally,
    ) -> None:
        self._gateway = gateway
        self._catalog = catalog
        self._flights = flights
        self._questions = questions
        self._standing = standing
        self._vigil = vigil
        self._tally = tally

    def introduce(self, exchange: Exchange, message: Message) -> tuple[str, Raw]:
        """The revision that is spoken, and the result of `initialize`. Raises `InvalidParams`."""
        began = time.perf_counter()
        requested = message.params.get("protocolVersion")
        if message.kind != "request" or not isinstance(requested, str):
            raise InvalidParams('initialize is a request with the string "protocolVersion"')
        version = negotiate(requested)
        described = exchange.surface.describe(exchange.principal)
        result: dict[str, object] = {
            "protocolVersion": version,
            "capabilities": described.capabilities,
            "serverInfo": described.info,
        }
        if described.instructions:
            result["instructions"] = described.instructions
        self._tally.count(exchange, message, time.perf_counter() - began, Cause())
        return version, raw(result)

    async def take(self, exchange: Exchange, message: Message, session: Session, outlet: Outlet) -> None:
        """End `outlet`: with the answer to a request, in silence for all else. Raises `NexusError`."""
        noted(message.method)
        if message.kind == "request":
            return await self._answer(exchange, message, session, outlet)
        if message.kind == "notification":
            await self._notified(exchange, message, session)
        else:
            await self._replied(message, session)
        return await outlet.silence()

    def level(self, session: Session) -> str:
        """The lowest level of log messages that the client wants."""
        return self._catalog.noted(session.id).level or DEFAULT_LEVEL

    async def _answer(self, exchange: Exchange, message: Message, session: Session, outlet: Outlet) -> None:
        try:
            with self._flights.flight(session.id, message.id):
                exchange.status = legacy_status
                work = self._result(exchange, message, session, outlet)
                result = await self._tally.answered(exchange, message, work)
        except Cancelled:
            if (who := visitor()) is not None:
                who.cancelled = True
            return await outlet.silence()
        return await outlet.finish(result_bytes(message.id, legacy_result(message.method, result)))

    async def _result(self, exchange: Exchange, message: Message, session: Session, outlet: Outlet) -> Raw:
        if message.method == "ping":
            return _EMPTY
        if message.method in (DISCOVER, LISTEN):
            raise MethodNotFound(
                f"the method {message.method!r} does not exist in revision {session.version}"
            )
        if message.method in (SUBSCRIBE, UNSUBSCRIBE) and exchange.surface.stands:
            return await self._follow(message, session)
        if message.method == SET_LEVEL and exchange.surface.logs:
            return await self._set_level(message, session)
        ask = self._ask(exchange, message, session, outlet)
        result = await exchange.surface.answer(ask)
        emit = outlet.event

        async def again(more: dict[str, Any]) -> Raw:
            return await exchange.surface.answer(replace(ask, params={**ask.params, **more}))

        async def question(method: str, params: Raw) -> Reply:
            return await self._questions.ask(session.id, method, params, emit)

        async def hold(state: Raw | UnsetType, answers: Coroutine[Any, Any, Answers]) -> Answers:
            # Who has hung up for good cannot answer.
            with Watch(exchange.receive, exchange.answer.abandoned):
                return await self._vigil.keep(state, exchange.principal, exchange.surface.route, answers)

        return await complete(result, ask.client, question, again, hold)

    def _ask(self, exchange: Exchange, message: Message, session: Session, outlet: Outlet) -> Ask:
        token = progress_token(message.params)
        params = forwardable(message.params)
        level = self.level(session) if exchange.surface.logs else ""
        if level and message.method in _LOGGING:
            params = {**params, "_meta": {**params.get("_meta", {}), LOG_LEVEL: level}}
        return Ask(
            method=message.method,
            params=params,
            principal=exchange.principal,
            client=session.client(),
            on_event=Relay(outlet.event, token, level=level),
            progress=token is not None,
            trace=trace_context(message.params, exchange.headers),
            id=message.id,
            headers=exchange.headers,
        )

    async def _set_level(self, message: Message, session: Session) -> Raw:
        level = message.params.get("level")
        if level not in LEVELS:
            raise InvalidParams(f'"level" must be one of {", ".join(LEVELS)}')
        note = structs.replace(self._catalog.noted(session.id), level=level)
        await self._catalog.note(session.id, note, session.remaining())
        return _EMPTY

    async def _follow(self, message: Message, session: Session) -> Raw:
        """Remember which resources the session's GET stream tells of."""
        uri = message.params.get("uri")
        if not isinstance(uri, str) or not 0 < len(uri) <= URI_MAX:
            raise InvalidParams(f'"uri" must be a string of at most {URI_MAX} characters')
        noted = self._catalog.noted(session.id)
        rest = tuple(each for each in noted.uris if each != uri)
        uris = (*rest, uri) if message.method == SUBSCRIBE else rest
        if len(uris) > URIS_MAX or sum(map(len, uris)) > FOLLOWED_MAX:
            raise InvalidParams(
                f"a session may follow {URIS_MAX} resources, whose URIs have {FOLLOWED_MAX} characters"
            )
        await self._catalog.note(session.id, structs.replace(noted, uris=uris), session.remaining())
        self._standing.change(session.id)
        return _EMPTY

    async def _notified(self, exchange: Exchange, message: Message, session: Session) -> None:
        if message.method == "notifications/cancelled":
            return await self._cancel(message.params, session)
        params = forwardable(message.params)
        return await exchange.surface.notify(message.method, params, exchange.principal, exchange.headers)

    async def _replied(self, message: Message, session: Session) -> None:
        """Bring an answer to the replica that asked; one to no question of ours is dropped."""
        found = addressed(message.body["id"])
        if found is None:
            return
        replica, token = found
        result = raw(message.body["result"]) if "result" in message.body else NULL
        error = raw(message.body["error"]) if "error" in message.body else NULL
        if replica == self._questions.replica:
            self._questions.settle(session.id, token, Reply(result, error))
        else:
            await self._gateway.reply_elsewhere(replica, ClientReply(session.id, token, result, error))

    async def _cancel(self, params: dict[str, Any], session: Session) -> None:
        """Unknown ids are ignored: the answer and the cancelling may have crossed."""
        wanted = params.get("requestId")
        if isinstance(wanted, bool) or not isinstance(wanted, str | int):
            return
        if not self._flights.cancel(session.id, raw(wanted)):
            reason = params.get("reason")
            text = reason[:REASON_MAX] if isinstance(reason, str) else ""
            await self._gateway.cancel_elsewhere(session.id, raw(wanted), text)
