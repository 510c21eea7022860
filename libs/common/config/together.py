"""Keys of limits that mean something only together, or not together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from libs.common.config.report import Key, Mistake

_STORAGE: Key = ("server", "rate_limits", "storage")


def check_limits(document: dict[str, Any]) -> Iterator[Mistake]:
    """What is wrong between the keys of limits in a resolved document."""
    for key, rates in _rates(document):
        if ("limit" in rates) != ("interval" in rates):
            missing = "interval" if "limit" in rates else "limit"
            yield Mistake((*key, missing), "", problem="is missing: `limit` and `interval` go together")
    yield from _storage(_table(document, *_STORAGE))


def _table(value: Any, *names: str | int) -> dict[str, Any]:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _rates(document: dict[str, Any]) -> Iterator[tuple[Key, dict[str, Any]]]:
    """Every table in which the two may both be left out, and its place."""
    gateway = ("server", "rate_limits", "per_user")
    yield gateway, _table(document, *gateway)
    for name, server in _table(document, "mcp", "servers").items():
        at = ("mcp", "servers", name, "rate_limits")
        rates = _table(server, "rate_limits")
        yield from _with_users(at, rates)
        for tool, each in _table(rates, "tools").items():
            yield from _with_users((*at, "tools", tool), _table({"": each}, ""))


def _with_users(at: Key, rates: dict[str, Any]) -> Iterator[tuple[Key, dict[str, Any]]]:
    yield at, rates
    yield (*at, "per_user"), _table(rates, "per_user")


def _storage(storage: dict[str, Any]) -> Iterator[Mistake]:
    if storage.get("type") == "redis" and "url" not in storage:
        why = "is missing: give the URL of the Redis or Valkey, or set NEXUS_REDIS_URL"
        yield Mistake((*_STORAGE, "url"), "", problem=why)
    tls = _table(storage, "tls")
    certificate, private = "client_cert_path" in tls, "client_key_path" in tls
    if certificate != private:
        missing = "client_key_path" if certificate else "client_cert_path"
        why = "is missing: a client certificate and its key go together"
        yield Mistake((*_STORAGE, "tls", missing), "", problem=why)
    if tls.get("enabled") is False and str(storage.get("url", "")).startswith("rediss:"):
        why = 'contradicts the URL: "rediss://" is Redis over TLS'
        yield Mistake((*_STORAGE, "tls", "enabled"), "", problem=why)
