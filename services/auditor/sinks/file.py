"""A file with one event a line, on disk before an event counts as delivered."""

from __future__ import annotations

import asyncio
import fcntl
import glob
import os
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog

from libs.common.audit.spool import sync_names
from libs.common.config.sinks import FileSink
from services.auditor.sinks.sink import Delivery, SinkDown

log = structlog.get_logger("sinks")

MODE = 0o600
CLOSE_WITHIN = 2.0
STAMPED = "????????T??????.??????Z"
TAIL = 64 * 1024
"""Bytes in which the end of the last whole line is looked for; more than an event has."""


class File:
    """Appends batches, each by one write and one fsync; several processes may share the file.

    Whoever renames it away from outside finds the next batch in a new one.
    """

    def __init__(self, table: FileSink, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._path = table.path
        self._clock = clock
        self._handle: int | None = None
        self._writing: asyncio.Task[None] | None = None

    async def deliver(self, batch: Sequence[Delivery]) -> Collection[int]:
        """All of the batch, or `SinkDown`."""
        if self._writing is not None and not self._writing.done():
            raise SinkDown(f"{self._path} is still being written, or somebody holds its lock")
        lines = b"".join(b"%b\n" % each.data for each in batch)
        # A thread cannot be cancelled: who gives up on it must not begin another one beside it.
        self._writing = asyncio.create_task(asyncio.to_thread(self._append, lines))
        self._writing.add_done_callback(_retrieve)
        try:
            await asyncio.shield(self._writing)
        except OSError as error:
            raise SinkDown(f"{self._path} cannot be written: {error.strerror}") from error
        return range(len(batch))

    async def close(self) -> None:
        """Close the file; one that is still being written after 2 s is left open."""
        if self._writing is not None and not self._writing.done():
            await asyncio.wait({self._writing}, timeout=CLOSE_WITHIN)
            if not self._writing.done():
                return
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _append(self, lines: bytes) -> None:
        handle = self._locked()
        try:
            if self._is_due(handle, len(lines)):
                self._rotate()
                fcntl.flock(handle, fcntl.LOCK_UN)
                handle = self._locked()
            self._write(handle, lines)
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)

    def _locked(self) -> int:
        """The file of this name, locked; opened anew if it is not the one we had."""
        while True:
            handle = self._handle
            if handle is None:
                flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                handle = self._handle = os.open(self._path, flags, MODE)
                sync_names(self._path.parent)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_at(handle, self._path):
                return handle
            self._handle = None
            os.close(handle)

    def _is_due(self, handle: int, size: int) -> bool:
        found = os.fstat(handle)
        if found.st_size == 0:
            return False
        every = self._table.rotate_every
        late = every is not None and int(found.st_mtime // every) != int(self._clock() // every)
        return late or found.st_size + size > self._table.max_size

    def _rotate(self) -> None:
        """Rename the file by the time of now, and remove the oldest of those before."""
        stamp = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self._path.rename(self._path.with_name(f"{self._path.name}.{stamp}"))
        sync_names(self._path.parent)
        before = sorted(self._path.parent.glob(f"{glob.escape(self._path.name)}.{STAMPED}"))
        for old in before[: -self._table.keep]:
            old.unlink(missing_ok=True)

    def _write(self, handle: int, lines: bytes) -> None:
        """Append all of `lines` or nothing; what a crash left of a line is taken away first."""
        whole = _whole(handle)
        os.ftruncate(handle, whole)
        try:
            view = memoryview(lines)
            while view:
                view = view[os.write(handle, view) :]
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, whole)
            raise


def _retrieve(writing: asyncio.Task[None]) -> None:
    """Nobody may be waiting any more for what became of it."""
    if not writing.cancelled():
        writing.exception()


def _whole(handle: int) -> int:
    """Bytes up to the end of the last whole line."""
    size = os.fstat(handle).st_size
    tail = os.pread(handle, min(TAIL, size), max(0, size - TAIL))
    if not tail or tail.endswith(b"\n"):
        return size
    log.warning("the audit file ends within an event, which is taken away and written again")
    return size - len(tail) + tail.rfind(b"\n") + 1


def _is_at(handle: int, path: Path) -> bool:
    """Whether the open file is still the one of this name."""
    try:
        there = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    mine = os.fstat(handle)
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)
