"""Connections with bounds, on real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.edge.wire import HEADER_MAX, Bounds, bounded

pytestmark = pytest.mark.anyio

ASK = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def serving(bounds: Bounds, app: ASGIApp | None = None) -> AsyncIterator[int]:
    """The port of a server that answers 204."""
    config = uvicorn.Config(
        app or Response(status_code=204),
        http=bounded(bounds),
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def asked(port: int, text: bytes = ASK) -> bytes:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(text)
        return await stream.receive()


async def closed(stream: anyio.abc.SocketStream) -> None:
    """Return when the server has closed the connection."""
    try:
        while True:
            await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return


@asynccontextmanager
async def connections(port: int, number: int) -> AsyncIterator[list[anyio.abc.SocketStream]]:
    streams = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(number)]
    try:
        yield streams
    finally:
        for stream in streams:
            await stream.aclose()


async def test_a_client_that_says_nothing_is_sent_away() -> None:
    async with serving(Bounds(10, 10, 0.2)) as port, connections(port, 1) as (stream,):
        with anyio.fail_after(5):
            await closed(stream)


async def test_a_header_that_drips_in_is_cut_off_and_others_are_served() -> None:
    bounds = Bounds(100, 100, 0.5)
    async with serving(bounds) as port, connections(port, 50) as streams:
        with anyio.fail_after(10):
            for stream in streams:
                await stream.send(b"GET / HTTP/1.1\r\nHost:")
            assert (await asked(port)).startswith(b"HTTP/1.1 204")
            for stream in streams:
                await closed(stream)
            while bounds.open:
                await asyncio.sleep(0.01)
    assert not bounds.by_address


async def test_a_kept_connection_may_be_idle_for_longer_than_a_header_takes() -> None:
    async with serving(Bounds(10, 10, 0.2)) as port, connections(port, 1) as (stream,):
        with anyio.fail_after(5):
            for _ in range(2):
                await stream.send(ASK)
                assert (await stream.receive()).startswith(b"HTTP/1.1 204")
                await asyncio.sleep(0.3)


async def test_no_header_is_endless() -> None:
    async with serving(Bounds(10, 10, 30)) as port, connections(port, 1) as (stream,):
        with anyio.fail_after(5):
            await stream.send(b"GET / HTTP/1.1\r\nX-A: " + b"a" * (HEADER_MAX + 1))
            assert (await stream.receive()).startswith(b"HTTP/1.1 400")
            await closed(stream)


@pytest.mark.parametrize("bounds", [Bounds(3, 100, 30), Bounds(100, 3, 30)], ids=["total", "address"])
async def test_more_connections_than_the_bound_are_closed(bounds: Bounds) -> None:
    async with serving(bounds) as port:
        async with connections(port, 4) as streams:
            with anyio.fail_after(5):
                await closed(streams[3])
            assert bounds.open == 3
        with anyio.fail_after(5):
            while bounds.open:
                await asyncio.sleep(0.01)
            assert (await asked(port)).startswith(b"HTTP/1.1 204")


async def test_connections_of_a_proxy_are_not_counted_one_by_one() -> None:
    bounds = Bounds(100, 1, 30, exempt=lambda address: address == "127.0.0.1")
    async with serving(bounds) as port, connections(port, 5) as streams:
        with anyio.fail_after(5):
            for stream in streams:
                await stream.send(ASK)
                assert (await stream.receive()).startswith(b"HTTP/1.1 204")


async def poured(stream: anyio.abc.SocketStream, part: bytes) -> None:
    while True:
        await stream.send(part)


CHUNKED = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("start", "part"),
    [
        (b"1\r\nx\r\n0\r\n", b"x-trailer: " + b"a" * 1000 + b"\r\n"),
        (b"0\r\nx-trailer: ", b"a" * 1000),
        (b"1;extension=", b"a" * 1000),
    ],
    ids=["many", "long", "extension"],
)
async def test_what_stands_around_a_body_is_not_endless(start: bytes, part: bytes) -> None:
    async with serving(Bounds(10, 10, 5)) as port, connections(port, 1) as (stream,):
        await stream.send(CHUNKED + start)
        with anyio.fail_after(5), pytest.raises(anyio.BrokenResourceError):
            await poured(stream, part * 64)


async def test_trailers_are_no_headers_and_a_body_may_have_them() -> None:
    seen: list[tuple[int, list[str]]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        seen.append((len(body), [name.decode() for name, _ in scope["headers"]]))
        await Response(status_code=204)(scope, receive, send)

    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    text = CHUNKED + chunk * 4 + b"0\r\nauthorization: late\r\n\r\n"
    async with serving(Bounds(10, 10, 5), app) as port:
        assert (await asked(port, text)).startswith(b"HTTP/1.1 204")
    assert seen == [(4 * 65536, ["host", "transfer-encoding"])]


def test_a_network_of_version_6_counts_as_one_address() -> None:
    bounds = Bounds(10, 2, 1)
    assert [bounds.enter(f"2001:db8:1:2::{host}") for host in range(3)] == [True, True, False]
    assert bounds.enter("2001:db8:1:3::1")
    bounds.leave("2001:db8:1:2::1")
    assert bounds.enter("2001:db8:1:2::9")
