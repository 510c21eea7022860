"""Clients of both eras over bare HTTP, with one face: what a test says does not depend on the era."""

from __future__ import annotations

import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

from tests.system.wire import ACCEPT, LEGACY, MODERN, Message

PREFIX = "io.modelcontextprotocol/"
CALLERS = 20
_ids = itertools.count(1)

Reply = Callable[[Message], Message | None]
"""What the client answers to a question of the server: a result, an error with a code, or nothing."""


def refuse(question: Message) -> Message:
    """For a client that is not to be asked."""
    raise AssertionError(question)


@dataclass(frozen=True)
class Given:
    """What goes with a request beside its params, and who answers the server's questions."""

    token: str | int | None = None
    number: str | int | None = None
    level: str = ""
    headers: Message = field(default_factory=dict)
    meta: Message = field(default_factory=dict)
    reply: Reply = refuse

    def marked(self) -> Message:
        """The `_meta` of the request, as far as it is the same in both eras."""
        return self.meta if self.token is None else {**self.meta, "progressToken": self.token}

    def numbered(self) -> str | int:
        return next(_ids) if self.number is None else self.number


NOTHING = Given()


@dataclass
class Outcome:
    """What became of one request: the last message, and what came before it."""

    message: Message | None = None
    events: list[Message] = field(default_factory=list)
    asked: list[Message] = field(default_factory=list)
    status: int = 0
    headers: httpx.Headers = field(default_factory=httpx.Headers)

    @property
    def result(self) -> Message:
        assert self.message is not None
        assert "result" in self.message, self.message
        return dict(self.message["result"])

    @property
    def error(self) -> Message:
        assert self.message is not None
        assert "error" in self.message, self.message
        return dict(self.message["error"])

    def told(self, method: str) -> list[Message]:
        """The params of every notification of this method."""
        return [event["params"] for event in self.events if event["method"] == method]

    @property
    def said(self) -> Any:
        """The JSON that a probe of the fixture told."""
        return json.loads(self.result["content"][0]["text"])


class Caller(ABC):
    """One client of one server's path."""

    modern: bool

    def __init__(self, http: httpx.AsyncClient, url: str, capabilities: Message) -> None:
        self.http = http
        self.url = url
        self.capabilities = capabilities

    @abstractmethod
    async def ask(self, method: str, params: Message | None = None, given: Given = NOTHING) -> Outcome:
        """One request to its end, with whatever the server asks answered on the way."""

    @abstractmethod
    async def notify(self, method: str, params: Message | None = None) -> httpx.Response:
        """One notification."""

    @abstractmethod
    def news(self, *uris: str) -> Any:
        """A context manager: the iterator of notifications of changed lists, and of these resources."""

    async def call(self, tool: str, given: Given = NOTHING, /, **arguments: Any) -> Outcome:
        """One call of a tool."""
        return await self.ask("tools/call", {"name": tool, "arguments": arguments}, given)


