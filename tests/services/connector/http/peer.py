"""A real HTTP/1.1 server that a test scripts, down to the bytes it wants to get wrong."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]


@dataclass
class Asked:
    """A request as it arrived; header names in lower case."""

    verb: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> Message:
        return json.loads(self.body) if self.body else {}


class Reply:
    """The way back; `gone` is set once the client has closed the connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.gone = asyncio.Event()
        self.writer = writer

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def body(
        self, data: bytes, kind: str = "application/json", status: int = 200, **headers: str
    ) -> None:
        lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", f"content-length: {len(data)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.raw("\r\n".join([*lines, "", ""]).encode() + data)

    async def json(self, value: object, status: int = 200, **headers: str) -> None:
        await self.body(json.dumps(value).encode(), "application/json", status, **headers)

    async def result(self, asked: Asked, result: object, **headers: str) -> None:
        await self.json({"jsonrpc": "2.0", "id": asked.message["id"], "result": result}, 200, **headers)

    async def events(self) -> None:
        await self.raw(
            b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )

    async def chunk(self, data: bytes) -> None:
        await self.raw(b"%x\r\n%s\r\n" % (len(data), data))

    async def event(self, value: object, kind: str = "message") -> None:
        text = value if isinstance(value, str) else json.dumps(value)
        await self.chunk(f"event: {kind}\ndata: {text}\n\n".encode())

    async def end(self) -> None:
        await self.raw(b"0\r\n\r\n")

    def drop(self) -> None:
        self.writer.transport.abort()


Script = Callable[[Asked, Reply], Awaitable[None]]


@dataclass
class Peer:
    """Where the server is and what it was asked."""

    script: Script
    port: int = 0
    scheme: str = "http"
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/mcp"

    def messages(self, method: str) -> list[Message]:
        return [one.message for one in self.asked if one.body and one.message.get("method") == method]

    async def until(self, enough: Callable[[], bool]) -> None:
        """Wait until what was asked satisfies `enough`."""
        async with asyncio.timeout(5), self.changed:
            await self.changed.wait_for(enough)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        coming = asyncio.ensure_future(_read(reader))
        try:
            while (asked := await coming) is not None:
                async with self.changed:
                    self.asked.append(asked)
                    self.changed.notify_all()
                coming = asyncio.ensure_future(_read(reader))
                reply = Reply(writer)
                coming.add_done_callback(functools.partial(_told, reply))
                await self.script(asked, reply)
        except ConnectionError:
            pass
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _told(reply: Reply, done: asyncio.Future[Asked | None]) -> None:
    if not done.cancelled() and done.result() is None:
        reply.gone.set()


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        verb, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        return None
    return Asked(verb, path, headers, body)


@contextlib.asynccontextmanager
async def serving(script: Script, context: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """A server on a free port; every connection is closed at the end."""
    peer = Peer(script, scheme="https" if context else "http")
    tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(peer.serve(reader, writer))
        tasks[task] = writer
        task.add_done_callback(tasks.pop)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context, limit=2**26)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        for task, writer in tasks.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


VERSION = "2025-11-25"


def legacy(call: Script, *, session: str = "s-1", get: Script | None = None) -> Script:
    """A legacy server: it shakes hands itself and leaves every call to `call`."""

    async def script(asked: Asked, reply: Reply) -> None:
        if asked.verb == "GET":
            await (get(asked, reply) if get else reply.json({}, status=405))
            return
        if asked.verb == "DELETE":
            await reply.json({})
            return
        method = asked.message.get("method", "")
        if method == "server/discover":
            await reply.json(
                {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no"}}, status=400
            )
        elif method == "initialize":
            info = {"protocolVersion": VERSION, "capabilities": {"tools": {}}, "serverInfo": {"name": "peer"}}
            await reply.result(asked, info, **({"mcp_session_id": session} if session else {}))
        elif "id" not in asked.message or not method:
            await reply.body(b"", status=202)
        else:
            await call(asked, reply)

    return script


def modern(call: Script, **headers: str) -> Script:
    """A modern server: it answers `server/discover` itself and leaves every call to `call`."""

    async def script(asked: Asked, reply: Reply) -> None:
        if asked.verb != "POST":
            await reply.json({}, status=405)
        elif asked.message["method"] == "server/discover":
            found = {
                "resultType": "complete",
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}},
            }
            await reply.result(asked, {**found, "ttlMs": 0, "cacheScope": "private"}, **headers)
        else:
            await call(asked, reply)

    return script


async def echo(asked: Asked, reply: Reply) -> None:
    """Answer a call with the text of its first argument."""
    arguments = asked.message["params"].get("arguments", {})
    text = str(next(iter(arguments.values()), ""))
    await reply.result(asked, {"content": [{"type": "text", "text": text}]})
