"""Revisions 2024-11-05 to 2025-11-25: `initialize`, a session, and cancelling by notification."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from libs.common.codec import raw
from libs.common.errors import HeaderMismatch, InvalidParams, InvalidRequest, MethodNotAllowed, MethodNotFound
from services.edge.envelope import claims_modern, forwardable, progress_token
from services.edge.era import LEGACY, negotiate
from services.edge.exchange import Exchange
from services.edge.flights import Cancelled, Flights
from services.edge.gateway import Gateway
from services.edge.message import Message
from services.edge.modern import DISCOVER, VERSION
from services.edge.progress import Relay
from services.edge.respond import legacy_status, result_bytes
from services.edge.results import legacy_result
from services.edge.sessions import Session, Sessions
from services.edge.settings import Settings
from services.edge.surface import Ask

SESSION = "mcp-session-id"
REASON_MAX = 256
_EMPTY = Raw(b"{}")


class Legacy:
    """Serves one exchange. A client that hangs up has not cancelled: its call runs to its end."""

    def __init__(self, gateway: Gateway, sessions: Sessions, flights: Flights, settings: Settings) -> None:
        self._gateway = gateway
        self._sessions = sessions
        self._flights = flights
        self._settings = settings

    async def serve(self, exchange: Exchange) -> None:
        _check_version(exchange.headers.get(VERSION))
        if exchange.verb == "DELETE":
            return await self._delete(exchange)
        if exchange.verb != "POST":
            raise MethodNotAllowed("no stream is offered here: use POST", allow=["POST", "DELETE"])
        message = await exchange.message(self._settings)
        if message.method == "initialize":
            return await self._initialize(exchange, message)
        session = self._session(exchange, message)
        if message.kind == "request":
            return await self._answer(exchange, message, session)
        if message.kind == "notification":
            await self._notified(exchange, message, session)
        return await exchange.answer.silence()

    async def _initialize(self, exchange: Exchange, message: Message) -> None:
        requested = message.params.get("protocolVersion")
        if message.kind != "request" or not isinstance(requested, str):
            raise InvalidParams('initialize is a request with the string "protocolVersion"')
        version = negotiate(requested)
        described = exchange.surface.describe()
        token = self._sessions.start(version, message.params, exchange.principal, exchange.surface.route)
        result: dict[str, object] = {
            "protocolVersion": version,
            "capabilities": described.capabilities,
            "serverInfo": described.info,
        }
        if described.instructions:
            result["instructions"] = described.instructions
        headers = [(SESSION.encode(), token.encode())]
        await exchange.answer.finish(result_bytes(message.id, raw(result)), 200, headers)

    async def _answer(self, exchange: Exchange, message: Message, session: Session) -> None:
        try:
            with self._flights.flight(session.id, message.id):
                exchange.status = legacy_status
                result = await self._result(exchange, message, session)
        except Cancelled:
            return await exchange.answer.silence()
        return await exchange.answer.finish(result_bytes(message.id, legacy_result(result)))

    async def _result(self, exchange: Exchange, message: Message, session: Session) -> Raw:
        if message.method == "ping":
            return _EMPTY
        if message.method == DISCOVER:
            raise MethodNotFound(f"the method {DISCOVER!r} does not exist in revision {session.version}")
        token = progress_token(message.params)
        return await exchange.surface.answer(
            Ask(
                method=message.method,
                params=forwardable(message.params),
                principal=exchange.principal,
                client=session.client(),
                on_event=Relay(exchange.answer.event, token),
                progress=token is not None,
            )
        )

    async def _delete(self, exchange: Exchange) -> None:
        await self._sessions.end(self._session(exchange, None))
        await exchange.answer.silence(204)

    def _session(self, exchange: Exchange, message: Message | None) -> Session:
        token = exchange.headers.get(SESSION)
        if token is not None:
            return self._sessions.resume(token, exchange.principal, exchange.surface.route)
        if message is not None and claims_modern(message.params):
            raise HeaderMismatch("the MCP-Protocol-Version header is missing")
        raise InvalidRequest("the Mcp-Session-Id header is missing: send initialize first")

    async def _notified(self, exchange: Exchange, message: Message, session: Session) -> None:
        if message.method == "notifications/cancelled":
            return await self._cancel(message.params, session)
        params = forwardable(message.params)
        return await exchange.surface.notify(message.method, params, exchange.principal)

    async def _cancel(self, params: dict[str, Any], session: Session) -> None:
        """Unknown ids are ignored: the answer and the cancelling may have crossed."""
        wanted = params.get("requestId")
        if isinstance(wanted, bool) or not isinstance(wanted, str | int):
            return
        if not self._flights.cancel(session.id, raw(wanted)):
            reason = params.get("reason")
            text = reason[:REASON_MAX] if isinstance(reason, str) else ""
            await self._gateway.cancel_elsewhere(session.id, raw(wanted), text)


def _check_version(version: str | None) -> None:
    if version is not None and version not in LEGACY:
        raise InvalidRequest(f"unsupported MCP-Protocol-Version; with sessions: {', '.join(LEGACY)}")
