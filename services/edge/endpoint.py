"""The ASGI endpoint of every MCP path: admit, identify, choose the era, answer whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from functools import partial
from typing import Any, Protocol

import structlog
from msgspec.structs import replace

from libs.common.errors import Failure, NexusError
from services.edge.auth.refusal import AuthRefused
from services.edge.body import ClientGone, Receive, discard
from services.edge.era import is_modern
from services.edge.exchange import Exchange
from services.edge.gateway import Identify, Visit
from services.edge.guard import admit
from services.edge.headers import RawHeaders, read_headers
from services.edge.modern import VERSION
from services.edge.respond import cut_short, error_bytes, error_headers, incident, missing_scopes
from services.edge.scribe import Scribe
from services.edge.settings import Settings
from services.edge.streams import Answer, Header, Send
from services.edge.surface import Surface
from services.edge.visitor import CLOSED, Visitor, plain, unknown, welcome

log = structlog.get_logger("edge")

Scope = MutableMapping[str, Any]

_CLOSE = (b"connection", b"close")


class Era(Protocol):
    """What serves an exchange."""

    async def serve(self, exchange: Exchange) -> None: ...


class Endpoint:
    """A plain ASGI application: what FastAPI does for an endpoint costs more than answering a call."""

    def __init__(
        self,
        surface: Callable[[Scope], Surface],
        identify: Identify,
        modern: Era,
        legacy: Era,
        settings: Settings,
        scribe: Scribe,
    ) -> None:
        self._surface = surface
        self._identify = identify
        self._modern = modern
        self._legacy = legacy
        self._settings = settings
        self._scribe = scribe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        settings = self._settings
        answer = Answer(send, keepalive=settings.keepalive, timeout=settings.write_timeout)
        exchange = Exchange(scope["method"], receive, answer, self._surface(scope), {})
        exchange.query = scope.get("query_string", b"")
        peer = scope.get("client")
        exchange.address = peer[0] if peer else ""
        exchange.visitor = visitor = self._visitor(exchange, scope)
        welcome(visitor)
        try:
            await self._answer(exchange, scope["headers"])
        except ClientGone:
            visitor.gone = True
        finally:
            visitor.streamed = answer.streaming
            visitor.leave()
            # What it asks about the status is the exchange, which has it: a cycle, unless it is let go.
            visitor.status = plain
            if answer.streaming:
                await _close(answer)

    def _visitor(self, exchange: Exchange, scope: Scope) -> Visitor:
        return Visitor(
            self._scribe,
            exchange.verb,
            exchange.surface.route,
            scope["path_params"].get("server", ""),
            scope.get(CLOSED, unknown),
            exchange.answered,
            exchange.address,
        )

    async def _answer(self, exchange: Exchange, headers: RawHeaders) -> None:
        try:
            await self._serve(exchange, headers)
        except ClientGone:
            raise
        except asyncio.CancelledError:
            # Whoever hangs up or cancels is told apart before; this is the end of the time to drain.
            await _refuse(exchange, cut_short(), [])
        except AuthRefused as refused:
            self._scribe.refuse(exchange.visitor, refused)
            await _send_away(exchange, refused)
        except NexusError as error:
            await _refuse(exchange, error.failure(), self._headers(exchange, error))
        except Exception as error:  # noqa: BLE001 (the edge of the task: the log has all, the client a number)
            await _refuse(exchange, incident(error), [])

    async def _serve(self, exchange: Exchange, raw: RawHeaders) -> None:
        settings = self._settings
        visitor = exchange.visitor
        exchange.headers = visitor.headers = headers = read_headers(raw)
        admit(
            headers.get("host"),
            headers.get("origin"),
            settings.allowed_hosts,
            settings.allowed_origins,
            settings.cors,
        )
        visit = self._visit(exchange)
        self._scribe.know(visitor)
        principal = await self._identify(visit)
        exchange.principal = replace(principal, address=exchange.address) if settings.limited else principal
        visitor.principal = exchange.principal
        self._scribe.accept(visitor)
        if principal.credential:
            await exchange.surface.prepare(exchange.principal)
        era = self._modern if is_modern(headers.get(VERSION)) else self._legacy
        await era.serve(exchange)

    def _visit(self, exchange: Exchange) -> Visit:
        proxies, peer = self._settings.proxies, exchange.address
        exchange.address = exchange.visitor.address = proxies.client(peer, exchange.headers)
        return Visit(exchange.headers, exchange.surface.route, exchange.address, proxies.trusts(peer))

    def _headers(self, exchange: Exchange, error: NexusError) -> list[Header]:
        """A call that needs more scopes is told so before any stream begins (step-up)."""
        headers, scopes = error_headers(error), missing_scopes(error)
        if scopes:
            headers += self._identify.challenge(exchange.surface.route, scopes, "insufficient_scope")
        return headers


async def _close(answer: Answer) -> None:
    if answer.dropped:
        log.info("a client read too slowly for its events", dropped=answer.dropped)
    await answer.close()


async def _send_away(exchange: Exchange, refused: AuthRefused) -> None:
    """The plain JSON that OAuth clients read; MCP has not begun."""
    headers, linger = list(refused.headers), None
    if exchange.unread and exchange.verb == "POST":
        headers.append(_CLOSE)
        linger = partial(discard, exchange.receive)
    await exchange.answer.finish(refused.body(), refused.status, headers, linger)


async def _refuse(exchange: Exchange, failure: Failure, headers: list[Header]) -> None:
    exchange.visitor.failure = failure
    status, linger = exchange.status(failure), None
    if exchange.unread and exchange.verb == "POST":
        headers.append(_CLOSE)
        linger = partial(discard, exchange.receive)
    await exchange.answer.finish(error_bytes(exchange.id, failure), status, headers, linger)
