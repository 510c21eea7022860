"""Liveness and readiness, for load balancers and people."""

from __future__ import annotations

from msgspec import to_builtins
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from libs.common.codec import encode
from libs.common.errors import NexusError
from services.edge.gateway import Catalog
from services.edge.guard import admit
from services.edge.headers import read_headers
from services.edge.settings import Settings

SERVICE = "nexus-mcp"


def health_routes(catalog: Catalog, settings: Settings, *, guarded: bool) -> list[Route]:
    """`guarded` where browsers can reach them: a page must not read the list of servers."""

    async def health(request: Request) -> Response:
        return _json({"status": "healthy", "service": SERVICE}, 200)

    async def ready(request: Request) -> Response:
        if guarded and (refused := _refused(request, settings)) is not None:
            return refused
        return _readiness(catalog, servers=settings.ready_servers or not guarded)

    routes = []
    if settings.health_path is not None:
        routes.append(Route(settings.health_path, health))
    if settings.ready_path is not None:
        routes.append(Route(settings.ready_path, ready))
    return routes


def _readiness(catalog: Catalog, *, servers: bool) -> Response:
    """Ready while the bus is there: a server that is down must not take the gateway out of service."""
    bus = catalog.bus()
    ready = bus == "connected"
    if not servers:
        return _json({"ready": ready}, 200 if ready else 503)
    return _json({"ready": ready, "bus": bus, "servers": _servers(catalog)}, 200 if ready else 503)


def _servers(catalog: Catalog) -> dict[str, dict[str, object]]:
    servers = {status.name: to_builtins(status) for status in catalog.servers()}
    for status in servers.values():
        del status["name"]
    return servers


def _refused(request: Request, settings: Settings) -> Response | None:
    try:
        headers = read_headers(request.scope["headers"])
        admit(
            headers.get("host"),
            headers.get("origin"),
            settings.allowed_hosts,
            settings.allowed_origins,
            settings.cors,
        )
    except NexusError as error:
        return _json({"error": error.message}, error.http)
    return None


def _json(value: object, status: int) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(encode(value), status, headers, media_type="application/json")
