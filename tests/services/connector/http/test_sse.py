from __future__ import annotations

import asyncio
import json

import anyio
import pytest

from libs.common.errors import DownstreamLost, NotSent, Refused, ResultTooLarge, ServerUnavailable
from services.connector.session import LINE_MAX
from services.connector.sse import SseSession
from tests.services.connector.http.conftest import Heard, call, server, text_of
from tests.services.connector.http.peer import Asked, Reply, Script, echo, serving

pytestmark = pytest.mark.anyio


class Bus(Reply):
    """The one event stream of an SSE server: what is sent as a body becomes an event of it."""

    def __init__(self) -> None:
        self.endpoint = "/messages?session=7"
        self.stream: Reply | None = None
        self.gone = asyncio.Event()

    async def body(
        self, data: bytes, kind: str = "application/json", status: int = 200, **headers: str
    ) -> None:
        assert self.stream is not None
        await self.stream.event(data.decode())


def sse(bus: Bus, answer: Script) -> Script:
    """An SSE server: GET opens the stream, POSTs are taken with 202 and answered on it."""

    async def script(asked: Asked, reply: Reply) -> None:
        if asked.verb == "GET":
            bus.stream = reply
            await reply.events()
            await reply.event(bus.endpoint, "endpoint")
            await reply.gone.wait()
            return
        if asked.path == "/mcp":
            await reply.body(b"", "text/plain", status=405)
            return
        await reply.body(b"", "text/plain", status=202)
        if asked.message.get("method") == "initialize":
            info = {"protocolVersion": "2024-11-05", "capabilities": {}, "serverInfo": {"name": "peer"}}
            await bus.result(asked, info)
        elif "id" in asked.message and "method" in asked.message:
            await answer(asked, bus)

    return script


async def open_at(url: str, **keys: object) -> SseSession:
    session = SseSession(server(url, **keys), {"authorization": "Bearer t"}, Heard())
    await session.open()
    return session


async def test_calls_are_posted_and_answered_on_the_stream() -> None:
    async with serving(sse(Bus(), echo)) as peer:
        session = await open_at(peer.url)
        results = await asyncio.gather(*(call(session, str(number)) for number in range(30)))
        assert [text_of(result) for result in results] == [str(number) for number in range(30)]
        posts = [asked for asked in peer.asked if asked.verb == "POST"]
        assert {asked.path for asked in posts} == {"/messages?session=7"}
        assert {asked.headers["authorization"] for asked in peer.asked} == {"Bearer t"}
        assert peer.messages("server/discover") == []
        await session.close()


async def test_an_endpoint_at_another_origin_is_refused_before_anything_is_sent() -> None:
    async with serving(sse(Bus(), echo)) as spy:
        bus = Bus()
        bus.endpoint = f"http://127.0.0.1:{spy.port}/messages"
        async with serving(sse(bus, echo)) as peer:
            with pytest.raises(ServerUnavailable, match="another origin") as caught:
                await open_at(peer.url)
        assert str(spy.port) not in caught.value.message
        assert spy.connections == 0


@pytest.mark.parametrize(
    "endpoint", ["//127.0.0.1.evil.example/x", "http://[bad", "https:///", "file:///etc/passwd"]
)
async def test_an_odd_endpoint_is_refused(endpoint: str) -> None:
    bus = Bus()
    bus.endpoint = endpoint
    async with serving(sse(bus, echo)) as peer:
        with pytest.raises(ServerUnavailable, match=r"endpoint|origin"):
            await open_at(peer.url)


async def test_a_configured_message_url_is_used_whatever_the_server_says() -> None:
    bus = Bus()
    bus.endpoint = "http://elsewhere.example/messages"
    async with serving(sse(bus, echo)) as peer:
        session = await open_at(peer.url, message_url=f"http://127.0.0.1:{peer.port}/mine")
        assert text_of(await call(session, "x")) == "x"
        assert {asked.path for asked in peer.asked if asked.verb == "POST"} == {"/mine"}
        await session.close()


async def test_the_end_of_the_stream_loses_the_session_and_its_calls() -> None:
    bus = Bus()

    async def hang_up(asked: Asked, reply: Reply) -> None:
        assert bus.stream is not None
        await bus.stream.end()

    async with serving(sse(bus, hang_up)) as peer:
        session = await open_at(peer.url)
        with pytest.raises(DownstreamLost, match="closed its event stream") as caught:
            await call(session)
        assert caught.value.executed == "unknown"
        with anyio.fail_after(5):
            assert "closed its event stream" in await session.lost
        with pytest.raises(NotSent):
            await call(session)
        await session.close()


async def test_a_post_that_is_refused_fails_its_call_only() -> None:
    bus = Bus()

    async def script(asked: Asked, reply: Reply) -> None:
        if asked.verb == "POST" and asked.message.get("params", {}).get("arguments") == {"text": "bad"}:
            await reply.body(b"", "text/plain", status=403)
        else:
            await sse(bus, echo)(asked, reply)

    async with serving(script) as peer:
        session = await open_at(peer.url)
        with pytest.raises(Refused, match="HTTP 403"):
            await call(session, "bad")
        assert text_of(await call(session, "good")) == "good"
        await session.close()


async def test_an_answer_over_the_bound_fails_its_call_only() -> None:
    bus = Bus()

    async def answer(asked: Asked, reply: Reply) -> None:
        if asked.message["params"]["arguments"]["text"] != "big":
            await echo(asked, reply)
            return
        assert bus.stream is not None
        head = json.dumps({"jsonrpc": "2.0", "id": asked.message["id"]})[:-1]
        await bus.stream.chunk(f'data: {head}, "result": {{"a": "'.encode())
        for _ in range(LINE_MAX // 65536 + 1):
            await bus.stream.chunk(b"x" * 65536)
        await bus.stream.chunk(b'"}}\n\n')

    async with serving(sse(bus, answer)) as peer:
        session = await open_at(peer.url)
        with pytest.raises(ResultTooLarge):
            await call(session, "big")
        assert text_of(await call(session, "x")) == "x"
        await session.close()


async def test_a_cancelled_call_is_told_to_the_server() -> None:
    async def wait(asked: Asked, reply: Reply) -> None:
        await asyncio.sleep(0)

    async with serving(sse(Bus(), wait)) as peer:
        session = await open_at(peer.url)
        calling = asyncio.ensure_future(call(session))
        await peer.until(lambda: bool(peer.messages("tools/call")))
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        await peer.until(lambda: bool(peer.messages("notifications/cancelled")))
        await session.close()


async def test_a_server_that_never_names_its_endpoint_costs_the_start_timeout() -> None:
    async def mute(asked: Asked, reply: Reply) -> None:
        await reply.events()
        await reply.gone.wait()

    async with serving(mute) as peer:
        with anyio.fail_after(3), pytest.raises(ServerUnavailable, match="did not answer within 0"):
            await open_at(peer.url, start_timeout="200ms")


async def test_a_dead_server_is_unavailable() -> None:
    async with serving(sse(Bus(), echo)) as peer:
        url = peer.url
    with pytest.raises(ServerUnavailable, match="refused the connection"):
        await open_at(url)
