"""One POST of Streamable HTTP, and whatever comes back for it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from msgspec import UNSET, Raw, UnsetType
from yarl import URL

from libs.common.errors import (
    DownstreamError,
    DownstreamLost,
    NexusError,
    Refused,
    ResultInvalid,
    ResultTooLarge,
)
from services.connector import envelope, listener, replies
from services.connector.client import HttpClient, Response, whole
from services.connector.events import EventParser
from services.connector.headers import Headers
from services.connector.jsonrpc import PROGRESS
from services.connector.logs import LOGGED
from services.connector.questions import Asked, Id, Question
from services.connector.session import NOTHING, Era, EventSink, Notice
from services.connector.working import DOUBT, LATE, Working

ERROR_MAX = 64 * 1024
"""Bytes read of the body of a failed request."""
RESUME = 1.0
"""Seconds before a stream that was closed early is asked for again, unless the server names its own."""
RESUME_MAX = 30.0
SESSION = "mcp-session-id"

_COMMON = {"content-type": replies.JSON, "accept": f"{replies.JSON}, {replies.EVENTS}"}
_VISIBLE = re.compile(r"[\x21-\x7e]{1,1024}")
_GUARDED = (401, 403, 429)
"""Statuses that are told by the status alone: their body is of whoever guards the server."""


class SessionGone(Refused):
    """The server does not know the session any more, so it did not look at the call."""


@dataclass(frozen=True, slots=True)
class Request:
    """One message that is owed an answer."""

    number: int
    method: str
    era: Era
    message: bytes
    headers: Headers
    sent: Mapping[str, str]
    """Headers of the client, for whatever is said for the sake of this request."""
    on_question: Asked | None = None
    """Hears what the server asks on the stream of this request."""


class Exchange:
    """Sends messages to one server and tells results, events, notices and questions apart.

    `bound` are the headers of the legacy session. `sinks` take progress, by the number of the request.
    """

    def __init__(
        self,
        client: HttpClient,
        on_notice: Notice,
        ask: Asked,
        reply: Callable[[Mapping[str, str], bytes], None],
    ) -> None:
        self.bound: Headers = {}
        self.sinks: dict[int, EventSink] = {}
        self._client = client
        self._name = f'server "{client.name}"'
        self._on_notice = on_notice
        self._on_question = ask
        self._reply = reply
        self._working = Working()
        self._running: dict[int, Request] = {}

    @contextlib.contextmanager
    def running(self, request: Request, owner: str) -> Iterator[None]:
        """While inside, a question that names no call may be for this one, which is a call of `owner`."""
        doubt = DOUBT
        self._running[request.number] = request
        self._working.begin(request.number, request.method, owner)
        try:
            yield
            doubt = LATE
        except NexusError as error:
            doubt = DOUBT if error.executed == "unknown" else LATE
            raise
        finally:
            del self._running[request.number]
            self._working.end(request.number, doubt)

    async def post(self, request: Request) -> Raw:
        """The result of one request. Raises `SessionGone` if a new session is needed first."""
        bound = self.bound if request.era == "legacy" else {}
        headers = {**_COMMON, **request.headers, **bound}
        async with self._client.send("POST", headers, request.message, sent=request.sent) as response:
            if response.status != 200:
                raise await self._refusal(response, in_session=SESSION in bound)
            if request.method == "initialize":
                minted = response.headers.get(SESSION, "")
                self.bound = {SESSION: minted} if _VISIBLE.fullmatch(minted) else {}
            return await self._result(response, request)

    async def tell(self, message: bytes, sent: Mapping[str, str]) -> None:
        """Post what has no answer; 200 is taken for a yes like 202."""
        async with self._client.send("POST", {**_COMMON, **self.bound}, message, sent=sent) as response:
            if response.status >= 300:
                raise replies.verdict(self._name, response.status)

    async def listen(self) -> None:
        """Follow the stream for what belongs to no call, as long as the server offers one."""
        await listener.listen(self._client, lambda: self.bound, self._overhear)

    async def leave(self) -> None:
        """End the legacy session, if there is one."""
        if SESSION in self.bound:
            async with self._client.send("DELETE", self.bound):
                pass

    async def _result(self, response: Response, request: Request) -> Raw:
        kind = replies.mime(response.headers.get("content-type"))
        if kind == replies.EVENTS:
            return await self._streamed(response, request)
        if kind != replies.JSON:
            raise ResultInvalid(f"{self._name} answered with {_shown(kind)}, not with JSON")
        body = await whole(response)
        return replies.result(self._name, replies.parse(self._name, body), body, request.number)

    async def _refusal(self, response: Response, *, in_session: bool) -> NexusError:
        status = response.status
        if status == 404 and in_session:
            return self._gone()
        error = await self._error(response)
        if error is None:
            verdict = replies.verdict(self._name, status)
            if 300 <= status < 400:
                self._client.explain(verdict, f"redirects to {_origin(response)}")
            return verdict
        # Some servers tell a forgotten session by 400; the call was not looked at then either.
        if status == 400 and in_session and "session" in error.message.lower():
            return self._gone()
        return error

    async def _error(self, response: Response) -> DownstreamError | None:
        """The JSON-RPC error a failed request came back with."""
        kind = replies.mime(response.headers.get("content-type"))
        if response.status < 400 or response.status in _GUARDED or kind != replies.JSON:
            return None
        with contextlib.suppress(ResultTooLarge):
            return replies.refusal(await whole(response, ERROR_MAX))
        return None

    def _gone(self) -> SessionGone:
        return SessionGone(f"{self._name} does not know the session any more")

    async def _streamed(self, response: Response, request: Request) -> Raw:
        """The result from a stream; a legacy server may close it early and be asked to go on (SEP-1699)."""
        parser = EventParser()
        found = await self._follow(response, parser, request)
        while found is None:
            if request.era == "modern" or not _VISIBLE.fullmatch(parser.last_id):
                raise DownstreamLost(f"{self._name} ended the stream of a call before it had answered")
            await asyncio.sleep(RESUME if parser.retry is None else min(parser.retry / 1000, RESUME_MAX))
            resume = {**self.bound, "accept": replies.EVENTS, "last-event-id": parser.last_id}
            async with self._client.send("GET", resume, sent=request.sent) as resumed:
                if not listener.offered(resumed):
                    raise DownstreamLost(f"{self._name} did not go on with the stream of a call")
                found = await self._follow(resumed, parser, request)
        return found

    async def _follow(self, response: Response, parser: EventParser, request: Request) -> Raw | None:
        async for chunk in response.content.iter_any():
            for event in parser.feed(chunk):
                if event.over is not None:
                    raise replies.too_large()
                if (
                    event.name == "message"
                    and event.data
                    and (found := self._take(event.data, request)) is not None
                ):
                    return found
        return None

    def _overhear(self, message: bytes) -> None:
        self._take(message, None)

    def _take(self, message: bytes, request: Request | None) -> Raw | None:
        """Take one message or a batch; the result if the answer to `request` is in it."""
        for part in [bytes(raw) for raw in envelope.split(message)] or [message]:
            parsed = replies.parse(self._name, part)
            if parsed.method is not UNSET:
                self._hear(parsed.method, parsed.id, part, request)
            elif request is not None:
                return replies.result(self._name, parsed, part, request.number)
        return None

    def _hear(self, method: str, number: Id | UnsetType, message: bytes, request: Request | None) -> None:
        if not envelope.is_text(message):
            return
        if number is not UNSET:
            self._ask(number, method, message, request)
        elif method == PROGRESS:
            token = envelope.token(message)
            self._pass_on(token if isinstance(token, int) else None, message)
        else:
            self._pass_on(request.number if request is not None else None, message)
            if request is None or (request.era == "legacy" and method != LOGGED):
                # On a call's own stream a legacy server may also tell what is news for the whole session.
                self._on_notice(method, Raw(message))

    def _pass_on(self, number: int | None, message: bytes) -> None:
        sink = None if number is None else self.sinks.get(number)
        if sink is not None:
            sink(Raw(message))

    def _ask(self, number: Id, method: str, message: bytes, request: Request | None) -> None:
        if request is None and method != "ping" and (sole := self._working.sole()) is not None:
            request = self._running[sole]
        reply = functools.partial(self._reply, NOTHING if request is None else request.sent)
        question = Question(number, method, Raw(message), reply)
        if method == "ping":
            question.answer(Raw(b"{}"))
            return
        asked = request.on_question if request is not None else None
        (asked or self._on_question)(question)


def _origin(response: Response) -> str:
    target = response.headers.get("location", "")
    try:
        return str(response.url.join(URL(target)).origin())
    except ValueError:
        return "an unreadable address"


def _shown(kind: str) -> str:
    return kind[:60] if kind and kind.isprintable() else "no content type"
