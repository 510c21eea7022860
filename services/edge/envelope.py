"""The `_meta` of a request: what is addressed to the gateway, and what travels on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, PROTOCOL_VERSION_META_KEY

from libs.common import trace
from libs.common.errors import InvalidParams
from libs.common.trace import Trace

TOKEN = "progressToken"  # noqa: S105 (a protocol member, not a secret)
LOG_LEVEL = "io.modelcontextprotocol/logLevel"
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""RFC 5424 severities, as MCP names them, the least severe first."""
_HOP = frozenset(
    {PROTOCOL_VERSION_META_KEY, CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, TOKEN, *trace.MEMBERS}
)
"""Members about the hop between client and gateway; the next hop has its own."""

Token = str | int


def claims_modern(params: dict[str, Any]) -> bool:
    """Whether a message carries the modern envelope, whatever its headers say."""
    return PROTOCOL_VERSION_META_KEY in read_meta(params)


def read_meta(params: dict[str, Any]) -> dict[str, Any]:
    """The `_meta` object, empty if there is none. Raises `InvalidParams` if it is something else."""
    meta = params.get("_meta", {})
    if not isinstance(meta, dict):
        raise InvalidParams('the member "_meta" must be an object')
    return meta


def progress_token(params: dict[str, Any]) -> Token | None:
    """The client's own name for this request's progress. Raises `InvalidParams` for one of another type."""
    token = read_meta(params).get(TOKEN)
    if token is None:
        return None
    if isinstance(token, bool) or not isinstance(token, str | int):
        raise InvalidParams(f'the member "_meta.{TOKEN}" must be a string or an integer')
    return token


def log_level(params: dict[str, Any]) -> str:
    """From which level on a modern client wants log lines of this request; empty if it wants none.

    Raises `InvalidParams` for a level that is none.
    """
    level = read_meta(params).get(LOG_LEVEL)
    if level is None:
        return ""
    if level not in LEVELS:
        raise InvalidParams(f'the member "_meta.{LOG_LEVEL}" must be one of {", ".join(LEVELS)}')
    return str(level)


def trace_context(params: dict[str, Any], headers: Mapping[str, str]) -> Trace:
    """Where the client's request belongs. Raises `InvalidParams` for a `_meta` that is no object."""
    return trace.read(read_meta(params), headers)


def forwardable(params: dict[str, Any]) -> dict[str, Any]:
    """`params` for the next hop; everything unknown stays."""
    meta = params.get("_meta")
    if not meta:
        return params
    kept = {key: value for key, value in meta.items() if key not in _HOP}
    rest = {key: value for key, value in params.items() if key != "_meta"}
    return {**rest, "_meta": kept} if kept else rest
