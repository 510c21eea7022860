"""Rules between the keys of `auth`: which kind it is, and what goes with what."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from libs.common.config.report import Key, Mistake

KINDS = ("client-credentials", "oauth")

_OTHERS = {
    "forward": "passing on the token of a caller is forbidden by MCP, so it is not supported",
    "token-exchange": "is not supported yet: it needs the token of the caller, which does not come this far",
}
"""Kinds known by name, and why they cannot be used."""
_INSTEAD = '; use "client-credentials" or "oauth"'


def check_auth(key: Key, auth: dict[str, Any]) -> Iterator[Mistake]:
    """What is wrong between the keys of the `auth` of one server."""
    kind = auth.get("type")
    if "type" in auth and kind not in KINDS:
        yield _unknown((*key, "type"), kind)
    elif kind == "client-credentials":
        yield from _proof(key, auth)
    elif kind == "oauth":
        yield from _registration(key, auth)


def _unknown(key: Key, kind: Any) -> Mistake:
    if isinstance(kind, str) and kind in _OTHERS:
        return Mistake(key, "", problem=_OTHERS[kind] + _INSTEAD)
    near = get_close_matches(str(kind), KINDS, n=1)
    hint = f'did you mean "{near[0]}"?' if near else None
    problem = 'is "client-credentials" or "oauth"; a token alone needs no type'
    return Mistake(key, "", hint=hint, problem=problem)


def _proof(key: Key, auth: dict[str, Any]) -> Iterator[Mistake]:
    if ("client_secret" in auth) == ("private_key" in auth):
        yield Mistake(key, "", problem="needs either client_secret or private_key")
    elif (signing := auth.get("token_endpoint_auth_method", "")) and ("private_key" in auth) != (
        signing == "private_key_jwt"
    ):
        problem = "does not go with the kind of secret: private_key signs, and nothing else does"
        yield Mistake((*key, "token_endpoint_auth_method"), "", problem=problem)


def _registration(key: Key, auth: dict[str, Any]) -> Iterator[Mistake]:
    if "client_secret" in auth and "client_id" not in auth:
        yield Mistake((*key, "client_id"), "", problem="is missing: a client_secret belongs to a client_id")
    if "client_metadata_url" in auth and "client_id" in auth:
        problem = "is a client_id of its own; remove one of the two"
        yield Mistake((*key, "client_metadata_url"), "", problem=problem)
