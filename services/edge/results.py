"""Results as each era wants them; only top-level members are touched, content stays as it came."""

from __future__ import annotations

from msgspec import DecodeError, Raw

from libs.common.codec import members, raw
from libs.common.errors import ResultInvalid

SERVER_INFO = "io.modelcontextprotocol/serverInfo"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
_COMPLETE = Raw(b'"complete"')
_PRIVATE = Raw(b'"private"')
_ZERO = Raw(b"0")
_EMPTY = Raw(b"{}")
_HINTED = frozenset(
    {
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
    }
)


def modern_result(method: str, result: Raw, info: Raw | None, listening: Raw | None = None) -> Raw:
    """For 2026-07-28: `resultType`, the server's name in `_meta`, and cache hints where they are required.

    What a caller may see depends on who it is, so nothing is `public`, whatever the downstream server says.
    `listening` is the id of the `subscriptions/listen` request this ends.
    Raises `ResultInvalid` if the result is no object.
    """
    parts = _parts(result)
    kind = parts.setdefault("resultType", _COMPLETE)
    if info is not None:
        _name_server(parts, info)
    if listening is not None:
        parts["_meta"] = raw({**_parts(parts.get("_meta", _EMPTY)), SUBSCRIPTION: listening})
    if method in _HINTED and kind == _COMPLETE:
        parts.setdefault("ttlMs", _ZERO)
        parts["cacheScope"] = _PRIVATE
    return raw(parts)


def legacy_result(result: Raw) -> Raw:
    """For revisions with sessions, which know no `resultType`."""
    if b'"resultType"' not in bytes(result):
        return result
    parts = _parts(result)
    parts.pop("resultType", None)
    return raw(parts)


def _name_server(parts: dict[str, Raw], info: Raw) -> None:
    if "_meta" not in parts:
        parts["_meta"] = raw({SERVER_INFO: info})
        return
    meta = _parts(parts["_meta"])
    if SERVER_INFO not in meta:
        parts["_meta"] = raw({**meta, SERVER_INFO: info})


def _parts(value: Raw) -> dict[str, Raw]:
    try:
        return members(value)
    except DecodeError:
        raise ResultInvalid("the server's result is not a JSON object as MCP requires") from None
