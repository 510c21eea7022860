"""Server-sent events, parsed as they arrive; pure, and bounded in memory."""

from __future__ import annotations

from typing import NamedTuple

from libs.common.errors import ResultTooLarge
from services.connector.session import LINE_MAX

BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event; `data` is byte for byte what the server sent, its lines joined by LF."""

    name: str
    data: bytes


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
        self._fresh = True
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[Event]:
        """The events this chunk completes. Raises `ResultTooLarge` when one is over the limit."""
        if self._after_cr and chunk[:1] == b"\n":
            chunk = chunk[1:]
            self._after_cr = False
        events: list[Event] = []
        for line in chunk.splitlines(keepends=True):
            if line[-1] not in b"\r\n":
                self._hold(self._open, line)
            elif (event := self._line(self._whole(line))) is not None:
                events.append(event)
        if chunk:
            self._after_cr = chunk[-1] == ord("\r")
        return events

    def _hold(self, parts: list[bytes], part: bytes) -> None:
        self._held += len(part) + 1
        if self._held > self._limit:
            raise ResultTooLarge(
                f"one event of the server is longer than {self._limit} bytes", limit=self._limit
            )
        parts.append(part)

    def _release(self, parts: list[bytes]) -> None:
        self._held -= sum(map(len, parts)) + len(parts)

    def _whole(self, end: bytes) -> bytes:
        line = end.rstrip(b"\r\n")
        if self._open:
            self._release(self._open)
            line = b"".join([*self._open, line])
            self._open.clear()
        if self._fresh:
            self._fresh = False
            line = line.removeprefix(BOM)
        return line

    def _line(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
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

    def _dispatch(self) -> Event | None:
        event = Event(self._name or "message", b"\n".join(self._data)) if self._data else None
        self._release(self._data)
        self._data.clear()
        self._name = ""
        return event
