"""One bad answer is the end of one call: on every transport, those beside it and after it are answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from libs.common.errors import DeadlineExceeded, DownstreamLost, NexusError, ResultInvalid, ResultTooLarge
from services.connector.http import HttpSession
from services.connector.session import LINE_MAX, Session
from services.connector.sse import SseSession
from tests.services.connector import parts
from tests.services.connector.http.conftest import ERAS, Heard, call, opened, server, text_of
from tests.services.connector.http.peer import Asked, Reply, Script, echo, serving

pytestmark = pytest.mark.anyio

GOOD = 8
"""Calls that wait for their answers while one beside them goes wrong."""
MUCH = LINE_MAX + 1
BAD: dict[str, tuple[str, type[NexusError]]] = {
    "broken JSON": ('{"jsonrpc":"2.0","id":ID,"result":{"content":[}', ResultInvalid),
    "not UTF-8": ('{"jsonrpc":"2.0","id":ID,"result":{"text":"\xff"}}', ResultInvalid),
    "no result": ('{"jsonrpc":"2.0","id":ID}', ResultInvalid),
    "too long": ('{"jsonrpc":"2.0","id":ID,"result":{"text":"MUCH"}}', ResultTooLarge),
    "of another call": ('{"jsonrpc":"2.0","id":99999,"result":{}}', DeadlineExceeded),
    "no JSON-RPC": ("<html>", DeadlineExceeded),
}
"""What a server sends in the place of an answer, and how the call ends on a stream that all calls share."""
TWICE = '{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"first"}]}}'


def spoilt(line: str, number: object) -> bytes:
    return line.replace("ID", str(number)).replace("MUCH", "x" * MUCH).encode("latin-1")


@dataclass
class Gate:
    """Holds good answers back until the bad one is over, and that one until all are in flight."""

    waiting: int = 0
    together: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def script(self, bad: Script) -> Script:
        async def answer(asked: Asked, reply: Reply) -> None:
            text = asked.message["params"]["arguments"]["text"]
            if text == "bad":
                await self.together.wait()
                await bad(asked, reply)
                return
            self.waiting += 1
            if self.waiting == GOOD:
                self.together.set()
            await self.over.wait()
            await echo(asked, reply)

        return answer


async def survive(session: Session, gate: Gate, bad: Callable[[], Awaitable[object]]) -> None:
    """Run a bad call beside good ones, which all are answered, and one after it."""
    with anyio.fail_after(20):
        good = [asyncio.ensure_future(call(session, str(number), within=20)) for number in range(GOOD)]
        await bad()
        assert not any(each.done() for each in good)
        gate.over.set()
        assert [text_of(await each) for each in good] == [str(number) for number in range(GOOD)]
        assert text_of(await call(session, "after")) == "after"
    assert not session.lost.done()


def failing(session: Session, kind: type[NexusError]) -> Callable[[], Awaitable[object]]:
    async def bad() -> None:
        with pytest.raises(kind):
            await call(session, "bad", within=1 if kind is DeadlineExceeded else 20)

    return bad


async def reset(asked: Asked, reply: Reply) -> None:
    reply.drop()


def status(code: int) -> Script:
    async def answer(asked: Asked, reply: Reply) -> None:
        await reply.body(b"<html>oops", "text/html", status=code)

    return answer


def body(line: str, kind: str = "application/json") -> Script:
    async def answer(asked: Asked, reply: Reply) -> None:
        data = spoilt(line, asked.message["id"])
        if kind == "application/json":
            await reply.body(data)
        else:
            await reply.events()
            await reply.chunk(b"data: " + data + b"\n\n")
            await reply.end()

    return answer


HTTP: dict[str, tuple[Script, type[NexusError]]] = {
    "500": (status(500), DownstreamLost),
    "502": (status(502), DownstreamLost),
    "reset": (reset, DownstreamLost),
} | {
    f"{name} as {kind}": (body(line, kind), ResultInvalid if error is DeadlineExceeded else error)
    for name, (line, error) in BAD.items()
    for kind in ("application/json", "text/event-stream")
}


@pytest.mark.parametrize("fault", HTTP)
@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_bad_answer_over_http_fails_its_call_alone(era: str, fault: str) -> None:
    gate = Gate()
    answer, kind = HTTP[fault]
    async with serving(ERAS[era](gate.script(answer))) as peer, opened(peer.url) as session:
        await survive(session, gate, failing(session, kind))
        assert isinstance(session, HttpSession)
        assert len(peer.messages("initialize")) == (1 if era == "legacy" else 0)


async def test_of_two_answers_over_http_the_first_counts() -> None:
    async def twice(asked: Asked, reply: Reply) -> None:
        await reply.events()
        for text in ("first", "second"):
            line = spoilt(TWICE, asked.message["id"]).replace(b"first", text.encode())
            await reply.chunk(b"data: " + line + b"\n\n")
        await reply.end()

    gate = Gate()
    async with serving(ERAS["legacy"](gate.script(twice))) as peer, opened(peer.url) as session:

        async def bad() -> None:
            assert text_of(await call(session, "bad")) == "first"

        await survive(session, gate, bad)


@dataclass
class Stream:
    """A server of the older transport: `bad` gets the POST of a bad call, and the stream to spoil."""

    gate: Gate
    bad: Script
    stream: Reply | None = None

    async def serve(self, asked: Asked, reply: Reply) -> None:
        if asked.verb == "GET":
            self.stream = reply
            await reply.events()
            await reply.event("/messages", "endpoint")
            await reply.gone.wait()
        elif asked.message.get("method") == "initialize":
            await reply.body(b"", "text/plain", status=202)
            info = {"protocolVersion": "2024-11-05", "capabilities": {}, "serverInfo": {"name": "peer"}}
            await self.say({"jsonrpc": "2.0", "id": asked.message["id"], "result": info})
        elif asked.message.get("method") == "tools/call":
            await self.answer(asked, reply)
        else:
            await reply.body(b"", "text/plain", status=202)

    async def answer(self, asked: Asked, reply: Reply) -> None:
        if asked.message["params"]["arguments"]["text"] == "bad":
            await self.gate.together.wait()
            await self.bad(asked, reply)
            return
        await reply.body(b"", "text/plain", status=202)
        assert self.stream is not None
        await self.gate.script(echo)(asked, Told(self.stream))

    async def say(self, message: object) -> None:
        assert self.stream is not None
        await self.stream.event(message)

    async def spoil(self, asked: Asked, reply: Reply, *lines: str) -> None:
        await reply.body(b"", "text/plain", status=202)
        assert self.stream is not None
        for line in lines:
            await self.stream.chunk(b"data: " + spoilt(line, asked.message["id"]) + b"\n\n")


class Told(Reply):
    """An answer that becomes an event of the one stream."""

    def __init__(self, stream: Reply) -> None:
        super().__init__(stream.writer)
        self.stream = stream

    async def body(
        self, data: bytes, kind: str = "application/json", status: int = 200, **headers: str
    ) -> None:
        await self.stream.event(data.decode())


@asynccontextmanager
async def streaming(stream: Stream) -> AsyncIterator[SseSession]:
    async with serving(stream.serve) as peer:
        session = SseSession(server(peer.url), {}, Heard())
        await session.open()
        try:
            yield session
        finally:
            await session.close()


@pytest.mark.parametrize("fault", BAD)
async def test_a_bad_answer_over_sse_fails_its_call_alone(fault: str) -> None:
    line, kind = BAD[fault]
    gate = Gate()
    stream = Stream(gate, lambda asked, reply: stream.spoil(asked, reply, line))
    async with streaming(stream) as session:
        await survive(session, gate, failing(session, kind))


@pytest.mark.parametrize("answer", [status(500), status(502), reset])
async def test_a_post_that_fails_over_sse_fails_its_call_alone(answer: Script) -> None:
    gate = Gate()
    async with streaming(Stream(gate, answer)) as session:
        await survive(session, gate, failing(session, DownstreamLost))


async def test_of_two_answers_over_sse_the_first_counts() -> None:
    gate = Gate()
    second = TWICE.replace("first", "second")
    stream = Stream(gate, lambda asked, reply: stream.spoil(asked, reply, TWICE, second))
    async with streaming(stream) as session:

        async def bad() -> None:
            assert text_of(await call(session, "bad")) == "first"

        await survive(session, gate, bad)


@pytest.mark.parametrize("fault", [*BAD, "twice"])
async def test_a_bad_answer_over_a_pipe_fails_its_call_alone(fault: str) -> None:
    line, kind = BAD.get(fault, (f"{TWICE}\n{TWICE.replace('first', 'second')}", DeadlineExceeded))
    waiting: dict[str, Any] = {"together": GOOD + 1, "levels": []}
    async with parts.running(parts.child()) as session:
        with anyio.fail_after(30):
            good = [
                asyncio.ensure_future(parts.use(session, "log", mark=number, **waiting))
                for number in range(GOOD)
            ]
            bad = parts.use(session, "garbage", 1 if kind is DeadlineExceeded else 20, raw=line, much=MUCH)
            if fault == "twice":
                assert await bad == "first"
            else:
                with pytest.raises(kind):
                    await bad
            assert not any(each.done() for each in good)
            assert await parts.use(session, "log", mark="last", **waiting) == "[]"
            assert [await each for each in good] == ["[]"] * GOOD
        assert not session.lost.done()
