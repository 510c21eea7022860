"""`Mcp-Param-*` headers: arguments that a tool's schema wants repeated where a proxy can see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Raw

from libs.common.codec import UNREADABLE, decode
from libs.common.errors import HeaderMismatch
from libs.common.messages.catalog import Listing
from services.edge.inbound import X_MCP_HEADER_KEY, validate_mcp_param_headers

_MARK = X_MCP_HEADER_KEY.encode()
Schemas = dict[str, Any]


class Mirrored:
    """The input schemas that ask for such headers, read once per version of a server's listing."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, Schemas]] = {}

    def schema(self, listing: Listing, tool: str) -> Any | None:
        """The input schema of `tool` if it asks for any header, else None."""
        digest, schemas = self._known.get(listing.server, ("", {}))
        if digest != listing.digest:
            schemas = _marked(listing.tools)
            self._known[listing.server] = (listing.digest, schemas)
        return schemas.get(tool)


def check_mirrored(schema: Any, params: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    """Raises `HeaderMismatch` if a header and its argument differ, or only one of them is there."""
    arguments = params.get("arguments", {})
    if not isinstance(arguments, dict):
        return
    rejection = validate_mcp_param_headers(schema, arguments, headers)
    if rejection is not None:
        raise HeaderMismatch(rejection.message)


def _marked(tools: tuple[Raw, ...]) -> Schemas:
    found: Schemas = {}
    for tool in tools:
        if _MARK not in bytes(tool):
            continue
        try:
            definition = decode(tool)
            found[definition["name"]] = definition["inputSchema"]
        except (*UNREADABLE, KeyError, TypeError):
            continue
    return found
