"""Rules between the keys of `auth`: which kind it is, and what goes with what."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from libs.common.config.report import Key, Mistake

KINDS = ("client-credentials", "oauth", "forward", "token-exchange")
DELEGATED = ("forward", "token-exchange")

_WORDS = ", ".join(f'"{kind}"' for kind in KINDS)


def check_auth(key: Key, auth: dict[str, Any]) -> Iterator[Mistake]:
    """What is wrong between the keys of the `auth` of one server."""
    kind = auth.get("type")
    if "type" in auth and kind not in KINDS:
        yield _unknown((*key, "type"), kind)
    elif kind in ("client-credentials", "token-exchange"):
        yield from _proof(key, auth)
        if kind == "token-exchange" and not ({"issuer", "token_url"} & auth.keys()):
            problem = "is missing, and token_url too: tokens of callers are sent to nobody a server names"
            yield Mistake((*key, "issuer"), "", problem=problem)
    elif kind == "oauth":
        yield from _registration(key, auth)


def _unknown(key: Key, kind: Any) -> Mistake:
    near = get_close_matches(str(kind), KINDS, n=1)
    hint = f'did you mean "{near[0]}"?' if near else None
    problem = f"is one of {_WORDS}; a token alone needs no type"
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


def check_delegated(key: Key, server: dict[str, Any], *, oauth: bool) -> Iterator[Mistake]:
    """What is wrong with a server that gets tokens of callers: there must be such tokens."""
    auth = server.get("auth")
    kind = auth.get("type") if isinstance(auth, dict) else None
    if kind not in DELEGATED:
        return
    if not oauth:
        problem = "is for callers with a token: set [server.oauth], or use another type"
        yield Mistake((*key, "auth", "type"), "", problem=problem)
    if "sharing" in server or "max_sessions" in server:
        name = "sharing" if "sharing" in server else "max_sessions"
        problem = f"does not go with auth.type = {kind!r}: each token has a session of its own"
        yield Mistake((*key, name), "", problem=problem.replace("'", '"'))
