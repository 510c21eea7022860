"""What only a raw socket can send."""

from __future__ import annotations

from urllib.parse import urlsplit

import anyio
import pytest

from libs.common.codec import encode
from tests.services.edge.conftest import Edge, modern_body, modern_headers, running

pytestmark = pytest.mark.anyio

BODY = encode(modern_body("tools/call", name="execute", arguments={"name": "demo__echo", "arguments": {}}))


def head(*lines: str, host: str = "Host: localhost", **changed: str) -> bytes:
    headers = modern_headers("tools/call", "execute") | changed
    sent = ["POST /mcp HTTP/1.1", host, *(f"{name}: {value}" for name, value in headers.items()), *lines]
    return "\r\n".join([*sent, "", ""]).encode("latin-1")


LENGTH = f"Content-Length: {len(BODY)}"


async def send(edge: Edge, *parts: bytes) -> bytes:
    """All the bytes that come back until the server closes, or until one whole response is there."""
    address = urlsplit(edge.url)
    with anyio.fail_after(5):
        async with await anyio.connect_tcp(address.hostname or "", address.port or 0) as stream:
            for part in parts:
                await stream.send(part)
            received = b""
            while not (b"}}" in received or received.endswith(b"0\r\n\r\n")):
                try:
                    received += await stream.receive()
                except anyio.EndOfStream:
                    break
            return received


async def closed(edge: Edge, *parts: bytes) -> bytes:
    """All the bytes that come back; the server has to close."""
    address = urlsplit(edge.url)
    with anyio.fail_after(5):
        async with await anyio.connect_tcp(address.hostname or "", address.port or 0) as stream:
            for part in parts:
                await stream.send(part)
            received = b""
            async for chunk in stream:
                received += chunk
            return received


async def test_white_space_around_header_values_is_no_part_of_them(edge: Edge) -> None:
    answer = await send(edge, head(LENGTH, **{"mcp-name": " \texecute \t"}) + BODY)
    assert answer.startswith(b"HTTP/1.1 200")


async def test_a_body_in_chunks_and_pieces_is_put_together(edge: Edge) -> None:
    pieces = [BODY[at : at + 50] for at in range(0, len(BODY), 50)]
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    answer = await send(edge, head("Transfer-Encoding: chunked"), *chunks, b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")


async def test_a_declared_body_over_the_cap_is_refused_before_it_is_sent() -> None:
    async with running(max_body_size=1000) as edge:
        answer = await closed(edge, head("Content-Length: 1001"))
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"1000 bytes" in answer


async def test_a_chunked_body_over_the_cap_is_refused_while_it_is_sent() -> None:
    async with running(max_body_size=1000) as edge:
        answer = await closed(edge, head("Transfer-Encoding: chunked"), b"3e9\r\n" + b" " * 1001 + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 413")


async def test_a_body_of_exactly_the_cap_is_served() -> None:
    async with running(max_body_size=len(BODY)) as edge:
        assert (await send(edge, head(LENGTH) + BODY)).startswith(b"HTTP/1.1 200")


async def test_a_body_that_does_not_arrive_in_time_is_given_up() -> None:
    async with running(body_timeout=0.05) as edge:
        answer = await closed(edge, head(LENGTH) + BODY[:10])
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"connection: close" in answer


async def test_a_client_that_leaves_within_its_body_reaches_nobody(edge: Edge) -> None:
    address = urlsplit(edge.url)
    async with await anyio.connect_tcp(address.hostname or "", address.port or 0) as stream:
        await stream.send(head(LENGTH) + BODY[:10])
    assert (await edge.modern("tools/list")).status_code == 200
    assert edge.gateway.seen == []


@pytest.mark.parametrize("host", ["Host: localhost\r\nHost: localhost", "X-No: host", "Host:"])
async def test_a_request_has_exactly_one_host(edge: Edge, host: str) -> None:
    answer = await closed(edge, head(LENGTH, host=host) + BODY)
    assert answer[9:12] in (b"400", b"421")
    assert edge.gateway.seen == []


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        ((LENGTH, "Transfer-Encoding: chunked"), b"0\r\n\r\n"),
        ((LENGTH, LENGTH), BODY),
        ((LENGTH, "Content-Length: 1"), BODY),
        (("Transfer-Encoding: xchunked",), b"0\r\n\r\n"),
        (("Content-Length: -1",), BODY),
        (("Content-Length: " + "9" * 5000,), BODY),
        (("Content-Length: 1_0",), BODY),
        ((LENGTH, "Bad Name: x"), BODY),
        ((LENGTH, "X-Nul: a\0b"), BODY),
    ],
)
async def test_ambiguous_framing_is_refused_and_the_connection_closed(
    edge: Edge, lines: tuple[str, ...], body: bytes
) -> None:
    second = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = await closed(edge, head(*lines) + body + second)
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1
    assert edge.gateway.seen == []
