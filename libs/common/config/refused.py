"""Keys that are known by name and cannot be used yet; supporting one removes its line."""

from __future__ import annotations

from typing import Any

from libs.common.config.report import Key, Mistake, matches

REFUSED: dict[str, str] = {
    "llm": "is out of scope: Nexus is a gateway for MCP; remove it",
}
"""Dotted pattern: what is said of the key."""

_TABLE = [(tuple(pattern.split(".")), said) for pattern, said in REFUSED.items()]


def refuse_keys(document: dict[str, Any], at: Key = ()) -> tuple[dict[str, Any], list[Mistake]]:
    """The document without the keys of the table, and a mistake for each that is in it."""
    kept: dict[str, Any] = {}
    mistakes: list[Mistake] = []
    for name, value in document.items():
        key = (*at, name)
        said = next((said for pattern, said in _TABLE if matches(pattern, key)), None)
        if said is None:
            kept[name] = value
            if isinstance(value, dict):
                kept[name], below = refuse_keys(value, key)
                mistakes += below
        else:
            mistakes.append(Mistake(key, said, problem=said))
    return kept, mistakes
