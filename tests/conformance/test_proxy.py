"""The balancer of the conformance run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.broker import free_port
from tests.conformance.proxy import Proxy, closing

pytestmark = pytest.mark.anyio

REQUEST = b"POST /mcp HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi"


class Replica:
    """Takes one request a connection, says the first half of an answer, and the rest when it may."""

    def __init__(self) -> None:
        self.port = free_port()
        self.heads: list[bytes] = []
        self.rest = asyncio.Event()
        self.left = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        assert await reader.readexactly(2) == b"hi"
        writer.write(b"HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n")
        waiting = asyncio.create_task(self.rest.wait())
        going = asyncio.create_task(reader.read())
        await asyncio.wait({waiting, going}, return_when=asyncio.FIRST_COMPLETED)
        if going.done():
            self.left.set()
        else:
            writer.write(b"data: 2\n\n")
        for task in (waiting, going):
            task.cancel()
        writer.close()


@asynccontextmanager
async def balanced() -> AsyncIterator[tuple[Proxy, list[Replica]]]:
    """A proxy before two replicas."""
    replicas = [Replica(), Replica()]
    servers = [await asyncio.start_server(each.serve, "127.0.0.1", each.port) for each in replicas]
    try:
        async with Proxy([each.port for each in replicas], free_port()) as proxy:
            yield proxy, replicas
    finally:
        for server in servers:
            server.close()
            await server.wait_closed()


async def test_requests_go_to_the_replicas_in_turn_with_the_host_of_the_client() -> None:
    async with balanced() as (proxy, replicas):
        with anyio.fail_after(5):
            for replica in replicas * 2:
                replica.rest.set()
                reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
                writer.write(REQUEST)
                assert (await reader.read()).endswith(b"data: 1\n\ndata: 2\n\n")
                writer.close()
        assert [len(each.heads) for each in replicas] == [2, 2]
        assert b"\r\nHost: example.com\r\n" in replicas[0].heads[0]
        assert proxy.served == {replica.port: 2 for replica in replicas}


async def test_an_event_arrives_while_the_response_is_still_open() -> None:
    async with balanced() as (proxy, replicas):
        with anyio.fail_after(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            writer.write(REQUEST)
            assert await reader.readuntil(b"1\n\n")
            replicas[0].rest.set()
            assert await reader.read() == b"data: 2\n\n"
            writer.close()


async def test_a_client_that_leaves_is_gone_for_the_replica_as_well() -> None:
    async with balanced() as (proxy, replicas):
        with anyio.fail_after(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            writer.write(REQUEST)
            assert await reader.readuntil(b"1\n\n")
            writer.close()
            await replicas[0].left.wait()


def test_only_the_connection_header_of_a_request_is_changed() -> None:
    assert closing(b"GET / HTTP/1.1\r\nConnection: keep-alive\r\nA: b\r\n\r\n") == (
        b"GET / HTTP/1.1\r\nA: b\r\nConnection: close\r\n\r\n"
    )
