from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from libs.common.config import InsertHeader
from libs.common.errors import ServerUnavailable
from services.connector import detect
from tests.services.connector.http.conftest import Heard, call, server, text_of
from tests.services.connector.http.peer import Asked, Reply, Script, echo, legacy, modern, serving
from tests.services.connector.http.test_sse import Bus, sse

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def connected(url: str, **keys: Any) -> AsyncIterator[detect.HttpKind]:
    session, _ = await detect.connect(server(url, **keys), Heard())
    try:
        yield session
    finally:
        await session.close()


def answering(status: int, kind: str = "text/plain", body: bytes = b"x") -> Script:
    async def script(asked: Asked, reply: Reply) -> None:
        await reply.body(body, kind, status=status)

    return script


@pytest.mark.parametrize(("script", "era"), [(modern(echo), "modern"), (legacy(echo), "legacy")])
async def test_the_newer_transport_is_preferred(script: Script, era: str) -> None:
    async with serving(script) as peer:
        session, opened = await detect.connect(server(peer.url), Heard())
        assert (session.kind, opened.era) == ("streamable-http", era)
        await session.close()


@pytest.mark.parametrize("status", [400, 404, 405, 406])
async def test_a_server_that_takes_no_post_is_tried_by_sse(status: int) -> None:
    bus = Bus()

    async def script(asked: Asked, reply: Reply) -> None:
        if asked.verb == "POST" and asked.path == "/mcp":
            await reply.body(b"", "text/plain", status=status)
        else:
            await sse(bus, echo)(asked, reply)

    async with serving(script) as peer, connected(peer.url) as session:
        assert session.kind == "sse"
        assert text_of(await call(session, "x")) == "x"


async def test_a_server_that_answers_with_a_page_is_tried_by_sse_and_both_reasons_are_told() -> None:
    async with serving(answering(200, "text/html")) as peer:
        with pytest.raises(ServerUnavailable) as caught:
            await detect.connect(server(peer.url), Heard())
    assert "by Streamable HTTP" in caught.value.message
    assert "by SSE" in caught.value.message
    assert "127.0.0.1" not in caught.value.message


@pytest.mark.parametrize("status", [401, 403, 429, 307, 500])
async def test_a_refusal_that_says_nothing_of_transports_ends_it(status: int) -> None:
    async with serving(answering(status)) as peer:
        with pytest.raises(ServerUnavailable, match=f"HTTP {status}"):
            await detect.connect(server(peer.url), Heard())
        assert all(asked.verb == "POST" for asked in peer.asked)


async def test_a_refused_connection_ends_it() -> None:
    async with serving(answering(200)) as peer:
        url = peer.url
    with pytest.raises(ServerUnavailable, match="refused the connection"):
        await detect.connect(server(url), Heard())


async def test_a_name_that_does_not_resolve_is_named_so_without_the_name() -> None:
    with pytest.raises(ServerUnavailable, match="cannot be resolved") as caught:
        await detect.connect(server("http://no-such-host.invalid/mcp"), Heard())
    assert "no-such-host" not in caught.value.message


async def test_a_configured_protocol_is_the_only_one_tried() -> None:
    async with serving(answering(405)) as peer:
        with pytest.raises(ServerUnavailable):
            await detect.connect(server(peer.url, protocol="streamable-http"), Heard())
        assert {asked.verb for asked in peer.asked} == {"POST"}
        peer.asked.clear()
        with pytest.raises(ServerUnavailable, match="event stream"):
            await detect.connect(server(peer.url, protocol="sse"), Heard())
        assert {asked.verb for asked in peer.asked} == {"GET"}


async def test_a_message_url_means_sse() -> None:
    bus = Bus()
    async with serving(sse(bus, echo)) as peer:
        url = peer.url.replace("/mcp", "/messages")
        session, _ = await detect.connect(server(peer.url, message_url=url), Heard())
        assert session.kind == "sse"
        await session.close()


async def test_a_silent_server_costs_the_start_timeout() -> None:
    async def silent(asked: Asked, reply: Reply) -> None:
        await reply.gone.wait()

    async with serving(silent) as peer:
        with anyio.fail_after(3), pytest.raises(ServerUnavailable, match="did not answer within 0"):
            await detect.connect(server(peer.url, start_timeout="300ms"), Heard())


async def test_headers_are_laid_in_order_token_rules_own_rules() -> None:
    def rule(name: str, value: str) -> InsertHeader:
        return InsertHeader(rule="insert", name=name, value=SecretStr(value))

    own = [{"rule": "insert", "name": "X-B", "value": "own"}]
    async with serving(modern(echo)) as peer:
        config = server(peer.url, auth={"token": "t"}, headers=own)
        rules = [rule("X-A", "global"), rule("x-b", "global")]
        session, _ = await detect.connect(config, Heard(), rules=rules)
        await session.close()
        headers = peer.asked[0].headers
        assert (headers["authorization"], headers["x-a"], headers["x-b"]) == ("Bearer t", "global", "own")
