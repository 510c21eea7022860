"""Request headers of downstream HTTP: configured ones, and what the modern era mirrors from the body."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from libs.common import codec, trace
from libs.common.config import ForwardHeader, HeaderRule, InsertHeader, RemoveHeader, RenameHeader
from libs.common.messages.catalog import Tool
from services.connector.session import Params

Headers = dict[str, str]
Mirrors = tuple[tuple[tuple[str, ...], str], ...]
"""Where in the arguments each mirrored value is, and the header it goes to."""

_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?|")
_SENTINEL = re.compile(r"=\?base64\?.*\?=")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_NAMED |= dict.fromkeys(("tasks/get", "tasks/update", "tasks/cancel"), "taskId")
_MARK = "x-mcp-header"
_TYPES = ("string", "integer", "boolean")
_DEPTH = 16
_raws = msgspec.json.Decoder(list[Raw]).decode
_tool = msgspec.json.Decoder(Tool).decode


class Laid:
    """The headers of each request to a server: its own, and over them what rules make of them in order."""

    def __init__(self, own: Headers, rules: Iterable[HeaderRule]) -> None:
        self._own = own
        self._rules = tuple(rules)
        self._common = self._lay({})

    def of(self, sent: Mapping[str, str]) -> Headers:
        """Those of one request; `sent` is what came with the client's, by lower-case names."""
        return self._lay(sent) if sent else self._common

    def _lay(self, sent: Mapping[str, str]) -> Headers:
        headers = dict(self._own)
        for rule in self._rules:
            _apply(rule, headers, sent)
        return headers


def safe(value: str) -> str:
    """`value` as a header can carry it: as it is, or in the base64 sentinel (Streamable HTTP, 2026-07-28)."""
    if _PLAIN.fullmatch(value) and not _SENTINEL.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def routing(version: str, method: str, params: Params) -> Headers:
    """The headers a modern server checks against the body."""
    headers = {"mcp-protocol-version": version, "mcp-method": safe(method)}
    member = _NAMED.get(method)
    if member is not None and member in params:
        name = codec.decode(params[member])
        if isinstance(name, str):
            headers["mcp-name"] = safe(name)
    return headers


def traced(params: Params) -> Headers:
    """The trace context in the `_meta` of a request, for whatever on the way reads headers only."""
    meta = params.get("_meta")
    if meta is None or trace.PARENT.encode() not in bytes(meta):
        return {}
    known = trace.read(codec.decode(meta), {}).members()
    return {name: known[name] for name in (trace.PARENT, trace.STATE) if name in known}


def mirrors(schema: Raw) -> Mirrors:
    """What a tool's `inputSchema` wants mirrored. Raises `ValueError` if it must not be offered at all.

    Only properties reached through `properties` alone may be marked; each with a header of its own.
    """
    if _MARK.encode() not in memoryview(schema).tobytes():
        return ()
    found: list[tuple[tuple[str, ...], str]] = []
    _walk(msgspec.json.decode(schema), (), found)
    names = [name.lower() for _, name in found]
    if len(set(names)) < len(names):
        raise ValueError("two properties ask for the same Mcp-Param header")
    return tuple(found)


def sound(page: Raw) -> tuple[Raw, list[str]]:
    """A page of `tools/list` without the tools whose marks break the rules, and the names of those."""
    if _MARK.encode() not in memoryview(page).tobytes():
        return page, []
    try:
        members = codec.members(page)
        tools = [(raw, _tool(raw)) for raw in _raws(members["tools"])]
    except (*codec.UNREADABLE, KeyError):
        return page, []
    broken = [tool.name for _, tool in tools if not _may_be_offered(tool)]
    kept = [raw for raw, tool in tools if _may_be_offered(tool)]
    return (codec.raw({**members, "tools": kept}), broken) if broken else (page, [])


def mirrored(table: Mirrors, params: Params) -> Headers:
    """The `Mcp-Param-*` headers of one call; an argument that is missing or null has none."""
    if not table or "arguments" not in params:
        return {}
    arguments = msgspec.json.decode(params["arguments"])
    values = ((name, _text(_at(arguments, path))) for path, name in table)
    return {name: safe(text) for name, text in values if text is not None}


def _apply(rule: HeaderRule, headers: Headers, sent: Mapping[str, str]) -> None:
    name = rule.name.lower()
    match rule:
        case InsertHeader():
            headers[name] = rule.value.get_secret_value()
        case ForwardHeader():
            default = None if rule.default is None else rule.default.get_secret_value()
            value = sent.get(name, default)
            if value is not None:
                headers[(rule.rename or name).lower()] = value
        case RemoveHeader():
            headers.pop(name, None)
        case RenameHeader():
            if name in headers:
                headers[rule.to.lower()] = headers.pop(name)


def _may_be_offered(tool: Tool) -> bool:
    try:
        mirrors(tool.input_schema)
    except (*codec.UNREADABLE, ValueError):
        return False
    return True


def _walk(node: Any, path: tuple[str, ...] | None, found: list[tuple[tuple[str, ...], str]]) -> None:
    """Collect the marks below `node`; a `path` of None is where no mark may be."""
    if isinstance(node, list):
        for part in node:
            _walk(part, None, found)
    if not isinstance(node, dict):
        return
    if isinstance(node.get(_MARK), str | int | float | bool | list | dict):
        found.append(_mark(node, path))
    for key, value in node.items():
        if key == "properties" and isinstance(value, dict):
            for name, sub in value.items():
                deeper = (*path, name) if path is not None and len(path) < _DEPTH else None
                _walk(sub, deeper, found)
        elif key not in ("default", "examples", "const", "enum", _MARK):
            _walk(value, None, found)


def _mark(node: Mapping[str, Any], path: tuple[str, ...] | None) -> tuple[tuple[str, ...], str]:
    name = node[_MARK]
    if not path:
        raise ValueError(f"{_MARK} is set where no argument of the call can be found for it")
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise ValueError(f"{_MARK} of property {'.'.join(path)!r} is no header name")
    if node.get("type") not in _TYPES:
        raise ValueError(f"{_MARK} is set on property {'.'.join(path)!r}, whose type cannot be a header")
    return path, f"mcp-param-{name}"


def _at(node: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        node = node.get(key) if isinstance(node, dict) else None
    return node


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None
