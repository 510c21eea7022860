"""Servers reached by HTTP that refuse, lie, stall or never stop: said plainly, and nobody else notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.broker import free_port
from tests.services.connector.http.peer import Asked, Reply, Script, legacy, serving
from tests.system.gateway import Gateway, Server
from tests.system.parts import witness
from tests.system.wire import execute, text, verdict

pytestmark = [pytest.mark.anyio, pytest.mark.system]

TOOLS = {
    "tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ("echo", "stall", "endless")]
}
SAID = {
    "refused": "refused",
    "unauthorized": "401",
    "absent": "404",
    "website": "text/html",
    "slow": "did not answer within 1 s",
    "endless": "longer than",
}
"""What the readiness page says of each server that cannot be used."""


async def _unauthorized(asked: Asked, reply: Reply) -> None:
    await reply.json({"error": "the token secret-of-theirs has expired"}, status=401)


async def _absent(asked: Asked, reply: Reply) -> None:
    await reply.json({}, status=404)


async def _website(asked: Asked, reply: Reply) -> None:
    await reply.body(b"<html>Welcome to our shop</html>", "text/html")


async def _slow(asked: Asked, reply: Reply) -> None:
    await reply.gone.wait()


async def _endless(asked: Asked, reply: Reply) -> None:
    """A JSON answer that never ends."""
    await reply.raw(b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
    while not reply.gone.is_set():
        await reply.chunk(b" " * 65536)


async def _calls(asked: Asked, reply: Reply) -> None:
    """A server that is fine until one of its bad tools is called."""
    if asked.message["method"] == "tools/list":
        await reply.result(asked, TOOLS)
        return
    match asked.message["params"]["name"]:
        case "stall":
            await reply.gone.wait()
        case "endless":
            await _endless(asked, reply)
        case _:
            await reply.result(asked, {"content": [{"type": "text", "text": "fine"}]})


SCRIPTS: dict[str, Script] = {
    "unauthorized": _unauthorized,
    "absent": _absent,
    "website": _website,
    "slow": _slow,
    "endless": _endless,
    "moody": legacy(_calls),
}


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with AsyncExitStack() as stack:
        urls = {
            name: (await stack.enter_async_context(serving(script))).url for name, script in SCRIPTS.items()
        }
        urls["refused"] = f"http://127.0.0.1:{free_port()}/mcp"
        servers: dict[str, Server] = {name: {"url": url, "start_timeout": 1} for name, url in urls.items()}
        servers["moody"] = {"url": urls["moody"], "timeout": 1}
        servers["fine"] = witness()
        folder = tmp_path_factory.mktemp("remote")
        yield await stack.enter_async_context(Gateway(folder, servers, needs=("fine", "moody")))


@pytest.mark.parametrize("name", SAID)
async def test_a_server_that_cannot_be_used_is_reported_with_its_reason(gateway: Gateway, name: str) -> None:
    page = await gateway.until(lambda page: page["servers"][name]["state"] == "failed", 15)
    assert SAID[name] in page["servers"][name]["error"].lower(), page["servers"][name]["error"]
    assert "secret-of-theirs" not in str(page)
    assert text(await execute(gateway.url, "fine__echo")) == "{}"


async def test_a_call_that_a_server_never_answers_ends_at_its_deadline(gateway: Gateway) -> None:
    started = time.monotonic()
    answer = await execute(gateway.url, "moody__stall")
    assert verdict(answer) == "unknown"
    assert 0.9 < time.monotonic() - started < 2.5
    assert text(await execute(gateway.url, "moody__echo")) == "fine"


async def test_an_answer_without_an_end_is_cut_off_and_costs_no_memory(gateway: Gateway) -> None:
    (connector,) = gateway.services("connector")
    before = connector.memory_info().rss
    answers = await asyncio.gather(*(execute(gateway.url, "moody__endless") for _ in range(4)))
    assert {verdict(answer) for answer in answers} <= {"yes", "unknown"}
    assert connector.memory_info().rss - before < 100 * 2**20
    assert text(await execute(gateway.url, "moody__echo")) == "fine"
