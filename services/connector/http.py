"""A session with a server over Streamable HTTP, of either era."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
import structlog
from msgspec import Raw, Struct

from libs.common import codec
from libs.common.config import HeaderRule, HttpServer
from libs.common.errors import DeadlineExceeded, DownstreamLost, NexusError, ResultInvalid, ServerUnavailable
from libs.common.messages.calls import Client
from services.connector import envelope, handshake, headers
from services.connector.bearer import Bearer
from services.connector.client import HttpClient
from services.connector.exchange import Exchange, Request, SessionGone
from services.connector.headers import Headers, Mirrors
from services.connector.questions import Asked, decline
from services.connector.session import NOTHING, Era, EventSink, Notice, Opened, Params

BACKGROUND = 128
"""Messages on their way beside the calls: answers to the server's questions, cancellations."""
ASIDE = 5.0
"""Seconds for one of those, and for the goodbye at the end of a session."""
UNSOUND = 1000
"""Names of dropped tools that are remembered, so as to tell of each once."""

_ERALESS = (401, 403, 429, *range(300, 400))
"""Statuses that say nothing about the era."""
_FOREIGN = (400, 404, 405, 406, 415)
"""Statuses of a server that does not know what to do with a POST."""
_log = structlog.get_logger(__name__)


class NotSpoken(ServerUnavailable):
    """The server answered, but in a way that suggests that it does not speak Streamable HTTP."""


class _Initialized(Struct, rename="camel"):
    protocol_version: str


_initialized = msgspec.json.Decoder(_Initialized).decode


