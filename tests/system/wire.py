"""MCP over bare HTTP, for what the clients of the SDKs would not let a test say or see."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
_ids = itertools.count(1)

Message = dict[str, Any]


@asynccontextmanager
async def http(timeout: float = 30.0) -> AsyncIterator[httpx.AsyncClient]:
    """Connections of our own; the environment's proxies are none of them."""
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(trust_env=False, timeout=timeout, limits=limits) as client:
        yield client


def modern(method: str, params: Message) -> tuple[Message, dict[str, str]]:
    """One message of revision 2026-07-28 and the headers that go with it."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "wire", "version": "1"},
        **params.get("_meta", {}),
    }
    body = {"jsonrpc": "2.0", "id": next(_ids), "method": method, "params": {**params, "_meta": meta}}
    headers = {**ACCEPT, "MCP-Protocol-Version": MODERN, "Mcp-Method": method}
    if "name" in params:
        headers["Mcp-Name"] = params["name"]
    return body, headers


async def ask(client: httpx.AsyncClient, url: str, method: str, params: Message) -> httpx.Response:
    """The response to one modern request."""
    body, headers = modern(method, params)
    return await client.post(url, json=body, headers=headers)


def answered(response: httpx.Response) -> Message:
    """The JSON-RPC answer in a response, alone or at the end of an event stream."""
    if response.headers["content-type"].startswith("text/event-stream"):
        data = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
        return dict(json.loads(data[-1]))
    return dict(response.json())


async def execute(url: str, tool: str, arguments: Message | None = None, *, timeout: float = 30.0) -> Message:
    """The answer to one `execute`, on a connection of its own."""
    async with http(timeout) as client:
        params = {"name": "execute", "arguments": {"name": tool, "arguments": arguments or {}}}
        return answered(await ask(client, url, "tools/call", params))


async def begin(
    client: httpx.AsyncClient, url: str, version: str = LEGACY, **capabilities: Message
) -> dict[str, str]:
    """Open a legacy session; the headers of everything that is said in it."""
    info = {"name": "wire", "version": "1"}
    params = {"protocolVersion": version, "capabilities": capabilities, "clientInfo": info}
    body = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    response = await client.post(url, json=body, headers=ACCEPT)
    assert response.status_code == 200, response.text
    session = response.headers["mcp-session-id"]
    headers = {**ACCEPT, "Mcp-Session-Id": session, "MCP-Protocol-Version": version}
    await client.post(url, json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=headers)
    return headers


def called(number: int, tool: str, arguments: Message | None = None) -> Message:
    """The message of one `execute` in a legacy session."""
    params = {"name": "execute", "arguments": {"name": tool, "arguments": arguments or {}}}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


def text(message: Message) -> str:
    """The text of a tool's result; fails on an error."""
    assert "result" in message, message
    return str(message["result"]["content"][0]["text"])


def verdict(message: Message) -> str:
    """What an error says of the call: `no`, `yes` or `unknown`."""
    assert "error" in message, message
    return str(message["error"]["data"]["executed"])
