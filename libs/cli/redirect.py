"""Where the browser comes back to after a login: one page on the loopback, for one visit."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

PATH = "/callback"
HEAD_MAX = 16 * 1024
READ_WITHIN = 10.0
_DONE = "You are logged in. You can close this page."
_FAILED = "The login did not succeed; the terminal says why. You can close this page."
_PAGE = (
    "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\n"
    "cache-control: no-store\r\nreferrer-policy: no-referrer\r\nconnection: close\r\n\r\n{text}"
)


class Redirect:
    """An async context manager that listens while entered; `url` is what the authorization server is given.

    `port` 0 takes a free one. Raises `OSError` if it is taken.
    """

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._found: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()

    @property
    def url(self) -> str:
        """The redirect URI (RFC 8252 §7.3)."""
        return f"http://127.0.0.1:{self._port}{PATH}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._visit, "127.0.0.1", self._port, limit=HEAD_MAX)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self._found.cancel()

    async def parameters(self, timeout: float) -> dict[str, str]:
        """What the browser brought along, each parameter once. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout):
            return await asyncio.shield(self._found)

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whoever sends no request in time, or half of one, has not come from the authorization server.
        with suppress(TimeoutError, OSError, ValueError, asyncio.IncompleteReadError):
            async with asyncio.timeout(READ_WITHIN):
                line = (await reader.readuntil(b"\r\n")).decode("ascii")
                writer.write(self._answer(line).encode())
                await writer.drain()
        writer.close()

    def _answer(self, line: str) -> str:
        method, _, target = line.partition(" ")
        parts = urlsplit(target.partition(" ")[0])
        if method != "GET" or parts.path != PATH:
            return _page("404 Not Found", "There is nothing here.")
        found = {name: values[0] for name, values in parse_qs(parts.query).items() if len(values) == 1}
        if not self._found.done():
            self._found.set_result(found)
        return _page("200 OK", _DONE if "code" in found else _FAILED)


def _page(status: str, text: str) -> str:
    return _PAGE.format(status=status, length=len(text.encode()), text=text)
