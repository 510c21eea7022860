"""One TCP or TLS connection to a receiver that never answers, and how much of what was written arrived."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import sys
import time
from contextlib import suppress
from typing import cast

if sys.platform == "linux":
    import fcntl
    import termios

POLL_FIRST, POLL_MAX = 0.001, 0.05
"""Seconds between two looks at the kernel's send queue: it tells nobody when it is empty."""
USER_TIMEOUT = 60_000
"""Milliseconds that sent bytes may stay unacknowledged until the kernel gives a connection up."""
_ESTABLISHED = 1


class LineLost(Exception):
    """There is no connection, or no longer one. `clean`: the receiver closed it and had read everything."""

    def __init__(self, message: str, *, clean: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.clean = clean


class Line(asyncio.Protocol):
    """An open connection. What the receiver sends is thrown away; that it closes is noticed.

    TCP acknowledges to the kernel, never to us: a byte counts as arrived when the receiver's kernel has taken
    it (SIOCOUTQ is down to what came after it) while the connection stands in both directions.
    """

    def __init__(self) -> None:
        self.lost: LineLost | None = None
        self.written = 0
        """Bytes given to the connection since it was opened."""
        self._raw: asyncio.Transport | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = self._transport = cast("asyncio.Transport", transport)
        _tune(transport.get_extra_info("socket"))

    async def secure(self, tls: ssl.SSLContext, host: str) -> None:
        """Speak TLS from here on; raises what `asyncio` does. What waits below TLS stays in sight."""
        assert self._raw is not None  # noqa: S101 - only a connection that is open is secured
        loop = asyncio.get_running_loop()
        self._transport = await loop.start_tls(self._raw, self, tls, server_hostname=host)

    def data_received(self, data: bytes) -> None:
        """Nothing a receiver of syslog says has a meaning."""

    def eof_received(self) -> None:
        self._lose(LineLost("the receiver closed the connection", clean=not self._queued()))

    def connection_lost(self, exc: Exception | None) -> None:
        reason = type(exc).__name__ if exc is not None else "closed"
        self._lose(LineLost(f"the connection was lost ({reason})"))

    def write(self, data: bytes) -> None:
        """Hand over bytes; raises `LineLost`."""
        if self.lost is not None or self._transport is None:
            raise self.lost or LineLost("the connection is closed")
        self._transport.write(data)
        self.written += len(data)

    def arrived(self) -> int:
        """How many of the written bytes the receiver's kernel has for certain.

        Over TLS a little fewer than it has: what is queued is counted with the overhead of its records.
        Raises `LineLost` once the connection no longer stands.
        """
        queued = self._queued()
        if self.lost is None and not self._stands():
            self._lose(LineLost("the receiver closed the connection"))
        if self.lost is not None:
            raise self.lost
        return max(0, self.written - queued)

    async def flushed(self, patience: float, within: float) -> int:
        """Wait until everything written has arrived; returns what has, in bytes.

        Gives up when nothing more arrived for `patience` seconds, or after `within`. Raises `LineLost`.
        """
        until = time.monotonic() + within
        arrived, since, pause = self.arrived(), time.monotonic(), POLL_FIRST
        while arrived < self.written:
            now = time.monotonic()
            if now >= min(until, since + patience):
                break
            await asyncio.sleep(pause)
            pause = min(pause * 2, POLL_MAX)
            if (progress := self.arrived()) > arrived:
                arrived, since, pause = progress, now, POLL_FIRST
        return arrived

    async def close(self, within: float) -> None:
        """Finish what is queued if it goes out within `within` seconds, then close."""
        transport = self._transport
        if transport is None:
            return
        with suppress(LineLost):
            await self.flushed(within, within)
            if self.lost is None:
                transport.close()
                return
        transport.abort()

    def drop(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _lose(self, why: LineLost) -> None:
        if self.lost is None:
            self.lost = why

    def _queued(self) -> int:
        """Bytes that the receiver's kernel has not acknowledged, as far as the system tells."""
        raw, transport = self._raw, self._transport
        if raw is None or transport is None:
            return 0
        above = transport.get_write_buffer_size() if transport is not raw else 0
        return above + raw.get_write_buffer_size() + _unacknowledged(raw.get_extra_info("socket"))

    def _stands(self) -> bool:
        return self._raw is not None and _established(self._raw.get_extra_info("socket"))


async def connect(host: str, port: int, tls: ssl.SSLContext | None, within: float) -> Line:
    """An open connection, or `LineLost` with the reason, within so many seconds."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(within):
            _, line = await loop.create_connection(Line, host, port)
            try:
                if tls is not None:
                    await line.secure(tls, host)
            except BaseException:
                line.drop()
                raise
    except TimeoutError:
        raise LineLost(f"{host}:{port} did not accept a connection within {within:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise LineLost(f"the certificate of {host} is not accepted: {error.verify_message}") from error
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or type(error).__name__
        raise LineLost(f"{host}:{port} cannot be connected to: {reason}") from error
    return line


def _tune(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)


def _unacknowledged(sock: socket.socket) -> int:
    if sys.platform != "linux":
        return 0
    try:
        answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4)
    except (OSError, ValueError):
        return 0
    return int(struct.unpack("i", answer)[0])


def _established(sock: socket.socket) -> bool:
    """Whether neither side has closed; the kernel knows it before the event loop does."""
    if not hasattr(socket, "TCP_INFO"):
        return True
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[0] == _ESTABLISHED
    except (OSError, ValueError):
        return False
