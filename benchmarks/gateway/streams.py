"""A client with many sessions and many open streams, in the benchmark's own process."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterable, Sequence
from typing import cast
from urllib.parse import urlsplit

from benchmarks.gateway.load import Connection
from benchmarks.gateway.traffic import LEGACY, MODERN, NUMBER, Traffic, calling
from benchmarks.gateway.wire import WrongAnswer, head, reply

OPEN_WITHIN = 60.0
TOGETHER = 16
"""Requests in flight while sessions or streams are opened."""
ACCEPT = "application/json, text/event-stream"


class Stream(asyncio.Protocol):
    """One event stream; `opened` ends when it has begun, and fails if it ends."""

    def __init__(self, request: bytes, first: bytes) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._first = first
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.opened.done():
            return
        self._heard += data
        if not self._heard.startswith(b"HTTP/1.1 200"[: len(self._heard)]):
            self.opened.set_exception(WrongAnswer(f"no stream: {self._heard[:300]!r}"))
        elif self._first in self._heard:
            self.opened.set_result(None)
            self._heard = b""

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(WrongAnswer(f"the stream ended: {self._heard[:300]!r}"))
        self.closed.set_result(None)

    def close(self) -> None:
        self._transport.close()


async def initialized(traffic: Traffic, count: int) -> list[str]:
    """The ids of so many new sessions."""
    numbers = iter(range(1, count + 1))

    async def work() -> list[str]:
        connection, place = Connection(), urlsplit(traffic.url)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: connection, place.hostname or "", place.port or 80)
        try:
            return [await _begun(connection, traffic, number) for number in numbers]
        finally:
            connection.close()

    return list(itertools.chain.from_iterable(await asyncio.gather(*(work() for _ in range(TOGETHER)))))


async def _begun(connection: Connection, traffic: Traffic, number: int) -> str:
    first = traffic.initialize.replace(str(NUMBER), str(number)).encode()
    response = await connection.post(head(traffic.url, traffic.headers), first)
    reply(response, number)
    session = response.headers["mcp-session-id"]
    headers = {**traffic.headers, "mcp-protocol-version": LEGACY, "mcp-session-id": session}
    told = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
    response = await connection.post(head(traffic.url, headers), told)
    if response.status != 202:
        raise WrongAnswer(f"notifications/initialized was answered with HTTP {response.status}")
    return session


async def standing(url: str, sessions: Iterable[str]) -> list[Stream]:
    """The GET stream of each of these sessions."""
    place = urlsplit(url)
    requests = (
        f"GET {place.path} HTTP/1.1\r\nhost: {place.netloc}\r\naccept: {ACCEPT}\r\n"
        f"mcp-protocol-version: {LEGACY}\r\nmcp-session-id: {session}\r\n\r\n"
        for session in sessions
    )
    return await _opened(url, [(each.encode(), b"text/event-stream") for each in requests])


async def listening(url: str, count: int) -> list[Stream]:
    """So many `subscriptions/listen` streams, each acknowledged."""
    template = json.loads(calling(url, "modern", "echo").template)
    body = json.dumps(
        {
            **template,
            "method": "subscriptions/listen",
            "params": {
                "_meta": template["params"]["_meta"],
                "notifications": {"toolsListChanged": True},
            },
        }
    ).encode()
    headers = {"content-type": "application/json", "accept": ACCEPT}
    headers |= {"mcp-protocol-version": MODERN, "mcp-method": "subscriptions/listen"}
    request = b"%b%d\r\n\r\n%b" % (head(url, headers), len(body), body)
    return await _opened(url, [(request, b"notifications/subscriptions/acknowledged")] * count)


async def closed(streams: Sequence[Stream]) -> None:
    """Hang up all of them."""
    for stream in streams:
        stream.close()
    await asyncio.gather(*(stream.closed for stream in streams))


async def _opened(url: str, wanted: list[tuple[bytes, bytes]]) -> list[Stream]:
    place, left = urlsplit(url), iter(wanted)

    async def work() -> list[Stream]:
        return [await _one(place.hostname or "", place.port or 80, *each) for each in left]

    async with asyncio.timeout(OPEN_WITHIN):
        found = await asyncio.gather(*(work() for _ in range(TOGETHER)))
    return list(itertools.chain.from_iterable(found))


async def _one(host: str, port: int, request: bytes, first: bytes) -> Stream:
    loop = asyncio.get_running_loop()
    _, stream = await loop.create_connection(lambda: Stream(request, first), host, port)
    await stream.opened
    return stream
