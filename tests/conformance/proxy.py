"""A load balancer without memory: each request goes to the next replica, whoever sent it."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

HEAD_MAX = 64 * 1024
"""Bytes of a request line and its headers."""
HEAD_WITHIN = 30.0
"""Seconds for a client to send them."""
CHUNK = 64 * 1024
_BLANK = b"\r\n\r\n"


class Proxy:
    """Spreads requests over `ports` of this machine. An async context manager: it listens while entered.

    Each response ends its connection, so that the next request is free to go elsewhere. Everything but the
    `Connection` header passes as it came and at once: bodies, streams, and the end of either side.
    """

    def __init__(self, ports: Sequence[int], port: int) -> None:
        self.port = port
        self.served: Counter[int] = Counter()
        """Requests by replica."""
        self._next = itertools.cycle(ports)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=HEAD_MAX)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            # Whoever left before the head was complete wants no answer.
            with suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, OSError):
                await self._relay(reader, writer)
        finally:
            self._open.discard(task)
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_WITHIN):
            head = await reader.readuntil(_BLANK)
        port = next(self._next)
        self.served[port] += 1
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            far_writer.write(closing(head))
            await _until_either(_copy(reader, far_writer), _copy(far_reader, writer))
        finally:
            far_writer.close()


def closing(head: bytes) -> bytes:
    """The head of a request, asking the replica to close the connection after its response."""
    line, *fields = head.removesuffix(_BLANK).split(b"\r\n")
    kept = [field for field in fields if not field.lower().startswith(b"connection:")]
    return b"\r\n".join([line, *kept, b"Connection: close"]) + _BLANK


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()


async def _until_either(*ways: Coroutine[None, None, None]) -> None:
    """Run both ways until one has ended: then there is nobody left to talk to."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
