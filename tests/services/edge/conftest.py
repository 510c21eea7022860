"""A real edge on a free port, with the rest of the gateway in memory."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from libs.common.audit.trail import NO_TRAIL, Trail
from libs.common.identity import Principal
from libs.common.seal import Keyring
from services.edge.app import create_app
from services.edge.audited import Audited
from services.edge.auth.resource import Resources
from services.edge.definitions import Definitions
from services.edge.evidence import Evidence
from services.edge.flights import Flights
from services.edge.gateway import Anonymous, Identify, Visit
from services.edge.journal import Journals
from services.edge.lines import Lines
from services.edge.questions import Questions
from services.edge.scribe import Scribe
from services.edge.settings import Settings
from services.edge.standing import Standing
from services.edge.wire import Bounds, bounded
from tests.services.edge.stub import StubCatalog, StubGateway

KEY = bytes(range(32))
BOTH = "application/json, text/event-stream"
LEGACY = {"accept": BOTH, "content-type": "application/json"}


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


class Server(uvicorn.Server):
    """Tells when it listens, and stops at once."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=bounded(Bounds(10_000, 10_000, 10.0)),
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
            )
        )
        self.listening = asyncio.Event()
        self.stop = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.stop.wait()


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """The URL of `app` on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(app)
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve, [listener])
        await server.listening.wait()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.force_exit = True
            server.stop.set()


class ByHeader(Anonymous):
    """Believes what the test says; never do this outside one."""

    async def __call__(self, visit: Visit) -> Principal:
        user = visit.headers.get("x-test-user")
        return Principal() if user is None else Principal(user, groups=(f"{user}s",))


def modern_headers(method: str, name: str | None = None, **more: str) -> dict[str, str]:
    headers = {**LEGACY, "mcp-protocol-version": "2026-07-28", "mcp-method": method}
    if name is not None:
        headers["mcp-name"] = name
    return {**headers, **more}


def modern_body(method: str, request_id: Any = 1, meta: dict[str, Any] | None = None, **params: Any) -> Any:
    envelope = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
        "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
        **(meta or {}),
    }
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": {"_meta": envelope, **params}}


@dataclass
class Edge:
    """One edge and ways to talk to it."""

    url: str
    http: httpx.AsyncClient
    gateway: StubGateway
    catalog: StubCatalog
    flights: Flights
    standing: Standing
    sessions: dict[str, str] = field(default_factory=dict)

    async def modern(
        self, method: str, path: str = "/mcp", meta: dict[str, Any] | None = None, **params: Any
    ) -> httpx.Response:
        name = params.get("name", params.get("uri"))
        body = modern_body(method, meta=meta, **params)
        return await self.http.post(path, json=body, headers=modern_headers(method, name))

    async def execute(self, tool: str, **arguments: Any) -> httpx.Response:
        return await self.modern(
            "tools/call", name="execute", arguments={"name": tool, "arguments": arguments}
        )

    async def initialize(self, path: str = "/mcp", user: str = "", **params: Any) -> httpx.Response:
        sent = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t"}, **params}
        body = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": sent}
        return await self.http.post(
            path, json=body, headers={**LEGACY, **({"x-test-user": user} if user else {})}
        )

    async def session(self, path: str = "/mcp", user: str = "", **params: Any) -> dict[str, str]:
        """The headers of a new legacy session."""
        answer = await self.initialize(path, user, **params)
        headers = {**LEGACY, "mcp-session-id": answer.headers["mcp-session-id"]}
        return {**headers, "x-test-user": user} if user else headers

    async def legacy(
        self, headers: dict[str, str], method: str, path: str = "/mcp", request_id: Any = 1, **params: Any
    ) -> httpx.Response:
        body = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
        return await self.http.post(path, json=body, headers=headers)

    async def notify(
        self, headers: dict[str, str], method: str, path: str = "/mcp", **params: Any
    ) -> httpx.Response:
        body = {"jsonrpc": "2.0", "method": method, "params": params}
        return await self.http.post(path, json=body, headers=headers)


def connect(url: str) -> httpx.AsyncClient:
    """A client of its own; without TLS to check, it need not load any certificates."""
    return httpx.AsyncClient(base_url=url, verify=False)


@asynccontextmanager
async def running(
    keys: Keyring | None = None,
    journals: Journals | None = None,
    lines: Lines | None = None,
    identify: Identify | None = None,
    resources: Resources | None = None,
    trail: Trail = NO_TRAIL,
    **changed: Any,
) -> AsyncIterator[Edge]:
    """An edge with some settings changed."""
    gateway, catalog, flights = StubGateway(), StubCatalog(), Flights()
    settings = Settings(version="1.2.3", **changed)
    ring, questions, standing = keys or Keyring([KEY]), Questions("replica"), Standing()
    definitions = Definitions(catalog)
    evidence = Evidence(settings.policy, definitions, trail.fingerprints, lambda server, tool: ("shown",))
    scribe = Scribe(trail, settings.policy, definitions)
    app = create_app(
        Audited(gateway, trail, evidence) if trail.enabled else gateway,
        catalog,
        settings,
        ring,
        flights,
        questions,
        standing,
        Lines("replica") if lines is None else lines,
        journals=journals,
        identify=identify or ByHeader(),
        resources=resources,
        scribe=scribe,
    )
    async with serving(app) as url, connect(url) as http:
        yield Edge(url, http, gateway, catalog, flights, standing)
    scribe.close()


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with running() as edge:
        yield edge
