from __future__ import annotations

import asyncio
import json
import time
import zlib

import psutil
import pytest

from libs.common.errors import DeadlineExceeded, ResultInvalid, ResultTooLarge
from services.connector.session import LINE_MAX
from tests.services.connector.http.conftest import ERAS, call, opened, text_of
from tests.services.connector.http.peer import Asked, Reply, echo, modern, serving

pytestmark = pytest.mark.anyio
MIB = 2**20


async def _pour(reply: Reply, megabytes: int, *, length: bool) -> None:
    """Send that much of a JSON string, without ever holding it."""
    head = b'{"jsonrpc":"2.0","id":1,"result":{"a":"'
    size = len(head) + megabytes * MIB
    framing = f"content-length: {size}" if length else "transfer-encoding: chunked"
    await reply.raw(f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{framing}\r\n\r\n".encode())
    send = reply.raw if length else reply.chunk
    await send(head)
    for _ in range(megabytes * 16):
        await send(b"x" * 65536)


@pytest.mark.parametrize("length", [True, False])
async def test_an_answer_over_the_bound_is_refused_in_flat_memory(*, length: bool) -> None:
    async def flood(asked: Asked, reply: Reply) -> None:
        await _pour(reply, 50, length=length)

    memory = psutil.Process().memory_info
    async with serving(modern(flood)) as peer, opened(peer.url) as session:
        with pytest.raises(ResultTooLarge):
            await call(session)
        before = memory().rss
        for _ in range(3):
            with pytest.raises(ResultTooLarge) as caught:
                await call(session)
    assert memory().rss - before < 16 * MIB
    assert caught.value.executed == "yes"


@pytest.mark.parametrize("streamed", [True, False])
async def test_an_answer_just_below_the_bound_passes(*, streamed: bool) -> None:
    async def big(asked: Asked, reply: Reply) -> None:
        room = LINE_MAX - 200
        result = {"content": [{"text": "x" * room}]}
        text = json.dumps({"jsonrpc": "2.0", "id": asked.message["id"], "result": result})
        if not streamed:
            await reply.body(text.encode())
            return
        await reply.events()
        await reply.event(text)
        await reply.end()

    async with serving(modern(big)) as peer, opened(peer.url) as session:
        assert len(text_of(await call(session))) == LINE_MAX - 200


async def test_an_endless_event_is_cut_off_in_flat_memory(era: str) -> None:
    async def flood(asked: Asked, reply: Reply) -> None:
        await reply.events()
        await reply.chunk(b"data: ")
        for _ in range(50 * 16):
            await reply.chunk(b"x" * 65536)
        await reply.chunk(b"\n\n")

    async with serving(ERAS[era](flood)) as peer, opened(peer.url) as session:
        with pytest.raises(ResultTooLarge):
            await call(session)


async def test_an_endless_stream_of_comments_ends_with_the_deadline(era: str) -> None:
    async def chatter(asked: Asked, reply: Reply) -> None:
        await reply.events()
        while True:
            await reply.chunk(b": still here\n\n")
            await asyncio.sleep(0)

    async with serving(ERAS[era](chatter)) as peer, opened(peer.url) as session:
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await call(session, within=0.2)
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("begun", [False, True])
async def test_a_server_that_stalls_costs_its_deadline_and_no_more(era: str, *, begun: bool) -> None:
    async def stall(asked: Asked, reply: Reply) -> None:
        if asked.message["params"]["arguments"]["text"] == "good":
            await echo(asked, reply)
            return
        if begun:
            await reply.raw(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{"
            )
        await reply.gone.wait()

    async with serving(ERAS[era](stall)) as peer, opened(peer.url) as session:
        with pytest.raises(DeadlineExceeded) as caught:
            await call(session, within=0.2)
        assert caught.value.executed == "unknown"
        assert text_of(await call(session, "good")) == "good"


async def test_a_call_past_its_deadline_is_not_sent() -> None:
    async with serving(modern(echo)) as peer, opened(peer.url) as session:
        with pytest.raises(DeadlineExceeded) as caught:
            await call(session, within=-1)
        assert caught.value.executed == "no"
        assert peer.messages("tools/call") == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, gzip"])
async def test_a_packed_answer_is_refused_unread(encoding: str) -> None:
    async def pack(asked: Asked, reply: Reply) -> None:
        await reply.body(zlib.compress(b"x" * 50 * MIB), content_encoding=encoding)

    async with serving(modern(pack)) as peer, opened(peer.url) as session:
        before = psutil.Process().memory_info().rss
        with pytest.raises(ResultInvalid, match="compressed"):
            await call(session)
        assert psutil.Process().memory_info().rss - before < 100 * MIB
    assert peer.asked[-1].headers["accept-encoding"] == "identity"


async def test_a_large_request_arrives_whole() -> None:
    async def measure(asked: Asked, reply: Reply) -> None:
        size = len(asked.message["params"]["arguments"]["text"])
        await reply.result(asked, {"content": [{"type": "text", "text": str(size)}]})

    async with serving(modern(measure)) as peer, opened(peer.url) as session:
        assert text_of(await call(session, "x" * 4 * MIB)) == str(4 * MIB)
