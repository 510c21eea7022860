"""The searchable words of a tool's input schema.

Only what the author named or wrote counts: property names, descriptions, enum strings. The vocabulary of JSON
Schema itself (`type`, `object`, `string`, …) would match every tool and so says nothing about any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

PARAMETERS_MAX = 64
DEPTH_MAX = 6
NODES_MAX = 512
TEXT_MAX = 300
ENUM_MAX = 32

_BRANCHES = ("items", "additionalProperties", "not", "if", "then", "else")
_CHOICES = ("anyOf", "oneOf", "allOf", "prefixItems")


def parameters(schema: object) -> tuple[tuple[str, str], ...]:
    """Argument names with their descriptions and enum strings, nested ones included.

    Takes any decoded JSON and never raises; `$ref` is followed only inside the document. At most 64
    arguments, 6 levels, 512 schemas visited, 300 characters of text each.
    """
    walk = _Walk(schema)
    return tuple(islice(walk.properties(schema, DEPTH_MAX), PARAMETERS_MAX))


class _Walk:
    """One bounded pass over a schema that may be hostile or refer to itself."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._budget = NODES_MAX

    def properties(self, node: object, depth: int) -> Iterator[tuple[str, str]]:
        node = self._open(node)
        if depth == 0 or node is None:
            return
        for name, value in _mapping(node.get("properties")).items():
            if isinstance(name, str) and self._budget > 0:
                yield name, self._text(value)
                yield from self.properties(value, depth - 1)
        for branch in _branches(node):
            if self._budget <= 0:
                return
            yield from self.properties(branch, depth - 1)

    def _text(self, node: object) -> str:
        """Description and enum strings of one property, of its items and of its alternatives."""
        opened = self._open(node)
        if opened is None:
            return ""
        parts = list(_said(opened))
        for branch in islice(_branches(opened), ENUM_MAX):
            if isinstance(branch, Mapping):
                parts.extend(_said(branch))
        return " ".join(parts)[:TEXT_MAX]

    def _open(self, node: object) -> Mapping[object, object] | None:
        self._budget -= 1
        if not isinstance(node, Mapping) or self._budget < 0:
            return None
        target = node.get("$ref")
        return self._resolve(target) if isinstance(target, str) else node

    def _resolve(self, pointer: str) -> Mapping[object, object] | None:
        """The schema a local JSON pointer (RFC 6901) names; nothing is ever fetched."""
        if not pointer.startswith("#/"):
            return None
        node: object = self._root
        for token in pointer[2:].split("/")[:DEPTH_MAX]:
            node = _mapping(node).get(token.replace("~1", "/").replace("~0", "~"))
        return node if isinstance(node, Mapping) else None


def _said(node: Mapping[object, object]) -> Iterator[str]:
    for key in ("title", "description"):
        text = node.get(key)
        if isinstance(text, str):
            yield text[:TEXT_MAX]
    choices = node.get("enum")
    if isinstance(choices, list):
        yield from (choice[:TEXT_MAX] for choice in choices[:ENUM_MAX] if isinstance(choice, str))
    constant = node.get("const")
    if isinstance(constant, str):
        yield constant[:TEXT_MAX]


def _branches(node: Mapping[object, object]) -> Iterator[object]:
    for key in _BRANCHES:
        if key in node:
            yield node[key]
    for key in _CHOICES:
        choices = node.get(key)
        if isinstance(choices, list):
            yield from choices


def _mapping(node: object) -> Mapping[object, object]:
    return node if isinstance(node, Mapping) else {}
