"""A receiver of syslog that reads, stops reading, hangs up and comes back as it is told."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress

from tests.services.auditor.formats.parsers import Frames, Syslog, read_syslog

RECEIVE = 64 * 1024
"""Bytes of a receive buffer: small, so that a receiver that does not read is noticed at once."""


class Collector:
    """Listens on one port for as long as the test; each connection has framing of its own."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.messages: list[Syslog] = []
        self.connections = 0
        self.port = 0
        self.reading = asyncio.Event()
        self.reading.set()
        self.hang_up: Callable[[], str] = lambda: ""
        """Asked after each message: `reset`, `close`, or nothing to go on."""
        self.certificate: object = None
        self._tls = tls
        self._changed = asyncio.Event()
        self._listening: socket.socket | None = None
        self._open: set[asyncio.Task[None]] = set()

    @property
    def uids(self) -> list[str]:
        return [each.parameters["uid"] for each in self.messages]

    async def start(self) -> None:
        """Listen, on the same port as before."""
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE)
        self._listening.setblocking(False)
        self.port = self._listening.getsockname()[1]
        self._start(self._accept(self._listening))

    async def stop(self) -> None:
        """Hang up on everybody, and listen no more."""
        while self._open:
            for task in self._open:
                task.cancel()
            await asyncio.wait(self._open)
        if self._listening is not None:
            self._listening.close()

    async def until(self, condition: Callable[[], bool], timeout: float = 20) -> None:
        """Return once `condition` holds, looked at after each message."""
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(listening)
            self._start(self._serve(sock))

    async def _serve(self, sock: socket.socket) -> None:
        reader = asyncio.StreamReader(limit=RECEIVE)
        protocol = asyncio.StreamReaderProtocol(reader)
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock, ssl=self._tls)
        except OSError:
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        self.connections += 1
        self.certificate = writer.get_extra_info("peercert")
        self._changed.set()
        try:
            await self._read(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            await _ended(writer)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = Frames()
        while await self.reading.wait() and (data := await reader.read(RECEIVE)):
            for each in frames.feed(data):
                self.messages.append(read_syslog(each))
                self._changed.set()
                if how := self.hang_up():
                    if how == "reset":
                        _reset(writer)
                    return


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _ended(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(2):
            await writer.wait_closed()


@asynccontextmanager
async def collecting(tls: ssl.SSLContext | None = None) -> AsyncIterator[Collector]:
    collector = Collector(tls)
    await collector.start()
    try:
        yield collector
    finally:
        await collector.stop()
