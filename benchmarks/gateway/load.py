"""The load generator, a process of its own: jobs come in on standard input, figures go out, a line each.

For each job it connects, shakes hands and warms up, says so, waits for a line, then measures. Every answer is
checked; the first wrong one ends the job.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator
from typing import cast
from urllib.parse import urlsplit

import msgspec
import uvloop

from benchmarks.gateway.traffic import LEGACY, NUMBER, TEXT, Traffic
from benchmarks.gateway.wire import Parser, Response, WrongAnswer, check_events, head, reply

ANSWER_WITHIN = 30.0


class Job(msgspec.Struct):
    """`calls` calls over `connections` connections, one in flight on each, after `warm` on each."""

    traffic: Traffic
    connections: int
    calls: int
    warm: int = 20


class Figures(msgspec.Struct):
    """Times in milliseconds."""

    seconds: float = 0.0
    times: list[float] = []
    error: str = ""


class Connection(asyncio.Protocol):
    """A keep-alive connection; `post` sends one request and gives its response."""

    def __init__(self) -> None:
        self._parser = Parser()
        self._waiting: asyncio.Future[Response] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        response = self._parser.feed(data)
        if response is not None and self._waiting is not None:
            self._waiting.set_result(response)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(WrongAnswer(f"the connection was closed: {exc}"))

    async def post(self, head: bytes, body: bytes) -> Response:
        if self._transport is None or self._transport.is_closing():
            raise WrongAnswer("the server closed the connection between two requests")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        return await self._waiting

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Caller:
    """One client: a connection, its session if it has one, and its calls."""

    def __init__(self, traffic: Traffic, numbers: Iterator[int]) -> None:
        self._traffic = traffic
        self._numbers = numbers
        self._connection = Connection()
        self._head = head(traffic.url, traffic.headers)
        self._parts = [part.encode() for part in _parts(traffic.template)]

    async def open(self) -> None:
        """Connect, and begin a session if the client is a legacy one."""
        parts = urlsplit(self._traffic.url)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self._connection, parts.hostname or "", parts.port or 80)
        if self._traffic.initialize:
            await self._initialize()

    async def call(self) -> float:
        """Milliseconds of one call."""
        number = next(self._numbers)
        text = self._traffic.texts[number % len(self._traffic.texts)]
        first, second, third = self._parts
        body = b"%b%d%b%b%b" % (first, number, second, json.dumps(text)[1:-1].encode(), third)
        began = time.perf_counter()
        response = await self._connection.post(self._head, body)
        spent = time.perf_counter() - began
        result = reply(response, number)
        wanted = self._traffic.wanted or text
        if self._traffic.events:
            check_events(response, self._traffic.events)
        if not result.content or wanted not in result.content[0].text:
            raise WrongAnswer(f"{wanted!r} is not in {result.content[:1]}")
        return spent * 1000

    def close(self) -> None:
        self._connection.close()

    async def _initialize(self) -> None:
        number = next(self._numbers)
        body = self._traffic.initialize.replace(str(NUMBER), str(number)).encode()
        response = await self._connection.post(self._head, body)
        reply(response, number)
        headers = {**self._traffic.headers, "mcp-protocol-version": LEGACY}
        if "mcp-session-id" in response.headers:
            headers["mcp-session-id"] = response.headers["mcp-session-id"]
        self._head = head(self._traffic.url, headers)
        told = await self._connection.post(
            self._head, b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
        )
        if told.status not in (200, 202, 204):
            raise WrongAnswer(f"notifications/initialized was answered with HTTP {told.status}")


def _parts(template: str) -> tuple[str, str, str]:
    first, _, rest = template.partition(str(NUMBER))
    second, _, third = rest.partition(TEXT)
    return first, second, third


async def measured(job: Job) -> Figures:
    """Run one job, its timed part when told to."""
    numbers = itertools.count(1)
    callers = [Caller(job.traffic, numbers) for _ in range(job.connections)]
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            await asyncio.gather(*(caller.open() for caller in callers))
            await _run(callers, job.connections * job.warm)
        _say(b"ready")
        sys.stdin.buffer.readline()
        began = time.perf_counter()
        async with asyncio.timeout(ANSWER_WITHIN + job.calls / 10):
            times = await _run(callers, job.calls)
        return Figures(time.perf_counter() - began, times)
    except TimeoutError:
        return Figures(error="no answer in time")
    except (WrongAnswer, OSError) as error:
        return Figures(error=str(error))
    finally:
        for caller in callers:
            caller.close()


async def _run(callers: list[Caller], calls: int) -> list[float]:
    left = iter(range(calls))

    async def work(caller: Caller) -> list[float]:
        return [await caller.call() for _ in left]

    return list(itertools.chain.from_iterable(await asyncio.gather(*map(work, callers))))


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Answer jobs until there are no more."""
    job = msgspec.json.Decoder(Job).decode
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        while line := sys.stdin.buffer.readline():
            _say(msgspec.json.encode(runner.run(measured(job(line)))))


if __name__ == "__main__":
    main()
