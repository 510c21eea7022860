"""Standard output, one event a line: for collectors that read what a container prints."""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections.abc import Collection, Sequence

from libs.common.config.sinks import StdoutSink
from services.auditor.sinks.record import STRANGE, record
from services.auditor.sinks.sink import Delivery, SinkDown

STDOUT = 1
CHUNK = select.PIPE_BUF
"""Bytes that a pipe which is ready takes without blocking (pipe(7))."""
WRITE_WITHIN = 10.0
"""Seconds that a reader may take for a batch."""


class Stdout:
    """Writes lines, never half of one between two others: what a slow reader left is written first."""

    def __init__(self, table: StdoutSink, handle: int = STDOUT) -> None:
        self._flat = table.format == "record"
        self._handle = handle
        self._rest = b""

    async def deliver(self, batch: Sequence[Delivery]) -> Collection[int]:
        """All of the batch, or `SinkDown`; of the format "record" only what ends a request is printed."""
        lines = b"".join(b"%b\n" % line for each in batch if (line := self._line(each.data)))
        try:
            await asyncio.to_thread(self._print, self._rest + lines)
        except OSError as error:
            raise SinkDown(f"standard output cannot be written: {error.strerror}") from error
        return range(len(batch))

    async def close(self) -> None:
        """Standard output is not ours to close."""

    def _line(self, data: bytes) -> bytes | None:
        if not self._flat:
            return data
        try:
            return record(data)
        except STRANGE:
            return None

    def _print(self, lines: bytes) -> None:
        until = time.monotonic() + WRITE_WITHIN
        ready = select.poll()
        ready.register(self._handle, select.POLLOUT)
        at = 0
        while at < len(lines):
            if not ready.poll(max(0.0, until - time.monotonic()) * 1000):
                self._rest = _begun(lines, at)
                raise SinkDown(f"nobody read standard output for {WRITE_WITHIN:g} s")
            at += os.write(self._handle, lines[at : at + CHUNK])
        self._rest = b""


def _begun(lines: bytes, at: int) -> bytes:
    """What is missing of the line that `at` is within; nothing at the beginning of one."""
    if at == 0 or lines[at - 1 : at] == b"\n":
        return b""
    return lines[at : lines.index(b"\n", at) + 1]
