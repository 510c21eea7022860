"""What is wrong with a document: where, what was found, what was expected."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Key = tuple[str | int, ...]
"""Where a value stands: table names, and positions in arrays."""

FOUND_MAX = 80
"""Characters of a value that an error shows."""

_EXPORTERS = (
    ("telemetry", "exporters"),
    *(("telemetry", signal, "exporters") for signal in ("tracing", "metrics", "logs")),
)
_OTLP = [(*exporters, "otlp", protocol) for exporters in _EXPORTERS for protocol in ("grpc", "http")]

SECRET = tuple(
    tuple(pattern.split("."))
    for pattern in (
        *(".".join((*otlp, "headers", "*")) for otlp in _OTLP),
        *(".".join((*otlp, "headers", "*", "value")) for otlp in _OTLP),
        "audit.signing_key",
        "audit.sinks.*.headers.*",
        "audit.sinks.*.token",
        "audit.sinks.*.url",
        "mcp.headers.*.default",
        "mcp.headers.*.value",
        "mcp.servers.*.env.*",
        "mcp.servers.*.auth.token",
        "mcp.servers.*.auth.client_secret",
        "mcp.servers.*.auth.private_key",
        "mcp.servers.*.headers.*.default",
        "mcp.servers.*.headers.*.value",
        "nats.url",
        "seal.keys.*",
        "server.rate_limits.storage.url",
    )
)
"""Values no error shows, not even as they stand in the file; nor what stands in place of a table of them."""

_SHARED = {
    ("audit",),
    ("audit", "sinks"),
    ("audit", "sinks", "*"),
    ("mcp",),
    ("mcp", "servers"),
    ("mcp", "servers", "*"),
    ("nats",),
    ("seal",),
    ("server",),
    ("server", "rate_limits"),
    ("server", "rate_limits", "storage"),
    *(otlp[:end] for otlp in _OTLP for end in range(1, len(otlp) + 1)),
}
"""Tables that hold secrets and more: a wrong value in their place is not taken for a secret."""

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
_USERINFO = re.compile(r"//[^/@\s]*@")


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing to correct. `found` is text of the file, never what a variable held."""

    key: Key
    expected: str
    found: str | None = None
    hint: str | None = None
    problem: str | None = None
    """Said in place of found and expected, when those do not fit."""
    missing: bool = False

    def __str__(self) -> str:
        said = self.problem or f"expected {self.expected}"
        if self.found is not None and not self.problem:
            said = f"found {self.found}, {said}"
        return f"{dotted(self.key)}: {said}{f'; {self.hint}' if self.hint else ''}"


def matches(pattern: Sequence[str], key: Key) -> bool:
    """Whether a dotted pattern, `*` for any part, names this very key."""
    return len(pattern) == len(key) and all(p in ("*", k) for p, k in zip(pattern, key, strict=True))


def dotted(key: Key) -> str:
    """A key as TOML writes it, positions in brackets: `mcp.servers."a.b".cmd[0]`."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if _BARE.match(part) else json.dumps(part, ensure_ascii=False)
            text += f".{name}" if text else name
    return text


def found_at(document: Any, key: Key) -> str | None:
    """What the file says at `key`, fit to be shown; None when nothing stands there."""
    value = document
    for part in key:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return shown(key, value)


def shown(key: Key, value: Any) -> str:
    """A value for an error message: short, without secrets, containers by their kind only."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return f"an array of {len(value)}"
    if _is_secret(key):
        return "<secret>"
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return str(value)[:FOUND_MAX]
    text = _USERINFO.sub("//<secret>@", value)
    return json.dumps(text if len(text) <= FOUND_MAX else f"{text[:FOUND_MAX]}…", ensure_ascii=False)


def _is_secret(key: Key) -> bool:
    """Whether a secret stands at the key, or a lone value stands where a table of secrets should."""
    for pattern in SECRET:
        head = pattern[: len(key)]
        if matches(head, key) and head not in _SHARED:
            return True
    return False


def render(file: str, mistakes: Iterable[Mistake]) -> str:
    """Every mistake on a line of its own, in the order of the keys."""
    lines = sorted({f"{file}: {mistake}" for mistake in mistakes})
    count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    return "\n".join([f"{count} in the configuration", *lines])
