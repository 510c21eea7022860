"""Names the gateway mints: server names, `server__tool`, and their 64-character form."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

SEPARATOR = "__"
NAME_MAX = 64
"""Characters of a tool name: the cap of the LLM vendors' tool-calling APIs."""

RESERVED = ("sse", "messages")
"""What follows `mcp.path` for clients of 2024-11-05, so that no server can have the name."""

_SERVER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}\Z")
_TOOL = re.compile(r"[A-Za-z0-9_./-]+\Z")
_DIGEST = 8


def is_server(name: str) -> bool:
    """Whether `name` may be a server's: it becomes a subject token and a name prefix."""
    return bool(_SERVER.match(name)) and SEPARATOR not in name and not name.endswith("_")


def exposed(server: str, tool: str) -> str:
    """`server__tool`, at most 64 characters of `[A-Za-z0-9_./-]`.

    A longer or odder name keeps its head and ends in `_` and 8 hex digits of its SHA-256, so that it is the
    same on every replica and after every restart.
    """
    name = f"{server}{SEPARATOR}{tool}"
    if len(name) <= NAME_MAX and _TOOL.match(tool):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
    head = re.sub(r"[^A-Za-z0-9_./-]", "_", name)[: NAME_MAX - _DIGEST - 1]
    return f"{head}_{digest}"


def resolve(tools: Iterable[tuple[str, str]]) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Map exposed names to (server, tool); names that two tools share are dropped and returned apart."""
    names: dict[str, tuple[str, str]] = {}
    collided: set[str] = set()
    for server, tool in tools:
        name = exposed(server, tool)
        if names.setdefault(name, (server, tool)) != (server, tool):
            collided.add(name)
    for name in collided:
        del names[name]
    return names, sorted(collided)
