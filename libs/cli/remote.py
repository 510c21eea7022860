"""Commands that talk to a running gateway, as a client does: over MCP and its readiness page."""

from __future__ import annotations

import json
import os
import time
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

VERSION = "2026-07-28"
TIMEOUT = 120.0
VARIABLE = "NEXUS_TOKEN"
"""Variable with a token or an API key: on a command line others could read it."""
WANTED = "{url} wants to know who you are: set NEXUS_TOKEN to a token or an API key that is good there"
SUMMARY = 100
"""Characters of a description that a table shows."""
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


def search(url: str, words: list[str], **wanted: Any) -> None:
    """Print the tools found, best first; `wanted` are arguments of `search` as they are."""
    result = _call(url, "search", {"query": " ".join(words), **wanted})
    hits = _hits(result)
    if not hits:
        typer.echo(_text(result))
        raise typer.Exit(1)
    Console().print(_found(hits, wanted.get("detail", "")))


def _hits(result: dict[str, Any]) -> list[dict[str, Any]]:
    """From the structured content, or from the texts where the gateway sends no other."""
    structured = result.get("structuredContent")
    if structured is not None:
        return list(structured["results"])
    try:
        return [json.loads(item["text"]) for item in result["content"]]
    except ValueError:
        return []


def _found(hits: list[dict[str, Any]], detail: str) -> Table | Group:
    """A row for each tool; in full, all that was said of it."""
    if detail == "full":
        return Group(*(Text(plain(json.dumps(hit, indent=2, ensure_ascii=False))) for hit in hits))
    short = detail == "names"
    reasons = () if short else ("effect", "because of")
    name = Column("tool", no_wrap=True, overflow="fold")
    table = Table(name, "score", *reasons, "description", box=None, pad_edge=False)
    for hit in hits:
        said = () if short else (_effect(hit), Text(plain(_because(hit))))
        score, summary = f"{hit['score']:.2f}", Text(_summary(hit["description"]))
        table.add_row(Text(plain(hit["name"]), "bold"), score, *said, summary)
    return table


def _summary(description: str) -> str:
    summary = " ".join(plain(description).split())
    return summary if len(summary) <= SUMMARY else summary[: SUMMARY - 1] + "…"


def _effect(hit: dict[str, Any]) -> str:
    """What the server says that the tool does, if it says so."""
    said = hit.get("annotations")
    reads = said.get("readOnlyHint") if isinstance(said, dict) else None
    return {True: "reads", False: "writes"}[reads] if isinstance(reads, bool) else ""


def _because(hit: dict[str, Any]) -> str:
    """The words that matched, misspelt ones with what they were taken for."""
    why = hit.get("why", {})
    if why.get("related"):
        return "(related)"
    mended = why.get("repaired", {})
    return " ".join(f"{word}→{mended[word]}" if word in mended else word for word in why.get("matched", ()))


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
    token = os.environ.get(VARIABLE)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(timeout=TIMEOUT, trust_env=False, headers=headers)


def _ready(client: httpx.Client, page: str) -> dict[str, Any]:
    answer = _answer(client, page, "GET")
    if "servers" not in answer and "ready" in answer:
        raise SystemExit(WANTED.format(url=page))
    if "servers" not in answer:
        raise SystemExit(f"{page} is not the readiness page of a gateway; is the URL its MCP endpoint?")
    return answer


def _answer(client: httpx.Client, url: str, verb: str, **request: Any) -> dict[str, Any]:
    """The JSON object at `url`; the end of the program, with a sentence, if there is none."""
    try:
        response = client.request(verb, url, **request)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SystemExit(f"no gateway answers at {url} ({error}); start one with `nexus`") from None
    if response.status_code == 401:
        raise SystemExit(WANTED.format(url=url))
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise SystemExit(f"{url} answers with HTTP status {response.status_code}, but not as a gateway")
    return answer


def _table(ready: dict[str, Any]) -> Table:
    table = Table("server", "state", "tools", "since", "connectors", "last error", box=None, pad_edge=False)
    now = time.time()
    for name, server in ready["servers"].items():
        state = server["state"]
        since = server.get("since", 0)
        table.add_row(
            Text(name, "bold"),
            Text(state, COLOURS.get(state, "white")),
            str(server.get("tools", 0)),
            f"{now - since:.0f} s" if since else "",
            ", ".join(server.get("workers", ())),
            Text(plain(server.get("error", ""))),
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
    with _client() as client:
        answer = _answer(client, url, "POST", json=message, headers=headers)
    error, result = answer.get("error"), answer.get("result")
    if isinstance(error, dict):
        raise SystemExit(f"{plain(str(error.get('message')))} ({error.get('code')})")
    if not isinstance(result, dict):
        raise SystemExit(f"{url} answers, but not as an MCP endpoint")
    return result


def _text(result: dict[str, Any]) -> str:
    parts = [
        item["text"] if item.get("type") == "text" else json.dumps(item) for item in result.get("content", ())
    ]
    return plain("\n".join(parts))


def plain(text: str) -> str:
    """`text` without what would make a terminal do something; a server may have written it."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)
