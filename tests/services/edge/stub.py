"""The rest of the gateway in memory: tools named after what they do, and a record of what was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import Raw

from libs.common.codec import decode, encode, raw
from libs.common.errors import (
    BusUnavailable,
    CallFailed,
    DownstreamError,
    DownstreamLost,
    MethodNotFound,
    NexusError,
    Overloaded,
    RateLimited,
    ServerUnavailable,
    ServerUnknown,
    TooManyRequests,
)
from libs.common.identity import ANONYMOUS, Principal
from libs.common.messages.calls import (
    CallServer,
    ClientReply,
    ExecuteTool,
    HoldCall,
    ListServer,
    NotifyServer,
    Request,
    SearchTools,
)
from libs.common.messages.catalog import Listing
from libs.common.messages.search import Hit, ToolsFound
from libs.common.messages.streams import MessagePosted
from services.edge.gateway import Bus, Note, OnEvent, ServerStatus

SCHEMA = raw({"type": "object", "properties": {"text": {"type": "string"}}})
HITS = (
    Hit("demo__echo", "Repeats the text", SCHEMA, 2.5, "demo", "Echo", raw({"readOnlyHint": True}), SCHEMA),
    Hit("demo__slow", "Waits until it is released", SCHEMA, 1.25),
)
DEMO = Listing(
    server="demo",
    digest="1",
    tools=tuple(raw({"name": name, "inputSchema": {"type": "object"}}) for name in ("echo", "slow")),
    version="2025-11-25",
    capabilities=raw(
        {
            "tools": {"listChanged": True, "x-kept": 1},
            "resources": {"subscribe": True},
            "logging": {},
            "experimental": {},
        }
    ),
    info=raw({"name": "demo-server", "version": "9.9"}),
    instructions="Ask nicely.",
)
REFUSALS: dict[str, Exception] = {
    "demo__unknown": ServerUnknown("there is no tool of this name"),
    "demo__down": ServerUnavailable("nobody holds the server now"),
    "demo__busy": Overloaded("too many calls are waiting"),
    "demo__often": TooManyRequests(
        "rate limit exceeded", scope="user", limit=10, interval_ms=60_000, retry_after_ms=12_001
    ),
    "demo__rare": RateLimited(
        "rate limit exceeded", scope="tool", limit=1, interval_ms=60_000, retry_after_ms=500
    ),
    "demo__lost": BusUnavailable("the bus is away"),
    "demo__denied": CallFailed(DownstreamError(-32001, "not today", raw({"why": "rain"})).failure()),
    "demo__nomethod": CallFailed(MethodNotFound("no such method").failure()),
    "demo__boom": RuntimeError("secret detail of the implementation"),
}


def progress(step: int) -> Raw:
    """As a server may send it: pretty-printed, with a token that is not the client's."""
    return Raw(
        b'{"jsonrpc": "2.0",\n "method": "notifications/progress",\r\n'
        b' "params": {"progressToken": "minted-7", "progress": %d, "message": "step\\n%d"}}' % (step, step)
    )


LOG = raw({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "hello"}})
QUESTION = raw({"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage", "params": {}})


@dataclass
class Listen:
    """One listen to a server; setting `ended` loses it."""

    server: str
    wanted: dict[str, Any]
    on_event: OnEvent
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, method: str, **params: Any) -> None:
        tagged = {**params, "_meta": {"io.modelcontextprotocol/subscriptionId": 99, "x-kept": 1}}
        self.on_event(raw({"jsonrpc": "2.0", "method": method, "params": tagged}))


