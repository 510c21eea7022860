"""One child process and its pipes: lines in, lines out, an end that leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import structlog

from libs.common.errors import NotSent, Overloaded, ServerUnavailable
from services.connector.framing import Lines, Overlong
from services.connector.launch import launch
from services.connector.stderr import Stderr

WRITE_MAX = 16 * 1024 * 1024
"""Bytes that may wait for a child that does not read."""
BURST = 200
"""Lines taken in one turn of the event loop."""
GRACE = 2.0
"""Seconds a child has to end by itself, then again after SIGTERM."""
LINGER = 0.5
"""Seconds to wait for the other signs of an end after the first: last words, exit code."""
LAST = 5.0
"""Seconds the kernel has to end a killed process."""

log = structlog.get_logger()


class Child(asyncio.SubprocessProtocol):
    """A started process. `ended` is done, with the reason, once nothing more will come from it."""

    def __init__(self, on_line: Callable[[bytes | Overlong], None], limit: int, stderr: Stderr) -> None:
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[str] = loop.create_future()
        self._loop = loop
        self._on_line = on_line
        self._lines = Lines(limit)
        self._waiting: deque[bytes | Overlong] = deque()
        self._stderr = stderr
        self._transport: asyncio.SubprocessTransport | None = None
        self._exited: asyncio.Future[None] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()
        self._silent = False
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None

    async def start(self, command: Sequence[str], env: Mapping[str, str], cwd: Path | None) -> None:
        """Spawn it. Raises `ServerUnavailable`."""
        try:
            target = self._stderr.open()
        except OSError as error:
            raise ServerUnavailable(f"its stderr file cannot be opened: {error.strerror}") from error
        try:
            await launch(self, command, env, cwd, target)
        finally:
            if target is not None and target >= 0:
                os.close(target)

    def write(self, message: bytes) -> None:
        """Send one line. Raises `NotSent` or `Overloaded`; nothing has left then."""
        stdin = self._stdin()
        if stdin is None or stdin.is_closing() or self._closing or self.ended.done():
            raise NotSent("the server process has ended, or reads no more")
        held = stdin.get_write_buffer_size()
        if held + len(message) > WRITE_MAX:
            raise Overloaded(f"the server process does not read: {held} bytes wait for it already")
        stdin.write(message + b"\n")

    async def stop(self) -> None:
        """End it and its process group: end of input, SIGTERM, SIGKILL. Bounded; safe to repeat."""
        self._closing = True
        if self._transport is None:
            return
        try:
            await self._stop_gently()
        finally:
            if not self._exited.done():
                self._signal(signal.SIGKILL)
            if not await self._within(LAST, self._exited):
                log.error("process_unkillable", pid=self._transport.get_pid())
            await self._within(LINGER, self._gone)
            self._transport.close()
            await self._within(LINGER, self._gone)
            self._end()

    async def _stop_gently(self) -> None:
        stdin = self._stdin()
        if stdin is not None and not stdin.is_closing():
            stdin.abort() if stdin.get_write_buffer_size() else stdin.close()
        if await self._within(GRACE, self._exited):
            return
        self._signal(signal.SIGTERM)
        await self._within(GRACE, self._exited)

    async def _within(self, seconds: float, future: asyncio.Future[None]) -> bool:
        await asyncio.wait({future}, timeout=seconds)
        return future.done()

    def _signal(self, number: signal.Signals) -> None:
        if self._transport is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._transport.get_pid(), number)

    def _stdin(self) -> asyncio.WriteTransport | None:
        pipe = self._transport.get_pipe_transport(0) if self._transport else None
        return cast("asyncio.WriteTransport | None", pipe)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._stderr.feed(data)
            return
        idle = not self._waiting
        self._waiting.extend(self._lines.cut(data))
        if idle:
            self._pump()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self._silent = True
        if fd != 2:
            self._fade()

    def process_exited(self) -> None:
        if not self._exited.done():
            self._exited.set_result(None)
        # What the leader started and left would hold its pipes open, and outlive it.
        self._signal(signal.SIGKILL)
        self._fade()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._gone.done():
            self._gone.set_result(None)

    def _pump(self) -> None:
        for _ in range(min(BURST, len(self._waiting))):
            self._on_line(self._waiting.popleft())
        self._hold(paused=bool(self._waiting))
        if self._waiting:
            self._loop.call_soon(self._pump)
        elif self._silent:
            self._fade()

    def _hold(self, *, paused: bool) -> None:
        pipe = self._transport.get_pipe_transport(1) if self._transport else None
        stdout = cast("asyncio.ReadTransport | None", pipe)
        if stdout is None or stdout.is_closing() or stdout.is_reading() is not paused:
            return
        stdout.pause_reading() if paused else stdout.resume_reading()

    def _fade(self) -> None:
        """A sign of the end was seen. With both it is the end; else the other has a moment to come."""
        if self._exited.done() and self._silent and not self._waiting:
            self._end()
        elif self._timer is None and not self.ended.done():
            self._timer = self._loop.call_later(LINGER, self._end)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.ended.done():
            self.ended.set_result(self._reason())

    def _reason(self) -> str:
        code = self._transport.get_returncode() if self._transport else None
        if code is None:
            return "closed its standard output" if self._silent else "closed its standard input"
        if code >= 0:
            return f"exited with code {code}"
        return f"was killed by {_signal_name(-code)}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
