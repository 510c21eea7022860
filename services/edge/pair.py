"""The two endpoints of MCP 2024-11-05: a stream to read, and an address to post to, at any replica."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import parse_qs

from msgspec import DecodeError, Struct
from msgspec.json import Decoder
from msgspec.structs import replace

from libs.common.codec import decoder, encode, raw
from libs.common.errors import (
    CallFailed,
    InvalidRequest,
    MethodNotAllowed,
    Overloaded,
    SessionUnknown,
    WorkerLost,
)
from libs.common.identity import Principal
from libs.common.messages.streams import MessagePosted
from libs.common.seal import Keyring, SealBroken
from services.edge.body import check_events
from services.edge.conversation import Conversation
from services.edge.exchange import Exchange
from services.edge.gateway import Gateway
from services.edge.lines import BUSY, TAKEN, Line, Lines
from services.edge.listening import Listening
from services.edge.message import read_message
from services.edge.settings import Settings
from services.edge.streams import Watch

STREAM = "/sse"
MESSAGES = "/messages"
SESSION = "session"


class _Address(Struct):
    session: str
    replica: str


_address: Decoder[_Address] = decoder(_Address)


class Reading:
    """Serves the stream: its first event is the address for messages, its loss ends the session."""

    def __init__(
        self,
        lines: Lines,
        keys: Keyring,
        conversation: Conversation,
        listening: Listening,
        closing: asyncio.Event,
        settings: Settings,
    ) -> None:
        self._lines = lines
        self._keys = keys
        self._conversation = conversation
        self._listening = listening
        self._closing = closing
        self._settings = settings

    async def serve(self, exchange: Exchange) -> None:
        if exchange.verb != "GET":
            raise MethodNotAllowed(
                "read the stream here with GET, and post to the address it names", allow=["GET"]
            )
        check_events(exchange.headers.get("accept"))
        line = Line(exchange, self._conversation, self._listening, self._settings.session_ttl)
        with self._lines.held(line):
            exchange.answer.open()
            exchange.answer.put(b"event: endpoint\ndata: %b\n\n" % self._address(exchange, line).encode())
            with Watch(exchange.receive):
                await line.live(self._closing)
        await exchange.answer.silence()

    def _address(self, exchange: Exchange, line: Line) -> str:
        route = exchange.surface.route
        payload = encode(_Address(line.id, self._lines.replica))
        sealed = self._keys.seal(payload, binding=_binding(exchange.principal, route), expires=line.expires)
        return f"{route}{MESSAGES}?{SESSION}={sealed}"


class Posting:
    """Takes messages, and brings each to the replica that holds its session's stream."""

    def __init__(self, lines: Lines, keys: Keyring, gateway: Gateway, settings: Settings) -> None:
        self._lines = lines
        self._keys = keys
        self._gateway = gateway
        self._settings = settings

    async def serve(self, exchange: Exchange) -> None:
        if exchange.verb != "POST":
            raise MethodNotAllowed("post messages here; the stream is read elsewhere", allow=["POST"])
        address = self._opened(exchange)
        posted = await exchange.body(self._settings)
        if isinstance(posted, list):
            raise InvalidRequest("there are no batches on this transport: post one JSON-RPC message")
        visitor = exchange.visitor
        visitor.message = read_message(posted)
        message = MessagePosted(
            address.session, raw(posted), exchange.principal, visitor.address, visitor.agent, visitor.token
        )
        _check(await self._brought(address.replica, message))
        # Whoever holds the stream tells what becomes of it.
        visitor.told = True
        await exchange.answer.silence()

    async def _brought(self, replica: str, message: MessagePosted) -> bytes | None:
        if replica == self._lines.replica:
            return self._lines.take(message)
        return await self._gateway.post_elsewhere(replica, message)

    def _opened(self, exchange: Exchange) -> _Address:
        token = parse_qs(exchange.query.decode("latin-1")).get(SESSION, [""])[0]
        try:
            binding = _binding(exchange.principal, exchange.surface.route)
            return _address.decode(self._keys.open(token, binding=binding, now=time.time()))
        except (SealBroken, DecodeError):
            raise _unknown() from None


def _check(said: bytes | None) -> None:
    """Raises what the client of a message that was not taken must know."""
    if said == TAKEN:
        return
    if said == BUSY:
        raise Overloaded("too many messages of this session are being answered; try again later")
    if said is None:
        lost = WorkerLost(
            "the replica that holds the stream did not answer; whether it ran is unknown"
        ).failure()
        raise CallFailed(replace(lost, http=503))
    raise _unknown()


def _unknown() -> SessionUnknown:
    return SessionUnknown("there is no such stream, or no more: open a new one")


def _binding(principal: Principal, route: str) -> tuple[str, ...]:
    return ("pair", principal.key, route)
