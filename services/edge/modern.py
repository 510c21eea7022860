"""Revision 2026-07-28: every POST stands alone, its `_meta` says who asks and what it can take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Raw

from libs.common.codec import members, raw
from libs.common.errors import (
    NULL,
    CallFailed,
    Failure,
    InvalidRequest,
    MethodNotAllowed,
    MethodNotFound,
    UnsupportedVersion,
)
from libs.common.messages.calls import Client
from services.edge import tasks
from services.edge.arrival import noted
from services.edge.codes import modern_answer
from services.edge.envelope import forwardable, log_level, progress_token, trace_context
from services.edge.era import LISTEN, MODERN
from services.edge.exchange import Exchange
from services.edge.inbound import (
    ERROR_CODE_HTTP_STATUS,
    InboundLadderRejection,
    InboundModernRoute,
    classify_inbound_request,
)
from services.edge.message import Message
from services.edge.params import check_mirrored
from services.edge.progress import Relay
from services.edge.respond import modern_status, result_bytes
from services.edge.results import modern_result
from services.edge.settings import Settings
from services.edge.streams import Watch
from services.edge.surface import Ask, Description
from services.edge.tally import Tally

VERSION = "mcp-protocol-version"
DISCOVER = "server/discover"
_LEGACY_ONLY = frozenset({"initialize", "ping"})


class Modern:
    """Serves one exchange. Closing the response is the client's way to cancel."""

    def __init__(self, settings: Settings, tally: Tally) -> None:
        self._settings = settings
        self._tally = tally

    async def serve(self, exchange: Exchange) -> None:
        if exchange.verb != "POST":
            raise MethodNotAllowed("this revision of MCP is POST only", allow=["POST"])
        message = await exchange.message(self._settings)
        noted(message.method)
        if message.kind == "response":
            raise InvalidRequest("nothing was asked: this revision has no requests from server to client")
        if message.kind == "notification":
            _check_version(exchange.headers[VERSION])
            return await exchange.answer.silence()
        result = await self._tally.answered(exchange, message, _answer(exchange, message))
        named = modern_result(
            message.method,
            result,
            exchange.surface.info(),
            _listening(message),
            personal=self._settings.policy.personal,
        )
        return await exchange.answer.finish(result_bytes(message.id, named))


async def _answer(exchange: Exchange, message: Message) -> Raw:
    route = _classified(message, exchange.headers)
    _check_params(exchange, message)
    exchange.status = modern_status
    with Watch(exchange.receive):
        return await _result(exchange, message, route)


async def _result(exchange: Exchange, message: Message, route: InboundModernRoute) -> Raw:
    surface = exchange.surface
    if message.method == DISCOVER:
        return discovered(surface.describe(exchange.principal), surface.extensions)
    if message.method in _LEGACY_ONLY:
        raise MethodNotFound(f"the method {message.method!r} does not exist in revision {MODERN[0]}")
    token = progress_token(message.params)
    relay = Relay(
        exchange.answer.event,
        token,
        level=log_level(message.params),
        listening=_listening(message),
        hint=exchange.answer.hint,
        modern=True,
    )
    client = _client(route, surface.extensions)
    ask = Ask(
        method=message.method,
        params=forwardable(message.params),
        principal=exchange.principal,
        client=client,
        on_event=relay,
        progress=token is not None,
        trace=trace_context(message.params, exchange.headers),
        id=message.id,
        headers=exchange.headers,
    )
    try:
        return await surface.answer(ask)
    except CallFailed as error:
        return modern_answer(error.received, message.method, client)


def _listening(message: Message) -> Raw | None:
    return message.id if message.method == LISTEN else None


def discovered(description: Description, extensions: Mapping[str, Raw]) -> Raw:
    """The result of `server/discover`."""
    capabilities = description.capabilities
    if extensions:
        capabilities = raw({**members(capabilities), "extensions": extensions})
    result: dict[str, object] = {"supportedVersions": MODERN, "capabilities": capabilities}
    if description.instructions:
        result["instructions"] = description.instructions
    return raw(result)


def _classified(message: Message, headers: dict[str, str]) -> InboundModernRoute:
    route = classify_inbound_request(message.body, headers=headers)
    if isinstance(route, InboundLadderRejection):
        raise _rejected(route)
    return route


def _rejected(rejection: InboundLadderRejection) -> CallFailed:
    data = NULL if rejection.data is None else raw(rejection.data)
    http = ERROR_CODE_HTTP_STATUS.get(rejection.code, 400)
    return CallFailed(Failure(rejection.code, rejection.message, "no", http, data))


def _check_version(version: str) -> None:
    if version not in MODERN:
        raise UnsupportedVersion("unsupported protocol version", supported=list(MODERN), requested=version)


def _check_params(exchange: Exchange, message: Message) -> None:
    if message.method in tasks.METHODS:
        tasks.check_named(message.params, exchange.headers)
    if message.method == "tools/call":
        schema = exchange.surface.mirrored(message.params.get("name"), exchange.principal)
        if schema is not None:
            check_mirrored(schema, message.params, exchange.headers)


def _client(route: InboundModernRoute, extensions: Mapping[str, Raw]) -> Client:
    info = NULL if route.client_info is None else raw(route.client_info)
    capabilities: Mapping[str, Any] = route.client_capabilities
    if "extensions" in capabilities:
        capabilities = {**capabilities, "extensions": _shared(capabilities["extensions"], extensions)}
    return Client(route.protocol_version, raw(capabilities), info)


def _shared(declared: object, carried: Mapping[str, Raw]) -> dict[str, Any]:
    """What both ends know and the path brings across."""
    known = declared.items() if isinstance(declared, dict) else ()
    return {name: settings for name, settings in known if name in carried}
