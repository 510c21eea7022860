"""Events as syslog messages over TCP or TLS.

The protocol has no acknowledgement. A batch counts as delivered when the receiver's kernel has all of it and
the connection still stands. What a receiver's program had not read when its connection broke is written again
from memory, as far back as `replay_size` reaches: so it may come twice, and only what lay deeper is lost.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import Collection, Sequence
from typing import NamedTuple

from libs.common.config.collectors import SyslogSink
from services.auditor.formats.cef import cef_line
from services.auditor.formats.rfc5424 import FACILITIES, Header, framed, syslog_message
from services.auditor.formats.view import Unreadable, View
from services.auditor.sinks.line import Line, LineLost, connect
from services.auditor.sinks.sink import Delivery, Rejected, SinkDown
from services.auditor.sinks.tls import context

BATCH_WITHIN = 45.0
"""Seconds a batch may take while it makes progress; then what arrived of it counts."""
PARTING = 2.0
SENT_MAX = 1000
FRESH = 60.0
"""Seconds for which what a receiver has read is still taken for unprocessed, if it closes."""


class Held(NamedTuple):
    """A frame that arrived, kept for as long as its connection may still lose it."""

    frame: bytes
    since: float


class Replay:
    """The last frames that arrived, up to a number of bytes."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: deque[Held] = deque()
        self._bytes = 0

    def keep(self, frame: bytes) -> None:
        self._held.append(Held(frame, time.monotonic()))
        self._bytes += len(frame)
        while self._bytes > self._size:
            self._bytes -= len(self._held.popleft().frame)

    def frames(self, *, clean: bool) -> list[bytes]:
        """What is written again: after a clean end only what is fresh."""
        oldest = time.monotonic() - FRESH if clean else 0.0
        return [each.frame for each in self._held if each.since >= oldest]


class Syslog:
    """Writes frames to one connection, and opens it again when it is lost."""

    def __init__(self, config: SyslogSink) -> None:
        self._config = config
        self._tls = context(config.tls) if config.secure else None
        self._host, self._port = config.target
        self._header = Header(
            facility=FACILITIES[config.facility],
            host=config.hostname or socket.gethostname(),
            app=config.app_name,
            element=config.structured_data_id,
            process=str(os.getpid()),
        )
        self._replay = Replay(config.replay_size)
        self._line: Line | None = None
        self._sent: dict[int, tuple[int, bytes]] = {}
        """Frames that were written and have not arrived, by sequence: where each ends on the connection."""

    async def deliver(self, batch: Sequence[Delivery]) -> Collection[int]:
        """What arrived. What a slow receiver has not taken yet waits on its connection: it is sent once."""
        frames, poison = self._frames(batch)
        accepted: list[int] = []
        if frames:
            try:
                accepted = await self._written(batch, frames)
            except LineLost as lost:
                raise SinkDown(lost.message) from lost
        if poison:
            raise Rejected(poison, accepted)
        if not accepted:
            raise SinkDown(f"{self._host}:{self._port} takes nothing since {self._config.timeout:g} s")
        return accepted

    async def close(self) -> None:
        """Say goodbye. A receiver that was lost since the last batch gets what it may not have read again."""
        try:
            async with asyncio.timeout(PARTING):
                if self._line is not None and self._line.lost is not None:
                    await self._open()
                if self._line is not None:
                    await self._line.close(PARTING)
        except (LineLost, TimeoutError):
            if self._line is not None:
                self._line.drop()
        self._line = None

    async def _written(self, batch: Sequence[Delivery], frames: dict[int, bytes]) -> list[int]:
        line = await self._open()
        for index, frame in frames.items():
            if (sequence := batch[index].sequence) not in self._sent:
                line.write(frame)
                self._sent[sequence] = (line.written, frame)
        arrived = await line.flushed(self._config.timeout, BATCH_WITHIN)
        done = [index for index in frames if self._sent[batch[index].sequence][0] <= arrived]
        for index in done:
            self._replay.keep(self._sent.pop(batch[index].sequence)[1])
        self._forget()
        return done

    def _forget(self) -> None:
        """Frames that did not come again went to another auditor: to keep them would be a leak."""
        while len(self._sent) > SENT_MAX:
            del self._sent[next(iter(self._sent))]

    async def _open(self) -> Line:
        """The connection; a new one begins with what the last one may have lost."""
        if self._line is not None and self._line.lost is None:
            return self._line
        again = self._replay.frames(clean=self._line.lost.clean) if self._line and self._line.lost else []
        if self._line is not None:
            self._line.drop()
        line = await connect(self._host, self._port, self._tls, self._config.timeout)
        self._line, self._sent = line, {}
        for frame in again:
            line.write(frame)
        return line

    def _frames(self, batch: Sequence[Delivery]) -> tuple[dict[int, bytes], dict[int, str]]:
        frames, poison = {}, {}
        for index, each in enumerate(batch):
            try:
                frame = self._frame(each.data)
            except Unreadable as error:
                poison[index] = str(error)
                continue
            if len(frame) > self._config.max_message_size:
                poison[index] = f"its message has {len(frame)} bytes, more than max_message_size"
            else:
                frames[index] = frame
        return frames, poison

    def _frame(self, data: bytes) -> bytes:
        view = View(data)
        text = cef_line(view) if self._config.format == "cef" else data.decode(errors="replace")
        return framed(syslog_message(self._header, view, text))
