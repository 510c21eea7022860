"""Rules between the keys that say who may come in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from libs.common.config.report import Key, Mistake

_OAUTH = ("server", "oauth")
_CLIENT = ("server", "client_identification")


def check_admission(server: dict[str, Any]) -> Iterator[Mistake]:
    """What is wrong between keys of `[server]`: silent sources, nameless issuers."""
    cors = server.get("cors")
    if isinstance(cors, dict) and cors.get("allow_credentials") is True:
        yield from _wildcards(cors)
    oauth, client = server.get("oauth"), server.get("client_identification")
    if isinstance(oauth, dict):
        yield from _issuer(oauth)
    if isinstance(client, dict) and client.get("enabled") is True:
        tokens = "oauth" in server or "api_keys" in server
        proxies = bool(server.get("trusted_proxies"))
        for name in ("client_id", "group_id"):
            default = {"jwt_claim": "sub"} if name == "client_id" else None
            yield from _source((*_CLIENT, name), client.get(name, default), tokens, proxies)


def _wildcards(cors: dict[str, Any]) -> Iterator[Mistake]:
    """Browsers refuse an answer with credentials and a wildcard (Fetch standard, CORS protocol)."""
    for name in ("allow_origins", "allow_methods", "allow_headers", "expose_headers"):
        if cors.get(name) == "*":
            yield Mistake(
                ("server", "cors", name), "", problem='cannot be "*" with allow_credentials: name them'
            )


def _issuer(oauth: dict[str, Any]) -> Iterator[Mistake]:
    told = oauth.get("protected_resource")
    named = isinstance(told, dict) and told.get("authorization_servers")
    if not named and "expected_issuer" not in oauth:
        why = "is missing: without it and without authorization_servers any issuer would do"
        yield Mistake((*_OAUTH, "expected_issuer"), "", problem=why)
    if oauth.get("insecure_skip_audience") is True and "expected_audience" in oauth:
        why = "cannot be true beside expected_audience; remove one of the two"
        yield Mistake((*_OAUTH, "insecure_skip_audience"), "", problem=why)


def _source(key: Key, source: Any, tokens: bool, proxies: bool) -> Iterator[Mistake]:
    if not isinstance(source, dict):
        return
    if "jwt_claim" in source and not tokens:
        why = "needs tokens: set [server.oauth] or [server.api_keys], or take it from a header"
        yield Mistake((*key, "jwt_claim"), "", problem=why)
    if "http_header" in source and "jwt_claim" not in source and not proxies:
        why = "is believed from proxies only: set server.trusted_proxies to their addresses"
        yield Mistake((*key, "http_header"), "", problem=why)