class ModernCaller(Caller):
    modern = True

    async def ask(self, method: str, params: Message | None = None, given: Given = NOTHING) -> Outcome:
        outcome, more = Outcome(), dict(params or {})
        level = {f"{PREFIX}logLevel": given.level} if given.level else {}
        while True:
            body, sent = self._message(given.numbered(), method, more, {**given.marked(), **level})
            headers = {**sent, **given.headers}
            async with self.http.stream("POST", self.url, json=body, headers=headers) as got:
                await _collect(got, outcome)
            result = (outcome.message or {}).get("result", {})
            if result.get("resultType") != "input_required":
                return outcome
            more = {**dict(params or {}), **self._answered(result, outcome, given.reply)}

    @staticmethod
    def _answered(result: Message, outcome: Outcome, reply: Reply) -> Message:
        questions = result.get("inputRequests", {})
        outcome.asked.extend(questions.values())
        answers = {name: reply(question) for name, question in questions.items()}
        state = {"requestState": result["requestState"]} if "requestState" in result else {}
        return {"inputResponses": answers, **state}

    def _message(
        self, number: str | int, method: str, params: Message, meta: Message
    ) -> tuple[Message, dict[str, str]]:
        envelope = {
            f"{PREFIX}protocolVersion": MODERN,
            f"{PREFIX}clientCapabilities": self.capabilities,
            f"{PREFIX}clientInfo": {"name": "bridge", "version": "1"},
        }
        body = {"jsonrpc": "2.0", "id": number, "method": method}
        headers = {**ACCEPT, "MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        named = params.get("uri" if method == "resources/read" else "name", params.get("taskId"))
        if named is not None:
            headers["Mcp-Name"] = named
        return {**body, "params": {**params, "_meta": {**meta, **envelope}}}, headers

    async def notify(self, method: str, params: Message | None = None) -> httpx.Response:
        headers = {**ACCEPT, "MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        body = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        return await self.http.post(self.url, json=body, headers=headers)

    @asynccontextmanager
    async def news(self, *uris: str) -> AsyncIterator[AsyncIterator[Message]]:
        wanted: Message = {"toolsListChanged": True, "promptsListChanged": True}
        if uris:
            wanted["resourceSubscriptions"] = list(uris)
        body, headers = self._message(next(_ids), "subscriptions/listen", {"notifications": wanted}, {})
        async with self.http.stream("POST", self.url, json=body, headers=headers) as stream:
            messages = _messages(stream)
            first = await anext(messages)
            assert first["method"] == "notifications/subscriptions/acknowledged"
            yield messages


class LegacyCaller(Caller):
    modern = False

    def __init__(
        self, http: httpx.AsyncClient, url: str, capabilities: Message, version: str = LEGACY
    ) -> None:
        super().__init__(http, url, capabilities)
        self.version = version
        self.headers: dict[str, str] = {}

    async def begin(self) -> Outcome:
        """Open the session; what the gateway said of itself."""
        params = {
            "protocolVersion": self.version,
            "capabilities": self.capabilities,
            "clientInfo": {"name": "bridge", "version": "1"},
        }
        outcome = await self.ask("initialize", params)
        self.headers = {
            "Mcp-Session-Id": outcome.headers["mcp-session-id"],
            "MCP-Protocol-Version": outcome.result["protocolVersion"],
        }
        await self.notify("notifications/initialized")
        return outcome

    async def ask(self, method: str, params: Message | None = None, given: Given = NOTHING) -> Outcome:
        if given.level:
            await self.ask("logging/setLevel", {"level": given.level})
        meta = {"_meta": given.marked()} if given.marked() else {}
        body = {
            "jsonrpc": "2.0",
            "id": given.numbered(),
            "method": method,
            "params": {**(params or {}), **meta},
        }
        outcome = Outcome()

        async def answer(question: Message) -> None:
            told = given.reply(question)
            if told is None:
                return
            kind = "error" if "code" in told else "result"
            await self._post({"jsonrpc": "2.0", "id": question["id"], kind: told})

        headers = {**ACCEPT, **self.headers, **given.headers}
        async with self.http.stream("POST", self.url, json=body, headers=headers) as got:
            await _collect(got, outcome, answer)
        return outcome

    async def notify(self, method: str, params: Message | None = None) -> httpx.Response:
        return await self._post({"jsonrpc": "2.0", "method": method, "params": params or {}})

    async def _post(self, body: Message) -> httpx.Response:
        return await self.http.post(self.url, json=body, headers={**ACCEPT, **self.headers})

    @asynccontextmanager
    async def news(self, *uris: str) -> AsyncIterator[AsyncIterator[Message]]:
        for uri in uris:
            await self.ask("resources/subscribe", {"uri": uri})
        async with self.http.stream("GET", self.url, headers={**ACCEPT, **self.headers}) as stream:
            yield _messages(stream)


async def _collect(
    response: httpx.Response, outcome: Outcome, answer: Callable[[Message], Any] | None = None
) -> None:
    """Everything that comes for one request; questions are answered on the way."""
    outcome.status, outcome.headers, outcome.message = response.status_code, response.headers, None
    async for message in _messages(response):
        if "method" not in message:
            outcome.message = message
        elif "id" not in message:
            outcome.events.append(message)
        else:
            assert answer is not None, f"a question on the wire of an era that has none: {message}"
            outcome.asked.append(message)
            await answer(message)


async def _messages(response: httpx.Response) -> AsyncIterator[Message]:
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        body = await response.aread()
        if body:
            yield json.loads(body)
        return
    data: list[str] = []
    async for line in response.aiter_lines():
        if line.startswith("data:"):
            data.append(line.removeprefix("data:").strip())
        elif not line and data:
            # An event without data says only where to go on after a break.
            if text := "".join(data):
                yield json.loads(text)
            data = []


async def until(news: AsyncIterator[Message], method: str, within: float = 10.0) -> Message:
    """The first notification of this method."""
    with anyio.fail_after(within):
        while (message := await anext(news))["method"] != method:
            pass
    return message


async def at_once(call: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    """Twenty callers, each with a name of its own."""
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for number in range(CALLERS):
                group.start_soon(call, f"caller-{number}")