class HttpSession:
    """One server over Streamable HTTP. Keeps the promises of `Session`.

    Each call is a POST of its own, so a bad answer fails one call. Modern: stateless. Legacy: the server may
    mint a session; when it has forgotten it, a new one is begun and the call sent once more.
    """

    kind = "streamable-http"

    def __init__(
        self,
        server: HttpServer,
        own: Headers,
        on_notice: Notice,
        on_question: Asked = decline,
        bearer: Bearer | None = None,
        rules: Sequence[HeaderRule] = (),
    ) -> None:
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._server = server
        self._name = f'server "{server.name}"'
        self._client = HttpClient(server, own, bearer, rules)
        self._exchange = Exchange(self._client, on_notice, on_question, self._reply)
        self._era: Era = "legacy"
        self._last = 0
        self._generation = 0
        self._renewing = asyncio.Lock()
        self._mirrors: dict[str, Mirrors] = {}
        self._unsound: set[str] = set()
        self._aside: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Task[None] | None = None

    async def open(self) -> Opened:
        """Find out the era and shake hands, within `start_timeout` seconds.

        Raises `NotSpoken` where another transport may be worth a try.
        """
        deadline = time.time() + self._server.start_timeout
        try:
            await self._client.open()
            opened = await handshake.negotiate(self._ask, self._tell, self._server.era, deadline)
        except NexusError as error:
            await self.close()
            raise self._explained(error) from error
        except asyncio.CancelledError:
            await self.close()
            raise
        self._era = opened.era
        self._listen()
        return opened

    async def call(
        self,
        method: str,
        params: Params,
        *,
        deadline: float,
        client: Client,
        on_event: EventSink | None = None,
        on_question: Asked | None = None,
        progress: bool = True,
        sent: Mapping[str, str] = NOTHING,
    ) -> Raw:
        """The raw result of one request."""
        params = handshake.adapted(params, self._era, client.capabilities)
        marked = progress and on_event is not None
        request = self._request(method, params, self._era, on_question, progress=marked, sent=sent)
        if on_event is not None:
            self._exchange.sinks[request.number] = on_event
        try:
            with self._exchange.running(request, client.session):
                result = await self._bounded(self._attempt, request, deadline)
        finally:
            self._exchange.sinks.pop(request.number, None)
        return self._sound(result) if method == "tools/list" and self._era == "modern" else result

    async def notify(self, method: str, params: Params, sent: Mapping[str, str] = NOTHING) -> None:
        """Send one notification. The modern era defines none over HTTP, so there it is dropped."""
        if self._era == "legacy":
            await self._tell(method, handshake.adapted(params, "legacy"), sent)

    def learn(self, schemas: Mapping[str, Raw]) -> None:
        """Know the `inputSchema` of each tool: modern servers want marked arguments in headers as well."""
        self._mirrors = {}
        for name, schema in schemas.items():
            try:
                table = headers.mirrors(schema)
            except (ValueError, RecursionError) as error:
                _log.warning("tool.unmirrored", server=self._server.name, tool=name, cause=str(error))
                continue
            if table:
                self._mirrors[name] = table

    async def close(self) -> None:
        """Say goodbye to a legacy session, then close every connection."""
        tasks = [*self._aside, *([self._listening] if self._listening else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self._quietly(self._exchange.leave)
        finally:
            await self._client.close()

    def _sound(self, page: Raw) -> Raw:
        """Without tools that could only be called wrongly, which a client must not offer; each told once."""
        page, broken = headers.sound(page)
        for name in broken:
            if name not in self._unsound and len(self._unsound) < UNSOUND:
                self._unsound.add(name)
                _log.warning("tool.dropped", server=self._server.name, tool=name, cause="its x-mcp-header")
        return page

    def _request(
        self,
        method: str,
        params: Params,
        era: Era,
        asked: Asked | None = None,
        *,
        progress: bool = False,
        sent: Mapping[str, str] = NOTHING,
    ) -> Request:
        self._last = number = self._last + 1
        message = envelope.request(number, method, params, progress=progress)
        routed = self._routed(method, params) if era == "modern" else {}
        return Request(number, method, era, message, {**headers.traced(params), **routed}, sent, asked)

    def _routed(self, method: str, params: Params) -> Headers:
        routed = headers.routing(handshake.MODERN, method, params)
        if method != "tools/call" or not self._mirrors or "name" not in params:
            return routed
        table = self._mirrors.get(codec.decode(params["name"]), ())
        return {**routed, **headers.mirrored(table, params)}

    async def _bounded(
        self, send: Callable[[Request], Awaitable[Raw]], request: Request, deadline: float
    ) -> Raw:
        remaining = deadline - time.time()
        if remaining <= 0:
            late = DeadlineExceeded(f"the time for {request.method} was over before it was sent")
            late.executed = "no"
            raise late
        try:
            async with asyncio.timeout(remaining):
                return await send(request)
        except TimeoutError:
            self._abandon(request, "the time of the call is over")
            raise DeadlineExceeded(f"{self._name} did not answer {request.method} in time") from None
        except asyncio.CancelledError:
            self._abandon(request, "the caller stopped waiting")
            raise

    async def _attempt(self, request: Request) -> Raw:
        if self._renewing.locked():
            async with self._renewing:
                pass
        generation = self._generation
        try:
            return await self._exchange.post(request)
        except SessionGone:
            await self._renew(generation)
        return await self._exchange.post(request)

    async def _renew(self, generation: int) -> None:
        """Begin a new session, once for all calls that found the old one gone."""
        async with self._renewing:
            if self._generation != generation:
                return
            forgotten, self._exchange.bound = self._exchange.bound, {}
            try:
                await handshake.initialize(self._ask, self._tell, time.time() + self._server.start_timeout)
            except asyncio.CancelledError:
                # Nobody waits for this one; with the old headers the next call finds its session gone again.
                self._exchange.bound = forgotten
                raise
            except NexusError as error:
                raise self._lose(
                    f"its session was gone and no new one could be begun: {error.message}"
                ) from error
            self._generation += 1
            self._listen()

    def _lose(self, reason: str) -> ServerUnavailable:
        if not self.lost.done():
            self.lost.set_result(reason)
        return ServerUnavailable(f"{self._name} is lost: {reason}")

    async def _ask(self, method: str, params: Params, deadline: float) -> Raw:
        """One request of a handshake."""
        era: Era = "modern" if method == "server/discover" else "legacy"
        request = self._request(method, params, era)
        try:
            answer = await self._bounded(self._exchange.post, request, deadline)
        except NexusError as error:
            if era == "modern" and _is_verdict(error):
                raise ResultInvalid(error.message, **error.data) from error
            raise
        if method == "initialize":
            version = _initialized(answer).protocol_version
            self._exchange.bound = {**self._exchange.bound, "mcp-protocol-version": version}
        return answer

    async def _tell(self, method: str, params: Params, sent: Mapping[str, str] = NOTHING) -> None:
        await self._deliver(envelope.notification(method, params), sent)

    async def _deliver(self, message: bytes, sent: Mapping[str, str]) -> None:
        try:
            async with asyncio.timeout(ASIDE):
                await self._exchange.tell(message, sent)
        except TimeoutError:
            raise DeadlineExceeded(f"{self._name} did not take a notification in time") from None

    def _listen(self) -> None:
        if self._era == "legacy" and (self._listening is None or self._listening.done()):
            self._listening = asyncio.ensure_future(self._exchange.listen())

    def _reply(self, sent: Mapping[str, str], message: bytes) -> None:
        """Post an answer to a question; a modern server asks none and has no place to send it to."""
        if self._era == "legacy":
            self._spawn(functools.partial(self._deliver, message, sent))

    def _abandon(self, request: Request, reason: str) -> None:
        """Tell a legacy server that nobody waits; a modern one knows it from the closed stream."""
        if request.era == "legacy" and request.method != "initialize":
            params = {"requestId": codec.raw(request.number), "reason": codec.raw(reason)}
            self._spawn(functools.partial(self._tell, "notifications/cancelled", params, request.sent))

    def _spawn(self, send: Callable[[], Awaitable[None]]) -> None:
        if len(self._aside) < BACKGROUND:
            task = asyncio.ensure_future(self._quietly(send))
            self._aside.add(task)
            task.add_done_callback(self._aside.discard)

    async def _quietly(self, send: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(ASIDE):
                await send()
        except (NexusError, TimeoutError) as error:
            _log.debug("downstream.aside", server=self._server.name, cause=str(error))

    def _explained(self, error: NexusError) -> ServerUnavailable:
        reason = error.message[:500]
        if isinstance(error, DeadlineExceeded):
            reason = f"{self._name} did not answer within {self._server.start_timeout:g} s"
        foreign = isinstance(error, ResultInvalid) or error.data.get("status") in _FOREIGN
        kind = NotSpoken if foreign else ServerUnavailable
        return kind(reason if self._name in reason else f"{self._name} could not be opened: {reason}")


def _is_verdict(error: NexusError) -> bool:
    """Whether a failed discovery may mean an old server, which answers it in whatever way it likes."""
    status = error.data.get("status")
    return isinstance(error, DownstreamLost) if status is None else status not in _ERALESS
