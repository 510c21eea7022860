"""Environment variables that set limits and metrics without a line in the file; they win over it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from libs.common.config.report import Mistake

ENABLED = "MCP_RATE_LIMIT_ENABLED"
TIERS = {
    "anonymous": ("NEXUS_MCP_RATE_LIMIT_ANONYMOUS", "60/minute"),
    "authenticated": ("NEXUS_MCP_RATE_LIMIT_AUTHENTICATED", "300/minute"),
    "premium": ("NEXUS_MCP_RATE_LIMIT_PREMIUM", "1000/minute"),
}
"""What each tier may, and its default once limits are switched on by `ENABLED`."""
REDIS = ("NEXUS_REDIS_URL", "DRAGONFLY_URL")

METRICS = "NEXUS_MCP_METRICS_ENABLED"

_ON = ("1", "true", "yes", "on")
_OFF = ("0", "false", "no", "off")
_RATE = re.compile(r"\s*(\d{1,10})\s*(?:/|per)\s*(\d{0,6})\s*([a-z]+)\s*\Z", re.IGNORECASE)


def overlay(document: dict[str, Any], env: Mapping[str, str]) -> tuple[dict[str, Any], list[Mistake]]:
    """The resolved document with what the variables say, and what is wrong with them."""
    document, unfit = _measured(document, env)
    document, unfit_too = _limits(document, env)
    return document, unfit + unfit_too


def _measured(document: dict[str, Any], env: Mapping[str, str]) -> tuple[dict[str, Any], list[Mistake]]:
    said, server = env.get(METRICS, "").strip().lower(), document.get("server", {})
    if not said or not isinstance(server, dict) or not isinstance(server.get("metrics", {}), dict):
        return document, []
    if said not in (*_ON, *_OFF):
        why = f'the variable {METRICS} is neither "true" nor "false"'
        return document, [Mistake(("server", "metrics", "enabled"), "", problem=why)]
    metrics = {**server.get("metrics", {}), "enabled": said in _ON}
    return {**document, "server": {**server, "metrics": metrics}}, []


def _limits(document: dict[str, Any], env: Mapping[str, str]) -> tuple[dict[str, Any], list[Mistake]]:
    on = env.get(ENABLED, "").strip().lower() in _ON
    server = document.get("server", {})
    if not isinstance(server, dict) or not isinstance(server.get("rate_limits", {}), dict):
        return document, []
    if not on and "rate_limits" not in server and not _limited(document):
        return document, []
    limits = dict(server.get("rate_limits", {}) or {"enabled": True})
    if on:
        limits["enabled"] = True
    mistakes = _put_tiers(limits, env, on)
    _put_storage(limits, env)
    return {**document, "server": {**server, "rate_limits": limits}}, mistakes


def _limited(document: dict[str, Any]) -> bool:
    """Whether a server has limits, which then hold by default."""
    mcp = document.get("mcp")
    servers = mcp.get("servers") if isinstance(mcp, dict) else None
    each = servers.values() if isinstance(servers, dict) else ()
    return any(isinstance(server, dict) and "rate_limits" in server for server in each)


def _put_tiers(limits: dict[str, Any], env: Mapping[str, str], on: bool) -> list[Mistake]:
    tiers, mistakes = limits.get("tiers", {}), []
    for tier, (variable, default) in TIERS.items():
        given = env.get(variable) or None
        if not isinstance(tiers, dict) or (given is None and (not on or tier in tiers)):
            continue
        match = _RATE.match(given or default)
        if match is None:
            why = f'the variable {variable} is no rate such as "60/minute" or "10 per 5 seconds"'
            mistakes.append(Mistake(("server", "rate_limits", "tiers", tier), "", problem=why))
            continue
        rate = {"limit": int(match[1]), "interval": f"{match[2] or 1} {match[3].lower()}"}
        tiers = {**tiers, tier: rate}
    if tiers:
        limits["tiers"] = tiers
    return mistakes


def _put_storage(limits: dict[str, Any], env: Mapping[str, str]) -> None:
    url = next((env[name] for name in REDIS if env.get(name)), None)
    storage = limits.get("storage", {})
    if url is not None and isinstance(storage, dict):
        limits["storage"] = {**storage, "type": "redis", "url": url}
