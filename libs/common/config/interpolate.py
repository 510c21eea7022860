"""Puts environment variables into the strings of a document: `{{ env.NAME }}`."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from libs.common.config.report import Key, Mistake, matches

PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z0-9_.]+)\s*\}\}")

DEFERRED = tuple(
    tuple(pattern.split("."))
    for pattern in (
        "audit.sinks.*.endpoint",
        "audit.sinks.*.headers.*",
        "audit.sinks.*.tls.*",
        "audit.sinks.*.token",
        "audit.sinks.*.url",
        "mcp.headers.*.default",
        "mcp.headers.*.value",
        "mcp.servers.*.url",
        "mcp.servers.*.message_url",
        "mcp.servers.*.cmd.*",
        "mcp.servers.*.env.*",
        "mcp.servers.*.cwd",
        "mcp.servers.*.stderr.file",
        "mcp.servers.*.auth.*",
        "mcp.servers.*.headers.*.default",
        "mcp.servers.*.headers.*.value",
        "mcp.servers.*.tls.*",
    )
)
"""Only the process that talks to a downstream or a sink uses these, so only it needs their variables."""

Secrets = bool | Collection[str]
"""Which deferred values get their variables: all, none, or those below some tables of the first level."""


def interpolate(
    document: dict[str, Any], env: Mapping[str, str], *, secrets: Secrets
) -> tuple[dict[str, Any], list[Mistake]]:
    """The document with every placeholder resolved, and what could not be.

    Keys and values that are not strings stay as they are. Without `secrets`, a value that only a downstream
    or a sink needs keeps its placeholders. What a variable holds is not searched for placeholders again.
    """
    mistakes: list[Mistake] = []

    def text(key: Key, value: str) -> str:
        mine = secrets if isinstance(secrets, bool) else key[0] in secrets
        resolve = mine or not any(matches(pattern, key) for pattern in DEFERRED)
        return PLACEHOLDER.sub(lambda found: _variable(key, found, env, resolve, mistakes), value)

    resolved = {name: _walk((name,), value, text) for name, value in document.items()}
    return resolved, mistakes


def _walk(key: Key, value: Any, text: Callable[[Key, str], str]) -> Any:
    if isinstance(value, str):
        return text(key, value)
    if isinstance(value, dict):
        return {name: _walk((*key, name), item, text) for name, item in value.items()}
    if isinstance(value, list):
        return [_walk((*key, index), item, text) for index, item in enumerate(value)]
    return value


def _variable(
    key: Key, found: re.Match[str], env: Mapping[str, str], resolve: bool, mistakes: list[Mistake]
) -> str:
    scope, _, name = found[1].partition(".")
    if scope != "env" or not name or "." in name:
        mistakes.append(Mistake(key, "{{ env.NAME }}: only environment variables can be put in", found[0]))
        return found[0]
    if not resolve:
        return found[0]
    if name not in env:
        mistakes.append(Mistake(key, f"the environment variable {name} to be set; it is not", found[0]))
        return found[0]
    return env[name]
