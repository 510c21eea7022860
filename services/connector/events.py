"""Server-sent events, parsed as they arrive; pure, and bounded in memory."""

from __future__ import annotations

from typing import NamedTuple

from services.connector.envelope import FRAGMENT
from services.connector.framing import Overlong
from services.connector.session import LINE_MAX

BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event; `data` is byte for byte what the server sent, its lines joined by LF."""

    name: str
    data: bytes
    over: Overlong | None = None
    """The two ends of data that was over the limit, and then is not in `data`."""


class EventParser:
    """Bytes in, events out (WHATWG HTML §9.2.6); lines end in LF, CR or CRLF.

    `last_id` and `retry` (milliseconds) hold what the stream last said of them. An event without a `data`
    line is not an event; one the stream ends in the middle of is dropped.
    """

    def __init__(self, limit: int = LINE_MAX) -> None:
        self.last_id = ""
        self.retry: int | None = None
        self._limit = limit
        self._name = ""
        self._data: list[bytes] = []
        self._open: list[bytes] = []
        self._held = 0
        self._over: Overlong | None = None
        self._inside = False
        self._fresh = True
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[Event]:
        """The events this chunk completes."""
        if self._after_cr and chunk[:1] == b"\n":
            chunk = chunk[1:]
            self._after_cr = False
        events: list[Event] = []
        for line in chunk.splitlines(keepends=True):
            event = self._piece(line.rstrip(b"\r\n"), ends=line[-1] in b"\r\n")
            if event is not None:
                events.append(event)
        if chunk:
            self._after_cr = chunk[-1] == ord("\r")
        return events

    def _piece(self, text: bytes, *, ends: bool) -> Event | None:
        if self._over is not None:
            return self._skim(self._over, text, ends=ends)
        if ends:
            return self._line(self._whole(text))
        self._hold(self._open, text)
        return None

    def _hold(self, parts: list[bytes], part: bytes) -> None:
        parts.append(part)
        self._held += len(part) + 1
        if self._held > self._limit:
            head = (self._data or self._open)[0].removeprefix(b"data:").lstrip(b" ")
            self._over = Overlong(head[:FRAGMENT], part[-FRAGMENT:])
            self._inside = bool(self._open)
            self._data.clear()
            self._open.clear()

    def _skim(self, over: Overlong, text: bytes, *, ends: bool) -> Event | None:
        """Read on to the end of an event that is too long, keeping only how it ends."""
        blank = ends and not text and not self._inside
        self._inside = not ends
        if not blank:
            self._over = Overlong(over.head, (over.tail + text)[-FRAGMENT:])
            return None
        self._over = None
        return self._finish(b"", over)

    def _whole(self, end: bytes) -> bytes:
        line = end
        if self._open:
            line = b"".join([*self._open, end])
            self._held -= len(line) - len(end) + len(self._open)
            self._open.clear()
        if self._fresh:
            self._fresh = False
            line = line.removeprefix(BOM)
        return line

    def _line(self, line: bytes) -> Event | None:
        if not line:
            if self._data:
                return self._finish(b"\n".join(self._data))
            self._reset()
            return None
        field, _, value = line.partition(b":")
        self._field(field, value.removeprefix(b" "))
        return None

    def _field(self, field: bytes, value: bytes) -> None:
        if field == b"data":
            self._hold(self._data, value)
        elif field == b"event":
            self._name = value.decode(errors="replace")
        elif field == b"id" and b"\0" not in value:
            self.last_id = value.decode(errors="replace")
        elif field == b"retry" and value.isdigit() and len(value) < 10:
            self.retry = int(value)

    def _finish(self, data: bytes, over: Overlong | None = None) -> Event:
        event = Event(self._name or "message", data, over)
        self._reset()
        return event

    def _reset(self) -> None:
        self._data.clear()
        self._held = 0
        self._name = ""
