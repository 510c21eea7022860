"""The echo server over Streamable HTTP: `python -m benchmarks.gateway.web FD both|modern|legacy`."""

from __future__ import annotations

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
        answer = self._echo.answer(body)
        await _send(send, 202 if answer is None else 200, answer or b"")


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
