"""Commands that talk to a running gateway, as a client does: over MCP and its readiness page."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

VERSION = "2026-07-28"
TIMEOUT = 120.0
COLOURS = {"ready": "green", "starting": "yellow", "standby": "cyan", "failed": "red", "stopped": "red"}


def servers(url: str, *, watch: bool) -> None:
    """Print the table of servers, once or until Ctrl-C."""
    page = urlunsplit((*urlsplit(url)[:2], "/ready", "", ""))
    with _client() as client:
        if not watch:
            Console().print(_table(_ready(client, page)))
            return
        with Live(_table(_ready(client, page)), refresh_per_second=2) as live:
            while True:
                time.sleep(0.5)
                live.update(_table(_ready(client, page)))


def search(url: str, words: list[str], limit: int) -> None:
    """Print the tools found, best first."""
    result = _call(url, "search", {"query": " ".join(words), "limit": limit})
    hits = result.get("structuredContent", {}).get("results")
    if hits is None:
        hits = [json.loads(item["text"]) for item in result["content"]]
    if not hits:
        typer.echo(_text(result))
        raise typer.Exit(1)
    table = Table("tool", "score", "description", box=None, pad_edge=False)
    for hit in hits:
        summary = " ".join(hit["description"].split())
        table.add_row(f"[bold]{hit['name']}[/bold]", f"{hit['score']:.2f}", summary[:100])
    Console().print(table)


def call(url: str, tool: str, arguments: str) -> None:
    """Print the text of a tool's result; exit status 1 if the tool or the call failed."""
    try:
        parsed = json.loads(arguments)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="ARGUMENTS") from None
    result = _call(url, "execute", {"name": tool, "arguments": parsed})
    typer.echo(_text(result))
    if result.get("isError"):
        raise typer.Exit(1)


def _client() -> httpx.Client:
    return httpx.Client(timeout=TIMEOUT, trust_env=False)


def _ready(client: httpx.Client, page: str) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = client.get(page).json()
    except (httpx.HTTPError, ValueError) as error:
        raise SystemExit(f"no gateway answers at {page} ({error}); start one with `nexus`") from None
    return answer


def _table(ready: dict[str, Any]) -> Table:
    table = Table("server", "state", "tools", "since", "connectors", "last error", box=None, pad_edge=False)
    now = time.time()
    for name, server in ready["servers"].items():
        state = server["state"]
        since = server.get("since", 0)
        table.add_row(
            f"[bold]{name}[/bold]",
            f"[{COLOURS.get(state, 'white')}]{state}[/]",
            str(server.get("tools", 0)),
            f"{now - since:.0f} s" if since else "",
            ", ".join(server.get("workers", ())),
            server.get("error", ""),
        )
    return table


def _call(url: str, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    meta = {
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "nexus-cli", "version": "1"},
    }
    params = {"name": tool, "arguments": arguments, "_meta": meta}
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": VERSION,
        "Mcp-Method": "tools/call",
        "Mcp-Name": tool,
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    try:
        with _client() as client:
            answer = client.post(url, json=message, headers=headers).json()
    except (httpx.HTTPError, ValueError) as error:
        raise SystemExit(f"no gateway answers at {url} ({error}); start one with `nexus`") from None
    if "error" in answer:
        raise SystemExit(f"{answer['error']['message']} ({answer['error']['code']})")
    result: dict[str, Any] = answer["result"]
    return result


def _text(result: dict[str, Any]) -> str:
    parts = [
        item["text"] if item.get("type") == "text" else json.dumps(item) for item in result.get("content", ())
    ]
    return "\n".join(parts)
