"""Where a child's standard error goes, and the end of it for whoever asks why the child failed."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path
from typing import Literal

import structlog

from services.connector.framing import Lines, Overlong

Target = Literal["null", "inherit", "pipe"] | Path
"""Dropped, the gateway's own, the log, or a file it is appended to."""

TAIL = 4096
"""Bytes of the end that are kept."""
LINE = 2000
"""Bytes of one logged line; of a longer one the head is logged."""
LINES_PER_SECOND = 200
"""Lines logged of one child; what is over is counted."""

log = structlog.get_logger()
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def printable(data: bytes) -> str:
    """`data` as text without control and direction characters; lines stay apart."""
    return _CONTROL.sub(" ", data.decode(errors="replace")).strip()


class Stderr:
    """The standard error of one child. Memory stays flat however much it writes."""

    def __init__(self, target: Target, server: str) -> None:
        self._target = target
        self._server = server
        self._kept = b""
        self._from = 0
        self._lines = Lines(LINE)
        self._second = 0
        self._logged = 0
        self._dropped = 0

    def open(self) -> int | None:
        """What to give the child: a file descriptor to close after the spawn, `PIPE`, or None to inherit.

        Raises `OSError` if the file cannot be opened.
        """
        if self._target == "inherit":
            return None
        if not isinstance(self._target, Path):
            return subprocess.PIPE
        opened = os.open(self._target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._from = os.fstat(opened).st_size
        return opened

    def feed(self, data: bytes) -> None:
        """Take what the child wrote to the pipe."""
        self._kept = (self._kept + data[-TAIL:])[-TAIL:]
        if self._target == "pipe":
            for line in self._lines.cut(data):
                self._log(line)

    def tail(self) -> str:
        """The last `TAIL` bytes as printable text; empty if nothing was written or nobody could see it."""
        return printable(self._written() if isinstance(self._target, Path) else self._kept)

    def _written(self) -> bytes:
        try:
            with Path(self._target).open("rb") as file:
                file.seek(max(self._from, file.seek(0, os.SEEK_END) - TAIL))
                return file.read(TAIL)
        except OSError:
            return b""

    def _log(self, line: bytes | Overlong) -> None:
        text = printable(line.head if isinstance(line, Overlong) else line)
        if not text or not self._within():
            return
        if self._dropped:
            log.warning("stderr_dropped", server=self._server, lines=self._dropped)
            self._dropped = 0
        log.info("stderr", server=self._server, line=text)

    def _within(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._logged = second, 0
        self._logged += 1
        if self._logged > LINES_PER_SECOND:
            self._dropped += 1
            return False
        return True
