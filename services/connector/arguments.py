"""Checks the arguments of a call against the tool's own `inputSchema`, before the server sees them.

A schema comes from a server, so it may be wrong or hostile: what cannot be checked in bounded time is not
checked, nothing is ever fetched, and patterns run in linear time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Protocol
from urllib.parse import unquote

import jsonschema_rs
import msgspec
from msgspec import Raw, Struct

from libs.common import codec
from libs.common.errors import NULL
from libs.common.messages.catalog import Listing

SCHEMA_MAX = 64 * 1024
"""Bytes of a schema."""
NODES_MAX = 2000
"""Objects and arrays of a schema with its references followed, so a recursive one has too many."""
DEPTH_MAX = 64
"""How deep they nest, likewise."""
PROBLEMS_MAX = 5
DETAILED_MAX = 8 * 1024
"""Bytes of arguments up to which more than one problem is told."""
VALUE_MAX = 100
"""Characters of a value that are repeated to the caller."""
SENTENCE_MAX = 400

_REGEX_BYTES = 1 << 20
_MASK = "\0"
"""Stands for the value in the texts of the library; no JSON text has it raw."""
_DYNAMIC = {"$dynamicRef", "$recursiveRef"}


class _Validator(Protocol):
    def is_valid(self, instance: Any) -> bool: ...
    def validate(self, instance: Any) -> None: ...
    def iter_errors(self, instance: Any) -> Iterator[jsonschema_rs.ValidationError]: ...


class _Tool(Struct, rename="camel"):
    name: str
    input_schema: Raw = NULL


_tool = msgspec.json.Decoder(_Tool).decode


def schemas(listing: Listing) -> dict[str, Raw]:
    """The `inputSchema` of each tool, by its own name."""
    return {tool.name: tool.input_schema for tool in map(_tool, listing.tools)}


class Checker:
    """The argument checks of one listing; each schema is compiled when its tool is first called."""

    def __init__(self, listing: Listing) -> None:
        self._schemas = schemas(listing)
        self._validators: dict[str, _Validator | None] = {}

    def problems(self, tool: str, arguments: Raw) -> list[str]:
        """At most five sentences that say what is wrong; none if nothing is, or nothing can be said."""
        try:
            validator = self._validators[tool]
        except KeyError:
            validator = self._validators[tool] = _compiled(self._schemas.pop(tool, NULL))
        if validator is None:
            return []
        try:
            value = codec.decode(arguments)
            if validator.is_valid(value):
                return []
            return [
                _sentence(error, value) for error in _errors(validator, value, memoryview(arguments).nbytes)
            ]
        except (ValueError, RecursionError, OverflowError):
            return []


def _compiled(raw: Raw) -> _Validator | None:
    """A validator, or None for a schema that is no schema, or too large or too entangled to be checked."""
    if memoryview(raw).nbytes > SCHEMA_MAX:
        return None
    try:
        schema = codec.decode(raw)
        if not isinstance(schema, dict) or not _is_bounded(schema):
            return None
        return jsonschema_rs.validator_for(
            schema,
            mask=_MASK,
            offline=True,
            validate_formats=False,
            pattern_options=jsonschema_rs.RegexOptions(_REGEX_BYTES, _REGEX_BYTES),
        )
    except (ValueError, RecursionError, jsonschema_rs.ReferencingError):
        return None


def _is_bounded(schema: dict[str, Any]) -> bool:
    """Whether checking ends soon: references are followed as the validator would, so that none multiplies."""
    stack: list[tuple[Any, int]] = [(schema, 0)]
    nodes = 0
    while stack:
        node, depth = stack.pop()
        nodes += 1
        if nodes > NODES_MAX or depth > DEPTH_MAX:
            return False
        children = list(node.values()) if isinstance(node, dict) else node
        if isinstance(node, dict) and "$ref" in node and isinstance(node["$ref"], str):
            children.append(_target(schema, node["$ref"]))
        if isinstance(node, dict) and (
            _DYNAMIC & node.keys() or (depth and isinstance(node.get("$id"), str))
        ):
            return False
        stack.extend((child, depth + 1) for child in children if isinstance(child, dict | list))
    return True


def _target(schema: dict[str, Any], reference: str) -> Any:
    """What a reference within the schema points to. Raises `ValueError` for any other one."""
    if reference != "#" and not reference.startswith("#/"):
        raise ValueError(reference)
    node: Any = schema
    for step in unquote(reference[2:]).split("/") if reference != "#" else ():
        key = step.replace("~1", "/").replace("~0", "~")
        try:
            node = node[int(key)] if isinstance(node, list) else node[key]
        except (LookupError, TypeError) as error:
            raise ValueError(reference) from error
    return node


def _errors(validator: _Validator, value: Any, size: int) -> list[jsonschema_rs.ValidationError]:
    """The first few. The library finds all before it gives one, so large arguments are told only one."""
    if size <= DETAILED_MAX:
        return list(islice(validator.iter_errors(value), PROBLEMS_MAX))
    try:
        validator.validate(value)
    except jsonschema_rs.ValidationError as error:
        return [error]
    return []


def _sentence(error: jsonschema_rs.ValidationError, value: Any) -> str:
    text = error.message.replace(_MASK, _short(error.instance), 1)
    return _cut(f"{_path(error.instance_path, value)}: {text}", SENTENCE_MAX)


def _path(steps: list[str | int], value: Any) -> str:
    path = "arguments"
    for step in steps:
        # The library tells a property whose name is a number as a number too.
        in_list = isinstance(value, list)
        path += f"[{step}]" if in_list else f".{step}"
        value = value[step] if in_list else _member(value, str(step))
    return path


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _short(value: Any) -> str:
    return _cut(codec.encode(value).decode(), VALUE_MAX)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
