"""Events on this machine's disk: appended with write(2), so that they outlive the process, whatever kills it.

A writer has a folder of its own, locked while it lives. In it are segments, each named after the position of
its first byte; positions count all bytes ever appended. A record is one line, `<class> <uid> <event>`; a last
line without its end was being written when the power went, and is none.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

log = structlog.get_logger("audit")

SEGMENT = 4 * 2**20
"""Bytes after which a new segment begins; a whole one goes once it is shipped."""
CHUNK = 256 * 2**10
"""Bytes that are read at once: what of the backlog is in memory."""
LOCK, CURSOR = "lock", "cursor"
_SUFFIX = ".log"
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class SpoolFull(Exception):
    """Nothing more fits: the bound is reached, or the disk takes nothing; the message says which."""


def line_of(target: str, uid: str, event: bytes) -> bytes:
    """A record: the last tokens of its subject, its id, its canonical JSON."""
    return b"%b %b %b\n" % (target.encode(), uid.encode(), event)


def born(record: bytes) -> float:
    """When a record was made, as its id says: seconds since the epoch, 0 if it has none."""
    uid = record.partition(b" ")[2][:10].decode(errors="replace")
    milliseconds = 0
    for digit in uid:
        milliseconds = milliseconds * 32 + _DIGITS.find(digit)
    return milliseconds / 1000 if len(uid) == 10 else 0.0


class Segments:
    """The files of one folder, oldest first, read from where the last reader stopped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = (each.stem for each in folder.glob(f"*{_SUFFIX}"))
        self.starts = deque(sorted(int(name) for name in names if name.isdecimal()))
        first, cursor = self.starts[0] if self.starts else 0, self._read_cursor()
        self.end = self.starts[-1] + self._size(self.starts[-1]) if self.starts else cursor
        self.acked = cursor if first <= cursor <= self.end else first
        self.failed = False
        """Whether reading it has failed."""
        self._cursor: int | None = None
        self._reading: tuple[int, int] | None = None

    @property
    def backlog(self) -> int:
        """Bytes not yet shipped."""
        return self.end - self.acked

    def path(self, start: int) -> Path:
        return self.folder / f"{start:016d}{_SUFFIX}"

    def read(self, position: int) -> bytes:
        """Whole lines from `position` on, at most a chunk, of one segment; empty at the end.

        And of a segment that somebody has removed. Raises `OSError`.
        """
        start = self._holding(position)
        if start is None:
            return b""
        try:
            data = os.pread(self._descriptor(start), CHUNK, position - start)
        except FileNotFoundError:
            log.warning("a part of an audit spool is gone: who has removed it?", file=str(self.path(start)))
            return b""
        return data[: data.rfind(b"\n") + 1]

    def after(self, position: int) -> int | None:
        """Where the segment begins that follows the one of `position`; None if that is the last."""
        return next((start for start in self.starts if start > position), None)

    @property
    def finished(self) -> bool:
        """Whether nothing is left that could be shipped."""
        return not self.read(self.acked) and self.after(self.acked) is None

    def oldest(self) -> float:
        """When the first record was made that is not shipped, 0 if all are; seconds since the epoch."""
        start = self._holding(self.acked)
        if start is None or self.acked >= self.end:
            return 0.0
        with suppress(OSError):
            return born(os.pread(self._descriptor(start), 100, self.acked - start))
        return 0.0

    def ack(self, position: int) -> None:
        """Forget everything before `position`: it is shipped."""
        self.acked = position
        with suppress(OSError):
            if self._cursor is None:
                self._cursor = os.open(self.folder / CURSOR, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.pwrite(self._cursor, b"%016d" % position, 0)
        while len(self.starts) > 1 and self.starts[1] <= position:
            self._remove(self.starts.popleft())

    def close(self) -> None:
        self._release()
        if self._cursor is not None:
            os.close(self._cursor)
            self._cursor = None

    def _holding(self, position: int) -> int | None:
        return next((start for start in reversed(self.starts) if start <= position), None)

    def _descriptor(self, start: int) -> int:
        if self._reading is None or self._reading[0] != start:
            self._release()
            self._reading = (start, os.open(self.path(start), os.O_RDONLY | os.O_CLOEXEC))
        return self._reading[1]

    def _release(self) -> None:
        if self._reading is not None:
            os.close(self._reading[1])
            self._reading = None

    def _remove(self, start: int) -> None:
        if self._reading is not None and self._reading[0] == start:
            self._release()
        with suppress(OSError):
            self.path(start).unlink()

    def _read_cursor(self) -> int:
        with suppress(OSError, ValueError):
            return int((self.folder / CURSOR).read_bytes())
        return 0

    def _size(self, start: int) -> int:
        return self.path(start).stat().st_size


class Spool(Segments):
    """A writer's own folder. Appends never wait for the disk; `sync` does."""

    def __init__(self, folder: Path, lock: int, most: int, *, keep: bool) -> None:
        super().__init__(folder)
        self._lock = lock
        self._most = most
        self._keep = keep
        self._writing: int | None = None
        self._unsynced: list[int] = []
        self._unnamed: tuple[Path, ...] = ()
        """Folders in which a name is new that is perhaps not on the disk."""
        self.synced = self.end
        self._unsure = (0, 0)

    def append(self, data: bytes) -> int:
        """Write one record; the position behind it. Raises `SpoolFull`."""
        if self.backlog + len(data) > self._most:
            raise SpoolFull(f"{self.backlog} bytes wait to be shipped, and audit.spool_max_size is reached")
        try:
            self._write(data)
        except OSError as error:
            raise SpoolFull(f"the spool cannot be written: {error.strerror}") from error
        return self.end

    def _write(self, data: bytes) -> None:
        writing = self._writing
        if writing is None or self.end - self.starts[-1] >= SEGMENT:
            writing = self._begin()
        written = os.write(writing, data)
        if written < len(data):
            # What is there of it is no record; shortening a file needs no room.
            os.ftruncate(writing, self.end - self.starts[-1])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.end += written

    def _begin(self) -> int:
        new = os.open(self.path(self.end), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if self._writing is not None and self._keep:
            self._unsynced.append(self._writing)
        elif self._writing is not None:
            os.close(self._writing)
        self._writing = new
        if self._keep:
            family = self.folder.parent
            self._unnamed = (self.folder, family, family.parent)
        if not self.starts or self.starts[-1] != self.end:
            self.starts.append(self.end)
        return new

    def unsure(self, position: int) -> bool:
        """Whether a sync of what is before `position` has failed: one that works later says nothing of it."""
        first, last = self._unsure
        return first < position <= last

    def syncing(self) -> Callable[[], None]:
        """Work for a thread: puts all that is appended by now on the disk. Raises `OSError`."""
        end, writing, whole = self.end, self._writing, self._unsynced
        self._unsynced = []
        unnamed, self._unnamed = self._unnamed, ()

        def sync() -> None:
            try:
                for descriptor in (*whole, *(() if writing is None else (writing,))):
                    os.fdatasync(descriptor)
                for folder in unnamed:
                    sync_names(folder)
            except OSError:
                # The kernel says it once, and takes what is not written for written afterwards.
                self._unsure = (self._unsure[0] or self.synced, end)
                self._unnamed = self._unnamed or unnamed
                raise
            finally:
                for descriptor in whole:
                    os.close(descriptor)
            self.synced = max(self.synced, end)

        return sync

    def _descriptor(self, start: int) -> int:
        """The file that is written is read where it is open: it may have no name any more."""
        if self._writing is not None and start == self.starts[-1]:
            return self._writing
        return super()._descriptor(start)

    def close(self) -> None:
        """Leave the folder to whoever takes it over."""
        super().close()
        for descriptor in (*self._unsynced, self._writing, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._unsynced, self._writing = [], None


def sync_names(folder: Path) -> None:
    """Have names that were made or changed in `folder` on disk. Raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
