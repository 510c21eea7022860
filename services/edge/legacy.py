"""Revisions 2024-11-05 to 2025-11-25 over Streamable HTTP: `initialize`, a session, POST, GET and DELETE."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from libs.common.codec import raw
from libs.common.errors import HeaderMismatch, InvalidParams, InvalidRequest, MethodNotAllowed
from services.edge.batches import serve_batch
from services.edge.body import check_events
from services.edge.conversation import Conversation
from services.edge.envelope import claims_modern
from services.edge.era import BATCHING, LEGACY, negotiate
from services.edge.exchange import Exchange
from services.edge.gateway import Catalog, OnEvent
from services.edge.message import INITIALIZE, Message, read_message
from services.edge.modern import LISTEN, VERSION
from services.edge.respond import result_bytes
from services.edge.sessions import Session, Sessions
from services.edge.settings import Settings
from services.edge.standing import Standing
from services.edge.streams import Watch
from services.edge.surface import Ask

SESSION = "mcp-session-id"


class Legacy:
    """Serves one exchange. A client that hangs up has not cancelled: its call runs to its end."""

    def __init__(
        self,
        conversation: Conversation,
        catalog: Catalog,
        sessions: Sessions,
        standing: Standing,
        settings: Settings,
    ) -> None:
        self._conversation = conversation
        self._catalog = catalog
        self._standing = standing
        self._sessions = sessions
        self._settings = settings

    async def serve(self, exchange: Exchange) -> None:
        _check_version(exchange.headers.get(VERSION))
        await self._catalog.current()
        if exchange.verb == "DELETE":
            return await self._delete(exchange)
        if exchange.verb == "GET" and exchange.surface.stands:
            return await self._stand(exchange)
        if exchange.verb != "POST":
            raise MethodNotAllowed("no stream is offered here: use POST", allow=["POST", "DELETE"])
        posted = await exchange.posted(self._settings)
        if isinstance(posted, list):
            return await self._batch(exchange, posted)
        message = read_message(posted)
        if message.method == INITIALIZE:
            return await self._initialize(exchange, message)
        session = self._session(exchange, message)
        return await self._conversation.take(exchange, message, session, exchange.answer)

    async def _batch(self, exchange: Exchange, posted: list[Any]) -> None:
        session = self._session(exchange, None)
        if session.version not in BATCHING:
            raise InvalidRequest(f"revision {session.version} has no batches: post one JSON-RPC message")
        await serve_batch(exchange, posted, session, self._conversation.take)

    async def _initialize(self, exchange: Exchange, message: Message) -> None:
        requested = message.params.get("protocolVersion")
        if message.kind != "request" or not isinstance(requested, str):
            raise InvalidParams('initialize is a request with the string "protocolVersion"')
        version = negotiate(requested)
        described = exchange.surface.describe(exchange.principal)
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

    async def _stand(self, exchange: Exchange) -> None:
        """The GET stream: open until the client hangs up or the gateway drains."""
        check_events(exchange.headers.get("accept"))
        session = self._session(exchange, None)
        answer, surface = exchange.answer, exchange.surface

        async def listen(wanted: dict[str, Any], on_event: OnEvent) -> Raw:
            params = {"notifications": wanted}
            ask = Ask(LISTEN, params, exchange.principal, session.client(), on_event)
            return await surface.answer(ask)

        with Watch(exchange.receive):
            await self._standing.serve(
                session.id, lambda: self._catalog.noted(session.id).uris, listen, answer.open()
            )
        await answer.silence()

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


def _check_version(version: str | None) -> None:
    if version is not None and version not in LEGACY:
        raise InvalidRequest(f"unsupported MCP-Protocol-Version; with sessions: {', '.join(LEGACY)}")
