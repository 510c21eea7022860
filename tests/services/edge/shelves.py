"""Servers with something of everything, for tests of the aggregate."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from libs.common.codec import raw
from libs.common.messages.catalog import Hint, Listing

EVERYTHING = {
    "tools": {},
    "prompts": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "completions": {},
    "logging": {},
}


def tool(name: str, **more: Any) -> Raw:
    return raw({"name": name, "description": f"{name} it", "inputSchema": {"type": "object"}, **more})


def prompt(name: str) -> Raw:
    return raw({"name": name, "title": name.title(), "x-kept": 1.50})


def resource(uri: str) -> Raw:
    return raw({"uri": uri, "name": uri.rpartition("/")[2]})


def template(text: str) -> Raw:
    return raw({"uriTemplate": text, "name": "t"})


def server(
    name: str,
    *,
    tools: tuple[Raw, ...] = (),
    prompts: tuple[str, ...] = (),
    resources: tuple[str, ...] = (),
    templates: tuple[str, ...] = (),
    capabilities: dict[str, Any] | None = None,
    hints: dict[str, Hint] | None = None,
) -> Listing:
    """What a server of this name lists; it can do everything unless told otherwise."""
    return Listing(
        server=name,
        digest=name,
        tools=tools,
        prompts=tuple(map(prompt, prompts)),
        resources=tuple(map(resource, resources)),
        templates=tuple(map(template, templates)),
        version="2025-11-25" if hints is None else "2026-07-28",
        hints=hints or {},
        capabilities=raw(EVERYTHING if capabilities is None else capabilities),
    )
