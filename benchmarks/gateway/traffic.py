"""The requests of a client, as templates the load generator fills in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

Client = Literal["modern", "legacy"]
NUMBER, TEXT = 918273645, "~text~"
"""Stand for the id and the varying text of a request; no message has either by itself."""
MODERN, LEGACY = "2026-07-28", "2025-11-25"
_WORDS = (
    "a text of some hundred characters, as arguments of tools often are, sent to and fro without a change"
)
_INFO = {"name": "benchmark", "version": "1"}
_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": _INFO,
    "io.modelcontextprotocol/clientCapabilities": {},
}
_ACCEPT = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
_INITIALIZE = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": _INFO}


class Traffic(msgspec.Struct):
    """Calls of one tool by one kind of client."""

    url: str
    client: Client
    headers: dict[str, str]
    template: str
    """A request's JSON with `NUMBER` and `TEXT` in it."""
    texts: list[str]
    wanted: str = ""
    """What the first content block of an answer must hold; the request's own text where this is empty."""
    events: int = 0
    """Progress notifications that must come before an answer."""
    initialize: str = ""
    """The first request of a legacy session, with `NUMBER` in it."""


def calling(url: str, client: Client, tool: str, *, inside: str = "") -> Traffic:
    """Calls of an echo tool; `inside` the `execute` tool of a gateway when that is named."""
    arguments: dict[str, Any] = {"text": TEXT}
    if inside:
        return _traffic(url, client, inside, {"name": tool, "arguments": arguments}, _texts())
    return _traffic(url, client, tool, arguments, _texts())


def progressing(
    url: str, client: Client, tool: str, events: int, *, pause: float = 0.0, inside: str = ""
) -> Traffic:
    """Calls of an echo tool that tells its progress, `pause` seconds apart; one token serves all calls."""
    traffic = calling(url, client, tool, inside=inside)
    template = json.loads(traffic.template)
    params = template["params"]
    params.setdefault("_meta", {})["progressToken"] = "progress"
    arguments = params["arguments"]["arguments"] if inside else params["arguments"]
    arguments["pause"] = pause
    return msgspec.structs.replace(traffic, template=json.dumps(template), events=events)


def searching(url: str, queries: Sequence[str], wanted: str = '"name"') -> Traffic:
    """Searches of a modern client; the first hit must hold `wanted`."""
    return _traffic(url, "modern", "search", {"query": TEXT}, list(queries), wanted)


def _traffic(
    url: str, client: Client, tool: str, arguments: dict[str, Any], texts: list[str], wanted: str = ""
) -> Traffic:
    params: dict[str, Any] = {"name": tool, "arguments": arguments}
    if client == "modern":
        params["_meta"] = _META
        headers = {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": tool}
        return Traffic(url, client, _ACCEPT | headers, _request("tools/call", params), texts, wanted)
    first = _request("initialize", _INITIALIZE)
    return Traffic(
        url, client, dict(_ACCEPT), _request("tools/call", params), texts, wanted, initialize=first
    )


def _request(method: str, params: dict[str, Any]) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": NUMBER, "method": method, "params": params})


def _texts() -> list[str]:
    return [f"{number:04} {_WORDS}" for number in range(64)]
