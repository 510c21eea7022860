"""A session over HTTP with server-sent events, the transport of revision 2024-11-05."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Mapping, Sequence

from msgspec import Raw
from yarl import URL

from libs.common.config import HeaderRule, HttpServer
from libs.common.errors import DeadlineExceeded, NexusError, NotSent, ServerUnavailable
from libs.common.messages.calls import Client
from services.connector import handshake, replies
from services.connector.bearer import Bearer
from services.connector.client import HttpClient, Response
from services.connector.events import Event, EventParser
from services.connector.headers import Headers
from services.connector.jsonrpc import Multiplexer, Send
from services.connector.listener import offered
from services.connector.questions import Asked, decline
from services.connector.session import LINE_MAX, NOTHING, Era, EventSink, Notice, Opened, Params

TAKE = 60.0
"""Seconds for a server to take one message; the answer to it comes on the stream, in a time of its own."""
_JSON = {"content-type": replies.JSON}


class SseSession:
    """One event stream for all answers, and a POST for each message. Keeps the promises of `Session`."""

    kind = "sse"

    def __init__(
        self,
        server: HttpServer,
        own: Headers,
        on_notice: Notice,
        on_question: Asked = decline,
        bearer: Bearer | None = None,
        rules: Sequence[HeaderRule] = (),
    ) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = loop.create_future()
        self._server = server
        self._name = f'server "{server.name}"'
        self._client = HttpClient(server, own, bearer, rules)
        self._mux = Multiplexer(self._send, on_notice, on_question)
        self._endpoint: asyncio.Future[URL] = loop.create_future()
        self._reading: asyncio.Task[None] | None = None
        self._era: Era = "legacy"
        self._opened = False

    async def open(self) -> Opened:
        """Open the stream, learn where to post, shake hands; within `start_timeout` seconds."""
        deadline = time.time() + self._server.start_timeout
        try:
            async with asyncio.timeout(self._server.start_timeout):
                await self._client.open()
                self._reading = asyncio.ensure_future(self._read())
                await asyncio.shield(self._endpoint)
            opened = await self._shake(deadline)
        except (NexusError, TimeoutError) as error:
            await self.close()
            raise self._explained(error) from error
        except asyncio.CancelledError:
            await self.close()
            raise
        self._era, self._opened = opened.era, True
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
        return await self._mux.call(
            method,
            params,
            deadline,
            on_event,
            on_question=on_question,
            progress=progress,
            owner=client.session,
            send=self._sender(sent),
        )

    async def notify(self, method: str, params: Params, sent: Mapping[str, str] = NOTHING) -> None:
        """Send one notification."""
        await self._mux.notify(method, handshake.adapted(params, self._era), self._sender(sent))

    def learn(self, schemas: Mapping[str, Raw]) -> None:
        """Nothing: this transport knows no headers for arguments."""

    async def close(self) -> None:
        """Close the stream; what still runs is lost."""
        self._mux.fail(f"the session with {self._name} was closed")
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        self._endpoint.cancel()
        await self._client.close()

    async def _shake(self, deadline: float) -> Opened:
        # The transport was replaced long before the modern era: who offers it is only asked the old way.
        choice: handshake.Choice = "legacy" if self._server.era == "auto" else self._server.era
        return await handshake.negotiate(self._mux.call, self._mux.notify, choice, deadline)

    async def _read(self) -> None:
        """Own the stream until it ends, and with it the session."""
        reason = f"{self._name} closed its event stream"
        try:
            async with self._client.send("GET", {"accept": replies.EVENTS}) as response:
                if not offered(response):
                    raise self._streamless(response)
                if self._server.message_url is not None:
                    self._endpoint.set_result(URL(self._server.message_url))
                await self._follow(response)
        except NexusError as error:
            reason = error.message
            if not self._endpoint.done():
                self._endpoint.set_exception(error)
        self._end(reason)

    async def _follow(self, response: Response) -> None:
        parser = EventParser()
        async for chunk in response.content.iter_any():
            for event in parser.feed(chunk):
                self._take(event, response)

    def _take(self, event: Event, response: Response) -> None:
        if event.name == "endpoint":
            self._settle(event.data, response)
        elif event.over is not None:
            self._mux.discard(event.over.head, event.over.tail, LINE_MAX)
        elif event.name == "message" and event.data:
            self._mux.feed(event.data)

    def _settle(self, endpoint: bytes, response: Response) -> None:
        """Learn where to post. Anywhere but at the same origin, it would be given our credentials."""
        if self._endpoint.done():
            return
        try:
            url = response.url.join(URL(endpoint.decode()))
            foreign = url.origin() != response.url.origin()
        except ValueError:
            raise ServerUnavailable(f"{self._name} named an endpoint that is no URL") from None
        if foreign:
            refused = ServerUnavailable(
                f"{self._name} wants messages to be sent to another origin; set message_url if that is right"
            )
            raise self._client.explain(refused, f"endpoint at {url.origin()}")
        self._endpoint.set_result(url)

    def _sender(self, sent: Mapping[str, str]) -> Send | None:
        return functools.partial(self._send, sent=sent) if sent else None

    def _send(self, message: bytes, sent: Mapping[str, str] = NOTHING) -> Awaitable[None]:
        if not self._endpoint.done() or self._endpoint.cancelled():
            raise NotSent(f"{self._name} has not said where to send messages to")
        return self._post(message, self._endpoint.result(), sent)

    async def _post(self, message: bytes, url: URL, sent: Mapping[str, str]) -> None:
        try:
            async with (
                asyncio.timeout(TAKE),
                self._client.send("POST", _JSON, message, url, sent) as response,
            ):
                if response.status >= 300:
                    raise replies.verdict(self._name, response.status)
        except TimeoutError:
            # The call it belongs to has a deadline; the server may well be at work on it.
            return

    def _streamless(self, response: Response) -> ServerUnavailable:
        status = response.status
        if status in (401, 403):
            return ServerUnavailable(replies.verdict(self._name, status).message)
        said = f"HTTP {status}" if status != 200 else "something else"
        return ServerUnavailable(f"{self._name} was asked for an event stream and answered with {said}")

    def _end(self, reason: str) -> None:
        self._mux.fail(reason)
        if not self._endpoint.done():
            self._endpoint.set_exception(ServerUnavailable(reason))
        if self._opened and not self.lost.done():
            self.lost.set_result(reason)

    def _explained(self, error: Exception) -> ServerUnavailable:
        if isinstance(error, TimeoutError | DeadlineExceeded):
            return ServerUnavailable(f"{self._name} did not answer within {self._server.start_timeout:g} s")
        reason = str(error)[:500]
        return ServerUnavailable(
            reason if self._name in reason else f"{self._name} could not be opened: {reason}"
        )
