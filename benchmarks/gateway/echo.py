"""A downstream server that costs next to nothing, so that what is measured is the gateway.

    python -S -I echo.py [both|modern|legacy] [FILE]

Speaks MCP over standard input and output, as a script without any package. FILE holds the result of
`tools/list`; without it there is one tool, `echo`. `benchmarks.gateway.web` serves the same over HTTP.
"""

import json
import os
import sys

CHUNK = 1 << 20
TOOLS = (
    b'{"tools":[{"name":"echo","description":"Give back the text.","inputSchema":{"type":"object",'
    b'"properties":{"text":{"type":"string"}},"required":["text"]}}],'
    b'"resultType":"complete","ttlMs":0,"cacheScope":"private"}'
)
DISCOVERED = (
    b'{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"resultType":"complete","ttlMs":0,'
    b'"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"echo","version":"1"}}}'
)
INITIALIZED = (
    b'{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"echo","version":"1"}}'
)
CALLED = b'{"content":[{"type":"text","text":%s}],"isError":false,"resultType":"complete"}'


class Echo:
    """Answers whole JSON-RPC messages."""

    def __init__(self, era: str = "both", tools: bytes = TOOLS) -> None:
        self._results = {"tools/list": tools, "ping": b"{}"}
        if era != "legacy":
            self._results["server/discover"] = DISCOVERED
        if era != "modern":
            self._results["initialize"] = INITIALIZED

    def answer(self, message: bytes) -> bytes | None:
        """The answer to a request; None for what needs none."""
        asked = json.loads(message)
        if "id" not in asked:
            return None
        number = json.dumps(asked["id"]).encode()
        if asked["method"] == "tools/call":
            result: bytes | None = CALLED % json.dumps(asked["params"]["arguments"]["text"]).encode()
        else:
            result = self._results.get(asked["method"])
        if result is None:
            return b'{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}' % number
        return b'{"jsonrpc":"2.0","id":%s,"result":%s}' % (number, result)


def serve(echo: Echo) -> None:
    """Answer lines on standard input until it ends; all that came together with one write."""
    rest = b""
    while data := os.read(0, CHUNK):
        *lines, rest = (rest + data).split(b"\n")
        answers = [answer for line in lines if line and (answer := echo.answer(line)) is not None]
        waiting = memoryview(b"".join(answer + b"\n" for answer in answers))
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
