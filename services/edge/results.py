"""Results as each era wants them; only top-level members are touched, content stays as it came."""

from __future__ import annotations

from msgspec import Raw
from msgspec.json import Decoder

from libs.common.codec import UNREADABLE, decoder, members, raw
from libs.common.errors import ResultInvalid

SERVER_INFO = "io.modelcontextprotocol/serverInfo"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
_COMPLETE = Raw(b'"complete"')
_PUBLIC = Raw(b'"public"')
_PRIVATE = Raw(b'"private"')
_ZERO = Raw(b"0")
_EMPTY = Raw(b"{}")
_OBJECT = Raw(b'"object"')
_list: Decoder[list[Raw]] = decoder(list[Raw])
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


def modern_result(
    method: str, result: Raw, info: Raw | None, listening: Raw | None = None, *, personal: bool
) -> Raw:
    """For 2026-07-28: `resultType`, the server's name in `_meta`, and cache hints where they are required.

    `public` is only what the server says is, and nothing that is `personal`: answers may depend on who asks.
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
        if parts.get("cacheScope") != _PUBLIC or personal:
            parts["cacheScope"] = _PRIVATE
    return raw(parts)


def legacy_result(method: str, result: Raw) -> Raw:
    """For revisions with sessions, which know no `resultType`, and no structured content but objects.

    Raises `ResultInvalid` if the result is no object.
    """
    text = bytes(result)
    shaped = b'"structuredContent"' in text or (method == "tools/list" and b'"outputSchema"' in text)
    if not shaped and b'"resultType"' not in text:
        return result
    parts = _parts(result)
    parts.pop("resultType", None)
    if not _is_object(parts.get("structuredContent", _EMPTY)):
        del parts["structuredContent"]
    if method == "tools/list" and "tools" in parts:
        parts["tools"] = raw([_legacy_tool(tool) for tool in _tools(parts["tools"])])
    return raw(parts)


def _legacy_tool(tool: Raw) -> Raw:
    """Without an `outputSchema` of anything but an object: older clients take none of the list then."""
    if b'"outputSchema"' not in bytes(tool):
        return tool
    parts = _parts(tool)
    schema = parts.get("outputSchema", _EMPTY)
    if _is_object(schema) and _parts(schema).get("type") == _OBJECT:
        return tool
    return raw({key: value for key, value in parts.items() if key != "outputSchema"})


def _is_object(value: Raw) -> bool:
    return bytes(value).startswith(b"{")


def _tools(value: Raw) -> list[Raw]:
    try:
        return _list.decode(value)
    except UNREADABLE:
        raise ResultInvalid("the server's list of tools is not a JSON array as MCP requires") from None


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
    except UNREADABLE:
        raise ResultInvalid("the server's result is not a JSON object as MCP requires") from None