class StubGateway:
    """Answers at once, except for `slow`, which waits for `release` and tells of its start and its end."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.filters: list[dict[str, Any]] = []
        self.listens: list[Listen] = []
        self.results: dict[str, Raw] = {}
        self.holds: Raw | NexusError = Raw(b'{"over":false}')
        """What is said of a held call."""
        self.elsewhere: list[tuple[str, Any, str]] = []
        self.posted: list[tuple[str, MessagePosted]] = []
        self.taken: bytes | None = b"1"
        """What another replica says of a message."""
        self.replies: list[tuple[str, ClientReply]] = []
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.ended = asyncio.Event()
        self.held = asyncio.Event()
        """Set when somebody asks for a held call."""
        self.cancelled = False
        self.running = 0
        self.mute = False

    async def request(self, message: Request, *, on_event: OnEvent | None = None) -> Raw:
        self.seen.append(message)
        match message:
            case SearchTools(keywords=keywords, query=query):
                return _search(f"{query} {' '.join(keywords)}")
            case ExecuteTool(name=name, params=params):
                return await self._run(name, params, on_event)
            case CallServer(server=server, method="tools/call", params=params):
                return await self._run(f"{server}__{decode(params)['name']}", params, on_event)
            case CallServer(server=server, method="subscriptions/listen", params=params) if on_event:
                return await self._listen(Listen(server, decode(params)["notifications"], on_event))
            case CallServer(method=method) if method in self.results:
                return self.results[method]
            case CallServer(method="tools/list"):
                return raw({"tools": DEMO.tools, "x-unknown": 1})
            case CallServer(method=method, params=params):
                return raw({"method": method, "params": params})
            case NotifyServer():
                return Raw(b"{}")
            case ListServer():
                raise ServerUnknown("no server of this stub lists to single callers")
            case HoldCall():
                self.held.set()
                if isinstance(self.holds, NexusError):
                    raise self.holds
                return self.holds

    async def reply_elsewhere(self, replica: str, reply: ClientReply) -> None:
        self.replies.append((replica, reply))

    async def post_elsewhere(self, replica: str, posted: MessagePosted) -> bytes | None:
        self.posted.append((replica, posted))
        return self.taken

    async def cancel_elsewhere(self, session: str, request_id: Raw, reason: str) -> None:
        self.elsewhere.append((session, decode(request_id), reason))

    async def _run(self, name: str, params: Raw, on_event: OnEvent | None) -> Raw:
        if name in REFUSALS:
            raise REFUSALS[name]
        if name == "demo__slow":
            await self._wait()
        if name == "demo__events" and on_event is not None:
            _emit(on_event)
            await self._wait()
        if name == "demo__flood" and on_event is not None:
            for step in range(1000):
                on_event(progress(step))
        if name == "demo__breaks" and on_event is not None:
            on_event(progress(1))
            await asyncio.sleep(0)
            raise DownstreamLost("the server went away")
        if name == "demo__strange":
            return Raw(b'{"content": [ ],  "x-odd": 1.50, "_meta": {"a": 1}, "resultType": "complete"}')
        if name == "demo__job":
            return raw({"resultType": "task", "taskId": "t-1", "status": "working"})
        if name == "demo__asks":
            return _asking(decode(params))
        if name == "demo__parks":
            return _parking(decode(params))
        if name == "demo__fails":
            return raw({"content": [{"type": "text", "text": "it failed"}], "isError": True})
        if name == "demo__list":
            return Raw(b"[]")
        return raw({"content": [{"type": "text", "text": f"{name} {decode(params).get('arguments')}"}]})

    async def _listen(self, listen: Listen) -> Raw:
        wanted, on_event = listen.wanted, listen.on_event
        self.filters.append(wanted)
        self.listens.append(listen)
        tag = {"io.modelcontextprotocol/subscriptionId": 99}
        for method, params in (
            ()
            if self.mute
            else (
                ("notifications/subscriptions/acknowledged", {"notifications": wanted}),
                ("notifications/tools/list_changed", {}),
            )
        ):
            on_event(raw({"jsonrpc": "2.0", "method": method, "params": {**params, "_meta": tag}}))
        await self._wait(listen.ended)
        if listen.ended.is_set():
            raise DownstreamLost("the server went away")
        return raw({"_meta": tag})

    async def _wait(self, *others: asyncio.Event) -> None:
        self.running += 1
        self.started.set()
        waits = [asyncio.ensure_future(event.wait()) for event in (self.release, *others)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            for wait in waits:
                wait.cancel()
            self.running -= 1
            self.ended.set()


def _emit(on_event: Callable[[Raw], None]) -> None:
    on_event(progress(1))
    for other in (LOG, QUESTION, Raw(b"not json"), Raw(b"[]")):
        on_event(other)
    on_event(progress(2))


def _asking(params: dict[str, Any]) -> Raw:
    """A modern tool that asks two questions, then greets whoever answered."""
    answers = params.get("inputResponses")
    if answers is None:
        form = {"mode": "form", "message": "Who?", "requestedSchema": {"type": "object", "properties": {}}}
        questions = {
            "who": {"method": "elicitation/create", "params": form},
            "where": {"method": "roots/list", "params": {}},
        }
        return raw({"resultType": "input_required", "inputRequests": questions, "requestState": "s-1"})
    assert params["requestState"] == "s-1"
    return raw({"resultType": "complete", "content": [{"type": "text", "text": encode(answers).decode()}]})


def _parking(params: dict[str, Any]) -> Raw:
    """A tool whose call a connector holds, with one question; then tells what came back."""
    if "requestState" not in params:
        wanted = {"q1": {"method": "elicitation/create", "params": {"message": "Who?"}}}
        held = {"resultType": "input_required", "inputRequests": wanted, "requestState": "held-1"}
        return raw({**held, "_meta": {"nexus/worker": "the-worker-that-holds-the-call"}})
    told = {key: params[key] for key in ("requestState", "inputResponses")}
    return raw({"resultType": "complete", "content": [{"type": "text", "text": encode(told).decode()}]})


def _search(words: str) -> Raw:
    hits = tuple(hit for hit in HITS if hit.name.removeprefix("demo__") in words)
    return raw(ToolsFound(hits, () if hits else ("demo__echo", "demo__slow")))


class StubCatalog:
    """One server that is ready, one that is not."""

    def __init__(self) -> None:
        self.state: Bus = "connected"
        self.tombs: dict[str, float] = {}
        self.notes: dict[str, Note] = {}
        self.listings = {"demo": DEMO}
        self.others = [
            ServerStatus("late", "failed", since=2.0, error="it exited with 3", detail="its last words")
        ]
        self.watchers: set[Callable[[], None]] = set()

    def bus(self) -> Bus:
        return self.state

    def servers(self) -> list[ServerStatus]:
        return [
            ServerStatus("demo", "ready", tools=2, since=1.0, workers=("w1",)),
            *self.others,
        ]

    def names(self) -> list[str]:
        return sorted({"demo", "late", *self.listings})

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        self.watchers.add(callback)
        return lambda: self.watchers.discard(callback)

    def list(self, listing: Listing) -> None:
        """A server lists something else from now on."""
        self.listings[listing.server] = listing
        for callback in list(self.watchers):
            callback()

    def listing(self, server: str, principal: Principal = ANONYMOUS) -> Listing | None:
        return self.listings.get(server)

    async def prepare(self, servers: Sequence[str], principal: Principal) -> None:
        """Nothing is listed to single callers."""

    def personal(self, principal: Principal) -> Sequence[Listing]:
        return ()

    def own(self, name: str, principal: Principal) -> str:
        return ""

    async def current(self) -> None:
        """Always."""

    def tombstoned(self, session: str) -> bool:
        return session in self.tombs

    async def bury(self, session: str, ttl: float) -> None:
        self.tombs[session] = ttl

    def noted(self, session: str) -> Note:
        return self.notes.get(session, Note())

    async def note(self, session: str, note: Note, ttl: float) -> None:
        self.notes[session] = note
