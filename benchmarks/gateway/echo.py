"""A downstream server that costs next to nothing, so that what is measured is the gateway.

    python -S -I echo.py [both|modern|legacy] [FILE]

Speaks MCP over standard input and output, as a script without any package. FILE holds the result of
`tools/list`; without it there are `echo`, and `steps`, which first tells its progress ten times, `pause`
seconds apart. Whoever listens (`subscriptions/listen`) hears nothing. `benchmarks.gateway.web` serves the
same over HTTP.
"""

from __future__ import annotations

import json
import os
import sys
import time

# Not `typing`, which costs as much to import as all the rest.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CHUNK = 1 << 20
STEPS = 10
TOOL = (
    b'{"name":"%s","description":"Give back the text.","inputSchema":{"type":"object",'
    b'"properties":{"text":{"type":"string"}},"required":["text"]}}'
)
TOOLS = b'{"tools":[%s,%s],"resultType":"complete","ttlMs":0,"cacheScope":"private"}' % (
    TOOL % b"echo",
    TOOL % b"steps",
)
DISCOVERED = (
    b'{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"resultType":"complete","ttlMs":0,'
    b'"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"echo","version":"1"}}}'
)
INITIALIZED = (
    b'{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"echo","version":"1"}}'
)
STEP = (
    b'{"jsonrpc":"2.0","method":"notifications/progress",'
    b'"params":{"progressToken":%s,"progress":%d,"total":%d}}'
)
LISTENED = (
    b'{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{},'
    b'"_meta":{"io.modelcontextprotocol/subscriptionId":%s}}}'
)
CALLED = b'{"content":[{"type":"text","text":%s}],"isError":false,"resultType":"complete"}'


class Echo:
    """Answers whole JSON-RPC messages."""

    def __init__(self, era: str = "both", tools: bytes = TOOLS) -> None:
        self.pause = 0.0
        """Seconds after each event, as the last call wanted them."""
        self._results = {"tools/list": tools, "ping": b"{}"}
        if era != "legacy":
            self._results["server/discover"] = DISCOVERED
        if era != "modern":
            self._results["initialize"] = INITIALIZED

    def answers(self, message: bytes) -> list[bytes]:
        """What is to be said to a message, events first; nothing to what needs no answer."""
        asked = json.loads(message)
        if "id" not in asked:
            return []
        number = json.dumps(asked["id"]).encode()
        if asked["method"] == "tools/call":
            self.pause = asked["params"]["arguments"].get("pause", 0.0)
            return [*_steps(asked["params"]), _result(number, _called(asked["params"]))]
        if asked["method"] == "subscriptions/listen":
            return [LISTENED % number]
        result = self._results.get(asked["method"])
        if result is None:
            return [b'{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}' % number]
        return [_result(number, result)]


def _steps(params: dict[str, Any]) -> list[bytes]:
    token = params.get("_meta", {}).get("progressToken")
    if params["name"] != "steps" or token is None:
        return []
    return [STEP % (json.dumps(token).encode(), step, STEPS) for step in range(1, STEPS + 1)]


def _called(params: dict[str, Any]) -> bytes:
    return CALLED % json.dumps(params["arguments"]["text"]).encode()


def _result(number: bytes, result: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":%s,"result":%s}' % (number, result)


def serve(echo: Echo) -> None:
    """Answer lines on standard input until it ends: events one by one, answers together that are due."""
    rest = b""
    while data := os.read(0, CHUNK):
        *lines, rest = (rest + data).split(b"\n")
        due: list[bytes] = []
        for line in filter(None, lines):
            *events, last = echo.answers(line) or [b""]
            for event in events:
                _write(event + b"\n")
                if echo.pause:
                    time.sleep(echo.pause)
            due += [last + b"\n"] if last else []
        _write(b"".join(due))


def _write(data: bytes) -> None:
    waiting = memoryview(data)
    while waiting:
        waiting = waiting[os.write(1, waiting) :]


def main() -> None:
    era = sys.argv[1] if len(sys.argv) > 1 else "both"
    if len(sys.argv) < 3:
        serve(Echo(era))
        return
    with open(sys.argv[2], "rb") as listed:  # noqa: PTH123 - pathlib costs as much to import as all the rest
        tools = listed.read()
    serve(Echo(era, tools))


if __name__ == "__main__":
    main()
