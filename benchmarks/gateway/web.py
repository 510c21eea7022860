"""The echo server over Streamable HTTP: `python -m benchmarks.gateway.web FD both|modern|legacy`."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import uvicorn

from benchmarks.gateway.echo import Echo

IDLE = 600
"""Seconds a connection is kept: longer than any measurement pauses."""


class Application:
    """A plain ASGI application: POST only, without sessions, which a legacy server need not have."""

    def __init__(self, echo: Echo) -> None:
        self._echo = echo

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] != "POST":
            await _send(send, 405, b"")
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        answers = self._echo.answers(body)
        if len(answers) > 1:
            await _stream(send, answers, self._echo.pause)
        else:
            await _send(send, 200 if answers else 202, b"".join(answers))


async def _stream(send: Any, messages: list[bytes], pause: float) -> None:
    head = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    for message in messages:
        event = b"data: %b\n\n" % message
        await send({"type": "http.response.body", "body": event, "more_body": True})
        if pause:
            await asyncio.sleep(pause)
    await send({"type": "http.response.body", "body": b""})


async def _send(send: Any, status: int, body: bytes) -> None:
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve on a listening socket that was inherited."""
    # uvicorn's own option takes any socket for a Unix one, and those have no TCP_NODELAY: 40 ms a call.
    listener = socket.socket(fileno=int(sys.argv[1]))
    config = uvicorn.Config(
        Application(Echo(sys.argv[2])),
        http="httptools",
        loop="uvloop",
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=IDLE,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
