"""Liveness and readiness, for load balancers and people."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import to_builtins
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from libs.common.codec import encode
from libs.common.errors import NexusError
from services.edge.auth.refusal import AuthRefused
from services.edge.gateway import Catalog, Identify, Visit
from services.edge.guard import admit
from services.edge.headers import read_headers
from services.edge.settings import Settings

SERVICE = "nexus-mcp"


def health_routes(catalog: Catalog, settings: Settings, who: Identify | None = None) -> list[Route]:
    """With `who` where clients and browsers can reach them: not everybody may read the list of servers."""

    async def health(request: Request) -> Response:
        return _json({"status": "healthy", "service": SERVICE}, 200)

    async def ready(request: Request) -> Response:
        if who is None:
            return _readiness(catalog, {each.name for each in catalog.servers()})
        if (answer := refused(request, settings)) is not None:
            return answer
        return _readiness(catalog, await _visible(request, catalog, settings, who))

    routes = []
    if settings.health_path is not None:
        routes.append(Route(settings.health_path, health))
    if settings.ready_path is not None:
        routes.append(Route(settings.ready_path, ready))
    return routes


async def _visible(
    request: Request, catalog: Catalog, settings: Settings, who: Identify
) -> Collection[str] | None:
    """The servers a caller may know of; None for one who is nobody, where callers have to be somebody."""
    headers = read_headers(request.scope["headers"])
    try:
        principal = await who(
            Visit(headers, settings.mcp_path, request.client.host if request.client else "")
        )
    except AuthRefused:
        return None
    return {each.name for each in catalog.servers() if settings.policy.allows(principal, each.name)}


def _readiness(catalog: Catalog, visible: Collection[str] | None) -> Response:
    """Ready while the bus is there: a server that is down must not take the gateway out of service."""
    bus = catalog.bus()
    ready = bus == "connected"
    if visible is None:
        return _json({"ready": ready}, 200 if ready else 503)
    return _json({"ready": ready, "bus": bus, "servers": _servers(catalog, visible)}, 200 if ready else 503)


def _servers(catalog: Catalog, visible: Collection[str]) -> dict[str, dict[str, object]]:
    servers = {status.name: to_builtins(status) for status in catalog.servers() if status.name in visible}
    for status in servers.values():
        del status["name"]
    return servers


def refused(request: Request, settings: Settings) -> Response | None:
    """What a request of another name or origin than ours is told."""
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
