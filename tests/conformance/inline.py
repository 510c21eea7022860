"""The gateway in one process, with a real bus: what a user gets from `nexus --single-process`, quietly."""

from __future__ import annotations

import asyncio
import importlib
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from libs.common import service
from libs.common.service import Options
from tests.broker import Broker

ROLES = ("router", "indexer", "connector", "edge")
READY_WITHIN = 30.0
SERVER = "peer"


@asynccontextmanager
async def gateway(folder: Path, server: Mapping[str, Any], settings: str = "") -> AsyncIterator[Inline]:
    """A gateway in front of one server, named `peer`; its processes are tasks of this loop."""
    config = folder / "nexus.toml"
    config.write_text(f"{settings}\n[mcp.servers.{SERVER}]\n{_lines(server)}")
    broker = Broker(folder)
    broker.start()
    listener = socket.create_server(("127.0.0.1", 0))
    stop = asyncio.Event()
    options = Options(config, nats=broker.url, log="info", sockets=(listener,))
    try:
        async with asyncio.TaskGroup() as tasks:
            for role in ROLES:
                build = importlib.import_module(f"services.{role}.main").build
                tasks.create_task(service.serve(role, build, options, stop))
            try:
                yield Inline(f"http://127.0.0.1:{listener.getsockname()[1]}", options)
            finally:
                stop.set()
    finally:
        listener.close()
        broker.stop()


class Inline:
    """Where the gateway is."""

    def __init__(self, origin: str, options: Options) -> None:
        self.origin = origin
        self.options = options
        self.url = f"{origin}/mcp/{SERVER}"

    async def settled(self) -> dict[str, Any]:
        """What is said of the server, as soon as it is either ready or has failed."""
        return await self.until("ready", "failed")

    async def until(self, *states: str) -> dict[str, Any]:
        """What is said of the server, as soon as it is in one of these states."""
        said: dict[str, Any] = {}
        async with asyncio.timeout(READY_WITHIN), httpx.AsyncClient(trust_env=False, timeout=5) as client:
            while said.get("state") not in states:
                with suppress(httpx.HTTPError, ValueError):
                    page = (await client.get(f"{self.origin}/ready")).json()
                    said = page.get("servers", {}).get(SERVER, {})
                await asyncio.sleep(0.05)
        return said


def _lines(table: Mapping[str, Any]) -> str:
    # A JSON string, number or array of them is a TOML one, too.
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
