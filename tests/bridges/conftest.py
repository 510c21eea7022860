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

SERVERS = {
    "modern-stdio": Way("stdio", "modern"),
    "modern-http": Way("http", "modern"),
    "legacy-stdio": Way("stdio", "legacy"),
    "legacy-http": Way("http", "legacy"),
    "legacy-sse": Way("sse", "legacy"),
    "cancelled-stdio": Way("stdio", "legacy"),
    "cancelled-sse": Way("sse", "legacy"),
}


@dataclass
class Bridge:
    """A gateway whose edges take requests in turn, with the fixture behind it by every way."""

    proxy: Proxy
    http: httpx.AsyncClient

    def url(self, cell: Cell) -> str:
        return f"http://127.0.0.1:{self.proxy.port}/mcp/{cell.server}"

    async def client(self, cell: Cell, version: str = LEGACY, /, **capabilities: Message) -> Caller:
        """A client of the cell's era that declares these capabilities; of the older one, in a session."""
        if cell.modern:
            return ModernCaller(self.http, self.url(cell), capabilities)
        caller = LegacyCaller(self.http, self.url(cell), capabilities, version)
        await caller.begin()
        return caller


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="package")
async def bridge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bridge]:
    assert {each.server for cell in CELLS for each in (cell, cell.cancelled)} == set(SERVERS)
    async with (
        Fleet(tmp_path_factory.mktemp("fleet"), SERVERS) as fleet,
        Proxy(fleet.edges, free_port()) as proxy,
        http() as client,
    ):
        yield Bridge(proxy, client)
        assert min(proxy.served[port] for port in fleet.edges) > 0
