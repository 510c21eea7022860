"""The answer to one POST: JSON if it is all there is, an event stream from the first event on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from types import TracebackType
from typing import Any, Protocol

from services.edge.body import ClientGone, Receive
from services.edge.visitor import CLIENT_LEFT

QUEUE_MAX = 256
"""Events that wait for a slow reader; later ones are dropped, the answer itself never is."""
WAITING_MAX = 1024 * 1024
"""Bytes of these events together."""
WATCH_AFTER = 0.05
"""Seconds until a call's client is watched: most calls are answered before and never pay for it."""

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]
Linger = Callable[[], Awaitable[None]]

_JSON = (b"content-type", b"application/json")
_STREAM: list[Header] = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
_COMMENT = b": keep-alive\n\n"


def frame(message: bytes, label: bytes = b"") -> bytes:
    """One server-sent event with the id `label`; line breaks between JSON tokens become further lines."""
    start = b"id: %b\nevent: message\ndata: " % label if label else b"event: message\ndata: "
    return start + b"\ndata: ".join(message.splitlines()) + b"\n\n"


async def send_body(
    send: Send, status: int, body: bytes, headers: Iterable[Header] = (), linger: Linger | None = None
) -> None:
    """A whole response at once; it is over for the server when `linger` has ended."""
    start = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": start})
    if linger is not None:
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await linger()
        body = b""
    await send({"type": "http.response.body", "body": body})


class Outlet(Protocol):
    """Where the answer to one message goes, and what is told before it."""

    def event(self, message: bytes) -> None:
        """Tell one JSON-RPC message; never blocks."""
        ...

    async def finish(self, message: bytes) -> None:
        """The end, with the answer."""
        ...

    async def silence(self) -> None:
        """The end without one."""
        ...


class Recorder(Protocol):
    """Keeps what is streamed, so that the client can take the stream up again."""

    def head(self) -> bytes:
        """What goes ahead of all events."""
        ...

    def add(self, message: bytes) -> bytes:
        """The id of the event with this message."""
        ...

    def end(self, *, answered: bool = True) -> None:
        """Nothing comes any more."""
        ...

    async def abandoned(self) -> None:
        """Return when a client that hung up is not expected any more."""
        ...


