"""Values of claims, by their paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Claims = Mapping[str, Any]
"""What a verified token says."""
TEXT_MAX = 256


def claim_texts(claims: Claims, path: str) -> tuple[str, ...]:
    """The texts at a dotted path: of a text, number or boolean one, of an array of them several.

    A claim whose own name holds dots (`https://example.com/groups`) is found by that name first.
    All of them count, however many: a rule may deny the last one. A token's length bounds them.
    """
    value: Any = claims.get(path)
    if value is None:
        value = claims
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    values = value if isinstance(value, list) else [value]
    return tuple(text for text in map(_text, values) if text)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)[: TEXT_MAX + 1]
    return ""
