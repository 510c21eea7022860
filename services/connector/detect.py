"""Which HTTP transport a server speaks: as configured, or the newer one before the older."""

from __future__ import annotations

from collections.abc import Iterable

from libs.common.config import HeaderRule, HttpServer, TokenAuth
from libs.common.errors import ServerUnavailable
from services.connector.bearer import Bearer
from services.connector.http import HttpSession, NotSpoken
from services.connector.questions import Asked, decline
from services.connector.session import Notice, Opened
from services.connector.sse import SseSession

HttpKind = HttpSession | SseSession


async def connect(
    server: HttpServer,
    on_notice: Notice,
    rules: Iterable[HeaderRule] = (),
    *,
    on_question: Asked = decline,
    bearer: Bearer | None = None,
) -> tuple[HttpKind, Opened]:
    """An open session with `server`. `rules` come before its own; `bearer` gives tokens that are not its own.

    Without `protocol`: SSE if there is a `message_url`, else Streamable HTTP, and SSE at the same URL if the
    server does not seem to speak that. Raises `ServerUnavailable`, with both reasons if both were tried.
    """
    token = server.auth.token if isinstance(server.auth, TokenAuth) else None
    own = {} if token is None else {"authorization": f"Bearer {token.get_secret_value()}"}
    laid = (*rules, *server.headers)
    if server.protocol == "sse" or (server.protocol is None and server.message_url is not None):
        return await _opened(SseSession(server, own, on_notice, on_question, bearer, laid))
    try:
        return await _opened(HttpSession(server, own, on_notice, on_question, bearer, laid))
    except NotSpoken as newer:
        if server.protocol is not None:
            raise
        return await _older(SseSession(server, own, on_notice, on_question, bearer, laid), newer)


async def _older(session: SseSession, newer: NotSpoken) -> tuple[HttpKind, Opened]:
    try:
        return await _opened(session)
    except ServerUnavailable as older:
        both = f"by Streamable HTTP: {newer.message}; by SSE: {older.message}"
        raise ServerUnavailable(f"neither transport works; {both}") from older


async def _opened(session: HttpKind) -> tuple[HttpKind, Opened]:
    return session, await session.open()
