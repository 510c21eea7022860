"""One fleet for all tests of this folder, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from tests.bridges.clients import Caller, LegacyCaller, ModernCaller
from tests.bridges.matrix import CELLS, Cell
from tests.broker import free_port
from tests.conformance.fleet import Fleet, Way
from tests.conformance.proxy import Proxy
from tests.system.wire import LEGACY, Message, http

APART = ("cancelled", "left")
"""Servers with a pipe for tests that leave it in doubt."""
SERVERS: dict[str, Way] = {
    "modern-stdio": Way("stdio", "modern"),
    "modern-http": Way("http", "modern"),
    "legacy-stdio": Way("stdio", "legacy"),
    "legacy-http": Way("http", "legacy"),
    "legacy-sse": Way("sse", "legacy"),
    **{f"{name}-{way}": Way(way, "legacy") for name in APART for way in ("stdio", "sse")},
}


@dataclass
class Bridge:
    """A gateway whose edges take requests in turn, with the fixture behind it by every way."""

    proxy: Proxy
    http: httpx.AsyncClient

    @property
    def everything(self) -> str:
        """Where all servers are one."""
        return f"http://127.0.0.1:{self.proxy.port}/mcp"

    def url(self, cell: Cell) -> str:
        return f"{self.everything}/{cell.server}"

    async def client(self, cell: Cell, version: str = LEGACY, /, **capabilities: Message) -> Caller:
        """A client of the cell's era that declares these capabilities; of the older one, in a session."""
        return await self.at(self.url(cell), cell, version, **capabilities)

    async def at(self, url: str, cell: Cell, version: str = LEGACY, /, **capabilities: Message) -> Caller:
        """The same at another path."""
        if cell.modern:
            return ModernCaller(self.http, url, capabilities)
        caller = LegacyCaller(self.http, url, capabilities, version)
        await caller.begin()
        return caller


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="package")
async def bridge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bridge]:
    assert {cell.beside(name).server for cell in CELLS for name in ("", *APART)} == set(SERVERS)
    async with (
        Fleet(tmp_path_factory.mktemp("fleet"), SERVERS) as fleet,
        Proxy(fleet.edges, free_port()) as proxy,
        http() as client,
    ):
        yield Bridge(proxy, client)
        assert min(proxy.served[port] for port in fleet.edges) > 0
