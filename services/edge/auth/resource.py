"""The protected resources of this gateway: one per MCP path, each with its metadata (RFC 9728)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from libs.common.codec import encode
from libs.common.naming import is_server

Answer = Callable[[Request], Awaitable[Response]]

WELL_KNOWN = "/.well-known/oauth-protected-resource"


@dataclass(frozen=True, slots=True)
class Resources:
    """`resource` is the configured identifier; paths of this gateway hang below its origin."""

    resource: str
    mcp_path: str
    authorization_servers: tuple[str, ...]
    scopes: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        parts = urlsplit(self.resource)
        return f"{parts.scheme}://{parts.netloc}"

    def identifier(self, route: str) -> str:
        """The canonical URI of an MCP path."""
        return f"{self.origin}{route}"

    def metadata_url(self, route: str) -> str:
        """Where the metadata of a path is (RFC 9728 §3.1: inserted before the path)."""
        return f"{self.origin}{WELL_KNOWN}{route}"

    def audiences(self, route: str) -> frozenset[str]:
        """What a token may be for to be good at `route`: it, the aggregate above it, or the whole gateway."""
        return _audiences(self, route)

    def document(self, resource: str) -> bytes:
        said: dict[str, object] = {
            "resource": resource,
            "authorization_servers": self.authorization_servers,
            "bearer_methods_supported": ["header"],
        }
        if self.scopes:
            said["scopes_supported"] = self.scopes
        return encode(said)


@lru_cache(maxsize=1024)
def _audiences(resources: Resources, route: str) -> frozenset[str]:
    names = (resources.resource, resources.identifier(resources.mcp_path), resources.identifier(route))
    return frozenset(names)


def metadata_routes(resources: Resources) -> list[Route]:
    """Open to everybody and to every origin: clients read it before they have a token."""

    async def root(request: Request) -> Response:
        return _json(resources.document(resources.resource))

    async def aggregate(request: Request) -> Response:
        return _json(resources.document(resources.identifier(resources.mcp_path)))

    async def single(request: Request) -> Response:
        server = request.path_params["server"]
        if not is_server(server):
            return Response(status_code=404)
        return _json(resources.document(resources.identifier(f"{resources.mcp_path}/{server}")))

    return [
        Route(WELL_KNOWN, _preflight(root), methods=["GET", "OPTIONS"]),
        Route(WELL_KNOWN + resources.mcp_path, _preflight(aggregate), methods=["GET", "OPTIONS"]),
        Route(f"{WELL_KNOWN}{resources.mcp_path}/{{server}}", _preflight(single), methods=["GET", "OPTIONS"]),
    ]


_CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, OPTIONS",
    "access-control-allow-headers": "*",
    "access-control-max-age": "86400",
}


def _preflight(answer: Answer) -> Answer:
    async def serve(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=_CORS)
        return await answer(request)

    return serve


def _json(document: bytes) -> Response:
    return Response(
        document, headers={**_CORS, "cache-control": "max-age=300"}, media_type="application/json"
    )
