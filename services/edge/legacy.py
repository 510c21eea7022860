"""Revisions 2024-11-05 to 2025-11-25 over Streamable HTTP: `initialize`, a session, POST, GET and DELETE."""

from __future__ import annotations

from typing import Any

from libs.common.errors import HeaderMismatch, InvalidRequest, MethodNotAllowed
from services.edge.arrival import noted
from services.edge.batches import read_batch, serve_batch
from services.edge.body import check_events
from services.edge.conversation import Conversation
from services.edge.envelope import claims_modern
from services.edge.era import BATCHING, LEGACY
from services.edge.exchange import Exchange
from services.edge.gateway import Catalog
from services.edge.listening import LAST, Listening
from services.edge.message import INITIALIZE, Message, read_message
from services.edge.modern import VERSION
from services.edge.respond import result_bytes
from services.edge.sessions import Session, Sessions
from services.edge.settings import Settings

SESSION = "mcp-session-id"


class Legacy:
    """Serves one exchange. A client that hangs up has not cancelled: its call runs to its end."""

    def __init__(
        self,
        conversation: Conversation,
        catalog: Catalog,
        sessions: Sessions,
        listening: Listening,
        settings: Settings,
    ) -> None:
        self._conversation = conversation
        self._catalog = catalog
        self._listening = listening
        self._sessions = sessions
        self._settings = settings

    async def serve(self, exchange: Exchange) -> None:
        _check_version(exchange.headers.get(VERSION))
        await self._catalog.current()
        if exchange.verb == "DELETE":
            return await self._delete(exchange)
        if exchange.verb == "GET" and (exchange.surface.stands or LAST in exchange.headers):
            check_events(exchange.headers.get("accept"))
            return await self._listening.serve(exchange, self._session(exchange, None))
        if exchange.verb != "POST":
            raise MethodNotAllowed("no stream is offered here: use POST", allow=["POST", "DELETE"])
        posted = await exchange.posted(self._settings)
        if isinstance(posted, list):
            return await self._batch(exchange, posted)
        message = exchange.visitor.message = read_message(posted)
        if message.method == INITIALIZE:
            return await self._initialize(exchange, message)
        session = self._session(exchange, message)
        with self._listening.recording(exchange, session, [message]):
            return await self._conversation.take(exchange, message, session, exchange.answer)

    async def _batch(self, exchange: Exchange, posted: list[Any]) -> None:
        session = self._session(exchange, None)
        if session.version not in BATCHING:
            raise InvalidRequest(f"revision {session.version} has no batches: post one JSON-RPC message")
        batch = read_batch(posted)
        with self._listening.recording(exchange, session, batch):
            await serve_batch(exchange, batch, session, self._conversation.take)

    async def _initialize(self, exchange: Exchange, message: Message) -> None:
        noted(message.method)
        version, result = self._conversation.introduce(exchange, message)
        token = self._sessions.start(version, message.params, exchange.principal, exchange.surface.route)
        exchange.visitor.open(token)
        headers = [(SESSION.encode(), token.encode())]
        await exchange.answer.finish(result_bytes(message.id, result), 200, headers)

    async def _delete(self, exchange: Exchange) -> None:
        await self._sessions.end(self._session(exchange, None))
        await exchange.answer.silence(204)

    def _session(self, exchange: Exchange, message: Message | None) -> Session:
        token = exchange.headers.get(SESSION)
        if token is not None:
            session = self._sessions.resume(token, exchange.principal, exchange.surface.route)
            exchange.visitor.info = session.info
            return session
        if message is not None and claims_modern(message.params):
            raise HeaderMismatch("the MCP-Protocol-Version header is missing")
        raise InvalidRequest("the Mcp-Session-Id header is missing: send initialize first")


def _check_version(version: str | None) -> None:
    if version is not None and version not in LEGACY:
        raise InvalidRequest(f"unsupported MCP-Protocol-Version; with sessions: {', '.join(LEGACY)}")
