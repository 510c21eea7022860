"""Keys that are known by name and cannot be used yet; supporting one removes its line."""

from __future__ import annotations

from typing import Any

from libs.common.config.report import Key, Mistake, matches

_YET = "is not supported yet; remove it"

REFUSED: dict[str, tuple[str, tuple[object, ...]]] = {
    "llm": ("is out of scope: Nexus is a gateway for MCP; remove it", ()),
    "telemetry": (_YET, ()),
    "mcp.downstream_cache": (_YET, ()),
}
"""Dotted pattern: what is said of the key, and the values that change nothing and are let through."""

_TABLE = [(tuple(pattern.split(".")), said, harmless) for pattern, (said, harmless) in REFUSED.items()]


def refuse_keys(document: dict[str, Any], at: Key = ()) -> tuple[dict[str, Any], list[Mistake]]:
    """The document without the keys of the table, and a mistake for each that would change something."""
    kept: dict[str, Any] = {}
    mistakes: list[Mistake] = []
    for name, value in document.items():
        key = (*at, name)
        entry = next((entry for entry in _TABLE if matches(entry[0], key)), None)
        if entry is None:
            kept[name] = value
            if isinstance(value, dict):
                kept[name], below = refuse_keys(value, key)
                mistakes += below
        elif value not in entry[2]:
            mistakes.append(Mistake(key, entry[1], problem=entry[1]))
    return kept, mistakes
