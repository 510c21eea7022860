"""The sockets of an edge: uvicorn with bounds, its certificate kept current, its end left to the service."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from fastapi import FastAPI

from libs.common.config import Address, Config, parse_address
from libs.common.service import Context
from services.edge.address import Proxies
from services.edge.certificates import Certificate
from services.edge.wire import Bounds, bounded

HEADER_TIMEOUT = 10.0
"""Seconds for a request line and its headers to arrive."""


class HttpServer(uvicorn.Server):
    """uvicorn without its signal handlers: the service's own decide when it ends."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def serve_bounded(self, handed: socket.socket | None, certificate: Certificate | None) -> None:
        """Serve, taking a changed certificate into use meanwhile."""
        self.config.load()
        watch = None
        if certificate is not None and self.config.ssl is not None:
            watch = asyncio.create_task(certificate.watch(self.config.ssl))
        try:
            await self.serve(sockets=None if handed is None else [handed])
        finally:
            if watch is not None:
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)


@asynccontextmanager
async def serving(apps: list[tuple[FastAPI, Address]], context: Context) -> AsyncIterator[None]:
    """Serve until left; then stop accepting and finish what runs, within the drain timeout."""
    bounds = _bounds(context.config)
    servers = [HttpServer(_uvicorn(app, address, context, bounds)) for app, address in apps]
    inherited = context.options.sockets
    tls = context.config.server.tls
    async with asyncio.TaskGroup() as tasks:
        for server, handed in itertools.zip_longest(servers, inherited[: len(servers)]):
            certificate = None if tls is None else Certificate(tls.certificate, tls.key)
            tasks.create_task(server.serve_bounded(handed, certificate))
        try:
            yield
        finally:
            for server in servers:
                server.should_exit = True


def _bounds(config: Config) -> Bounds:
    """Connections of configured proxies carry many clients, so only their total is bounded."""
    server = config.server
    proxies = Proxies(server.trusted_proxies)
    return Bounds(server.max_connections, server.max_connections_per_ip, HEADER_TIMEOUT, proxies.trusts)


def _uvicorn(app: FastAPI, address: Address, context: Context, bounds: Bounds) -> uvicorn.Config:
    server = context.config.server
    if context.options.listen is not None and address == server.listen_address:
        address = parse_address(context.options.listen)
    tls = server.tls
    return uvicorn.Config(
        app,
        host=address.host,
        port=address.port,
        http=bounded(bounds),
        loop="none",
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        backlog=1024,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(server.drain_timeout) or 1,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
