"""CPU of one POST with a JSON answer, for each HTTP client a connector could use.

    python -m benchmarks.downstream_http

Measures this process only (all its threads) against a plain uvicorn app in another one. Clients that are not
installed are left out. The last column tells whether cancelling a call that waits for its answer closes the
connection, which is how a modern MCP server learns that nobody waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import uvloop

from libs.common import codec
from libs.common.config import HttpServer
from libs.common.messages.calls import Client
from services.connector.http import HttpSession

CALLS = 3000
ROUNDS = 3
IN_FLIGHT = (1, 16, 32)
HEADERS = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "accept-encoding": "identity",
    "mcp-protocol-version": "2025-11-25",
    "mcp-session-id": "0123456789abcdef0123456789abcdef",
}
BODY = b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}'

Post = Callable[[], Awaitable[Any]]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """A server that answers at once: discovery, and any call."""
    if scope["type"] != "http":
        return
    body = (await receive())["body"]
    number = body.partition(b'"id":')[2].partition(b",")[0]
    result = b'{"content":[{"type":"text","text":"hello"}],"isError":false}'
    if b'"server/discover"' in body:
        result = b'{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}'
    answer = b'{"jsonrpc":"2.0","id":' + number + b',"result":' + result + b"}"
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": answer})


@contextlib.asynccontextmanager
async def of_session(url: str) -> AsyncIterator[Post]:
    session = HttpSession(HttpServer(name="fast", url=url, era="modern"), {}, lambda *_: None)
    await session.open()
    params = {"name": codec.raw("echo"), "arguments": codec.raw({"text": "hello"})}
    caller = Client()
    yield lambda: session.call("tools/call", params, deadline=time.time() + 30, client=caller)
    await session.close()


@contextlib.asynccontextmanager
async def of_aiohttp(url: str) -> AsyncIterator[Post]:
    aiohttp = importlib.import_module("aiohttp")

    async def post() -> bytes:
        async with client.post(url, headers=HEADERS, data=BODY, allow_redirects=False) as response:
            return bytes(await response.read())

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as client:
        yield post


@contextlib.asynccontextmanager
async def of_pyreqwest(url: str) -> AsyncIterator[Post]:
    builder = importlib.import_module("pyreqwest.client").ClientBuilder()

    async def post() -> bytes:
        async with client.post(url).headers(HEADERS).body_bytes(BODY).build_streamed() as response:
            return bytes(await response.bytes())

    async with builder.follow_redirects(False).no_proxy().build() as client:
        yield post


@contextlib.asynccontextmanager
async def of_httpx(url: str, module: str = "httpx") -> AsyncIterator[Post]:
    httpx = importlib.import_module(module)

    async def post() -> bytes:
        return (await client.post(url, headers=HEADERS, content=BODY)).content  # type: ignore[no-any-return]  # untyped import

    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        yield post


CLIENTS: dict[str, Callable[[str], contextlib.AbstractAsyncContextManager[Post]]] = {
    "aiohttp": of_aiohttp,
    "our session on it": of_session,
    "pyreqwest": of_pyreqwest,
    "httpx2": lambda url: of_httpx(url, "httpx2"),
    "httpx": of_httpx,
}


async def cost(post: Post, in_flight: int) -> float:
    """CPU microseconds of one call."""
    left = iter(range(CALLS))

    async def worker() -> None:
        for _ in left:
            await post()

    began = time.process_time()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return (time.process_time() - began) / CALLS * 1e6


async def aborts(make: Callable[[str], contextlib.AbstractAsyncContextManager[Post]]) -> bool:
    """Whether a server that is still at work sees the connection close after a cancellation."""
    asked, gone = asyncio.Event(), asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"}}")
        asked.set()
        with contextlib.suppress(ConnectionError):
            while await reader.read(1000):
                pass
        gone.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, make(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/") as post:
        calling = asyncio.ensure_future(post())
        await asked.wait()
        calling.cancel()
        await asyncio.wait([calling])
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(gone.wait(), 2)
        aborted = gone.is_set()
        for writer in writers:
            writer.transport.abort()
        await gone.wait()
    return aborted


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """The fast server, as a process of its own."""
    command = [sys.executable, "-m", "uvicorn", "benchmarks.downstream_http:app"]
    options = ["--port", "8799", "--no-access-log", "--lifespan", "off", "--log-level", "warning"]
    process = subprocess.Popen([*command, *options])
    try:
        yield "http://127.0.0.1:8799/mcp"
    finally:
        process.terminate()
        process.wait(10)


async def warm(post: Post) -> None:
    for _ in range(100):
        try:
            await post()
        except Exception:  # noqa: BLE001 - the server may still be starting, and each client says so in its own way
            await asyncio.sleep(0.1)
        else:
            return


async def measure(name: str, url: str) -> None:
    make = CLIENTS[name]
    try:
        async with make(url) as post:
            await warm(post)
            costs = [statistics.median([await cost(post, n) for _ in range(ROUNDS)]) for n in IN_FLIGHT]
    except ImportError:
        print(f"{name:<20}not installed")
        return
    aborted = "as tested" if make is of_session else "yes" if await aborts(make) else "NO"
    print(f"{name:<20}" + "".join(f"{value:>10.0f}" for value in costs) + f"{aborted:>12}")


async def main() -> None:
    print(f"CPU µs per POST, median of {ROUNDS} rounds of {CALLS}")
    print(f"{'in flight':<20}" + "".join(f"{n:>10}" for n in IN_FLIGHT) + f"{'aborts':>12}")
    with serving() as url:
        for name in CLIENTS:
            await measure(name, url)


if __name__ == "__main__":
    uvloop.run(main())
