"""What a person sees when the gateway is up: the address, and how to add it to their client."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time

import structlog
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from libs.common.config import Config
from libs.common.log import Style

log = structlog.get_logger("welcome")

PATIENCE = 60.0
EVERY = 0.02


async def greet(listener: socket.socket, config: Config, *, log_style: Style) -> None:
    """Wait until the edge answers, then say where it is; the owner task's body."""
    started = time.monotonic()
    url = endpoint(listener, config)
    tls = _unverified() if config.server.tls else None
    while not await _answers(listener, tls):
        if time.monotonic() - started > PATIENCE:
            log.warning("the edge does not answer yet", url=url)
            return
        await asyncio.sleep(EVERY)
    seconds = round(time.monotonic() - started, 1)
    if log_style == "color":
        Console(stderr=True).print(panel(url, config))
    log.info("serving", url=url, after=f"{seconds} s")


def endpoint(listener: socket.socket, config: Config) -> str:
    """The URL of the aggregate MCP endpoint."""
    host, port = listener.getsockname()[:2]
    scheme = "https" if config.server.tls else "http"
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - compared, not bound
    return f"{scheme}://{shown}:{port}{config.mcp.path}"


def panel(url: str, config: Config) -> Panel:
    """The address, and snippets for the common clients."""
    entry = json.dumps({"mcpServers": {"nexus": {"type": "http", "url": url}}})
    text = Text.assemble(
        ("Endpoint   ", "bold"), (url, "bold green"), f"   {len(config.mcp.servers)} servers configured\n\n",
        ("Claude Code  ", "bold"), f"claude mcp add --transport http nexus {url}\n",
        ("Cursor       ", "bold"), f".cursor/mcp.json   {entry}\n",
        ("VS Code      ", "bold"),
        f".vscode/mcp.json   {json.dumps({'servers': {'nexus': {'type': 'http', 'url': url}}})}\n\n",
        ("See          ", "bold"), "nexus servers   nexus search WORDS   nexus call TOOL JSON",
    )  # fmt: skip
    return Panel(text, title="Nexus", title_align="left", border_style="green", expand=False)


def _unverified() -> ssl.SSLContext:
    """For the question whether somebody is there, on this machine: nothing secret is said."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _answers(listener: socket.socket, tls: ssl.SSLContext | None) -> bool:
    """Whether an edge accepts and answers HTTP on the listening socket."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls)
            try:
                writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return bool(await reader.read(1))
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