class Answer:
    """Writes one answer. The task that streams events, if any, is ended by `close`."""

    __slots__ = (
        "_closing",
        "_hints",
        "_keepalive",
        "_pump",
        "_queue",
        "_ready",
        "_record",
        "_room",
        "_send",
        "_timeout",
        "_waiting",
        "dropped",
        "recorder",
        "status",
    )

    def __init__(self, send: Send, *, keepalive: float = 15.0, timeout: float = 30.0) -> None:
        self._send = send
        self._keepalive = keepalive
        self._timeout = timeout
        self._pump: asyncio.Task[None] | None = None
        self._closing = False
        self._hints: dict[str, bytes] = {}
        self._waiting = 0
        self._record: Callable[[], Recorder] | None = None
        self.recorder: Recorder | None = None
        self.dropped = 0
        self.status = 0
        """Of the response that has ended; 0 before."""

    @property
    def streaming(self) -> bool:
        return self._pump is not None

    def record(self, begin: Callable[[], Recorder]) -> None:
        """Keep what is streamed, if anything is: `begin` is called then."""
        self._record = begin

    def begin(self) -> None:
        """Stream from now on, unless it does so, or has ended."""
        if self._pump is None and not self._closing:
            self._begin()

    def open(self) -> Callable[[bytes, str], None]:
        """Begin to stream before there is an event; returns `hint`."""
        self._begin()
        return self.hint

    def _begin(self) -> None:
        self._queue: deque[bytes] = deque()
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        if self._record is not None:
            self.recorder = self._record()
            self.put(self.recorder.head())
        self._pump = asyncio.create_task(self._stream())

    def event(self, message: bytes, label: bytes = b"") -> None:
        """Stream one JSON-RPC message, unless the answer has ended; never blocks."""
        if self._closing:
            return
        if self._pump is None:
            self._begin()
        if len(self._queue) >= QUEUE_MAX or self._waiting + len(message) > WAITING_MAX:
            self.dropped += 1
            return
        self.deliver(message, label)

    def hint(self, message: bytes, about: str, label: bytes = b"") -> None:
        """Stream news, in the place of older news `about` the same that no reader has taken yet."""
        older = self._hints.pop(about, None)
        if older is not None:
            self._queue.remove(older)
            self._waiting -= len(older)
        dropped = self.dropped
        self.event(message, label)
        if not self._closing and self.dropped == dropped:
            self._hints[about] = self._queue[-1]

    def deliver(self, message: bytes, label: bytes = b"") -> None:
        """Stream what must not be lost, whatever waits before it; `label` is the id of its event."""
        self.put(frame(message, label if self.recorder is None else self.recorder.add(message)))

    def put(self, framed: bytes) -> None:
        """Stream an event that is framed already."""
        self._queue.append(framed)
        self._waiting += len(framed)
        self._ready.set()

    async def abandoned(self) -> None:
        """Return when a client that hung up cannot, or does not, come back for this stream."""
        if self.recorder is not None:
            await self.recorder.abandoned()

    async def room(self) -> None:
        """Wait until the client has read most of what it was sent. Raises `ClientGone` if it does not."""
        if self._waiting <= WAITING_MAX:
            return
        self._room.clear()
        try:
            async with asyncio.timeout(self._timeout):
                await self._room.wait()
        except TimeoutError:
            raise ClientGone from None

    async def finish(
        self,
        message: bytes,
        status: int = 200,
        headers: Iterable[Header] = (),
        linger: Linger | None = None,
    ) -> None:
        """The end. Once events have been streamed, `status` and `headers` are sent already."""
        self._closing = True
        if self._pump is None:
            self.status = status
            await send_body(self._send, status, message, [_JSON, *headers], linger)
        else:
            self.deliver(message)
            self._end(answered=True)
            await self._drain(self._pump)

    async def silence(self, status: int = 202) -> None:
        """The end without a message."""
        self._closing = True
        if self._pump is None:
            self.status = status
            await send_body(self._send, status, b"")
        else:
            self._end(answered=False)
            await self._drain(self._pump)

    async def close(self) -> None:
        """Stop streaming, whatever has been sent."""
        self._closing = True
        self._end(answered=True)
        # The task's cancellation holds its frame and so this object: a cycle, unless it is let go.
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    def _end(self, *, answered: bool) -> None:
        if self.recorder is not None:
            self.recorder.end(answered=answered)

    async def _drain(self, pump: asyncio.Task[None]) -> None:
        """Raises `ClientGone` if the client does not take the rest in time; `close` then ends the stream."""
        self._ready.set()
        done, _ = await asyncio.wait([pump], timeout=self._timeout)
        if not done:
            raise ClientGone
        pump.result()

    async def _stream(self) -> None:
        await self._send({"type": "http.response.start", "status": 200, "headers": _STREAM})
        while True:
            while self._queue:
                framed = b"".join(self._queue)
                self._queue.clear()
                self._hints.clear()
                self._waiting = 0
                self._room.set()
                await self._write(framed)
            if self._closing:
                break
            self._ready.clear()
            try:
                async with asyncio.timeout(self._keepalive):
                    await self._ready.wait()
            except TimeoutError:
                await self._write(_COMMENT)
        await self._send({"type": "http.response.body", "body": b""})

    async def _write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})


class Watch:
    """Inside it, the client's going away cancels the work and comes out as `ClientGone`.

    The client has gone for good when `abandoned` has returned.
    """

    __slots__ = ("_abandoned", "_gone", "_receive", "_task", "_timer", "_watcher")

    def __init__(self, receive: Receive, abandoned: Linger | None = None) -> None:
        self._receive = receive
        self._abandoned = abandoned
        self._watcher: asyncio.Task[None] | None = None
        self._gone = False

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(loop)
        self._timer = loop.call_later(WATCH_AFTER, self._start)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self._gone and self._task is not None:
            others = self._task.uncancel()
            if kind is asyncio.CancelledError and not others:
                raise ClientGone from None

    def _start(self) -> None:
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._abandoned is not None:
            await self._abandoned()
        self._gone = True
        if self._task is not None:
            self._task.cancel(CLIENT_LEFT)
