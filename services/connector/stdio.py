"""A session with a server that is a child process, over its standard input and output."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from msgspec import Raw

from libs.common.config import StderrFile, StdioServer
from libs.common.errors import (
    DeadlineExceeded,
    DownstreamError,
    DownstreamLost,
    NexusError,
    NotSent,
    ServerUnavailable,
)
from libs.common.messages.calls import Client
from services.connector import environment, handshake
from services.connector.framing import Overlong
from services.connector.jsonrpc import Multiplexer
from services.connector.process import Child
from services.connector.questions import Asked, decline
from services.connector.session import LINE_MAX, NOTHING, Era, EventSink, Notice, Opened, Params
from services.connector.stderr import Stderr

GARBAGE_MAX = 1000
"""Lines in a row that are no JSON-RPC, after which the server is given up."""


class StdioSession:
    """One child process and the conversation with it. Keeps the promises of `Session`."""

    kind = "stdio"

    def __init__(self, server: StdioServer, on_notice: Notice, on_question: Asked = decline) -> None:
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._server = server
        self._on_notice = on_notice
        self._on_question = on_question
        self._era: Era = "legacy"
        self._opened = False
        self._child: Child | None = None
        self._mux = self._multiplexer()
        self._stderr = self._errors()

    async def open(self) -> Opened:
        """Start the process and shake hands, within `start_timeout` seconds.

        A server that dies of a question before `initialize`, as some do, is started again without one.
        """
        deadline = time.time() + self._server.start_timeout
        try:
            try:
                opened = await self._attempt(self._server.era, deadline)
            except (DownstreamLost, NotSent):
                if self._server.era != "auto":
                    raise
                await self._discard()
                opened = await self._attempt("legacy", deadline)
        except NexusError as error:
            await self.close()
            raise self._explained(error) from error
        except asyncio.CancelledError:
            await self.close()
            raise
        self._era, self._opened = opened.era, True
        return opened

    async def call(
        self,
        method: str,
        params: Params,
        *,
        deadline: float,
        client: Client,
        on_event: EventSink | None = None,
        on_question: Asked | None = None,
        progress: bool = True,
        sent: Mapping[str, str] = NOTHING,
    ) -> Raw:
        """The raw result of one request."""
        params = handshake.adapted(params, self._era, client.capabilities)
        return await self._mux.call(
            method,
            params,
            deadline,
            on_event,
            on_question=on_question,
            progress=progress,
            owner=client.session,
        )

    async def notify(self, method: str, params: Params, sent: Mapping[str, str] = NOTHING) -> None:
        """Send one notification."""
        await self._mux.notify(method, params if self._era == "modern" else handshake.stripped(params))

    def learn(self, schemas: Mapping[str, Raw]) -> None:
        """Nothing: a pipe has no headers."""

    async def close(self) -> None:
        """End the process and all it started, within about ten seconds."""
        self._mux.fail("the session was closed")
        child, self._child = self._child, None
        if child is not None:
            await child.stop()

    async def _attempt(self, choice: handshake.Choice, deadline: float) -> Opened:
        server = self._server
        configured = {name: value.get_secret_value() for name, value in server.env.items()}
        child = self._child = Child(self._take, LINE_MAX, self._stderr)
        await child.start(server.cmd, environment.clean(configured), server.cwd)
        child.ended.add_done_callback(lambda ended: self._end(child, ended.result()))
        return await handshake.negotiate(self._mux.call, self._mux.notify, choice, deadline)

    async def _discard(self) -> None:
        await self.close()
        self._mux = self._multiplexer()
        self._stderr = self._errors()

    def _multiplexer(self) -> Multiplexer:
        return Multiplexer(self._send, self._on_notice, self._on_question)

    def _errors(self) -> Stderr:
        target = self._server.stderr
        return Stderr(target.file if isinstance(target, StderrFile) else target, self._server.name)

    def _send(self, message: bytes) -> None:
        if self._child is None:
            raise NotSent("the server process is not running")
        # Only white space can be a raw line break in JSON, so this changes nothing but the layout.
        if b"\n" in message or b"\r" in message:
            message = message.replace(b"\n", b" ").replace(b"\r", b" ")
        self._child.write(message)

    def _take(self, line: bytes | Overlong) -> None:
        if isinstance(line, Overlong):
            self._mux.discard(line.head, line.tail, LINE_MAX)
        elif line and not line.isspace():
            self._mux.feed(line)
            if self._mux.streak >= GARBAGE_MAX and self._child is not None:
                self._end(self._child, f"wrote {GARBAGE_MAX} lines in a row that are not JSON-RPC")

    def _end(self, child: Child, reason: str) -> None:
        if child is not self._child:
            return
        self._mux.fail(f"the server {reason}")
        if self._opened and not self.lost.done():
            self.lost.set_result(reason)

    def _explained(self, error: NexusError) -> ServerUnavailable:
        reason = error.message
        if isinstance(error, DeadlineExceeded):
            reason = f"it did not answer within {self._server.start_timeout:g} s"
        elif isinstance(error, DownstreamError):
            reason = f"it refused initialize: {reason[:200]}"
        tail = self._stderr.tail()
        return ServerUnavailable(f"it did not start: {reason}", **({"stderr": tail} if tail else {}))
