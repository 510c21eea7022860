"""Judges bearer tokens: JWTs of configured issuers (RFC 7519, RFC 8725, RFC 9068)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.exceptions import PyJWTError

from services.edge.auth.keys import KID_MAX, Key, KeySet
from services.edge.auth.refusal import KeysUnavailable, Unauthorized

LEEWAY = 60.0
"""Seconds that clocks may differ."""
_OPTIONS: Any = {"require": ["exp", "iss", "sub"], "verify_aud": False, "verify_iat": False}
"""The audience depends on the path and is checked where that is known; `iss` is bound to the key here."""


@dataclass(frozen=True, slots=True)
class Authority:
    """One issuer: the exact `iss` of its tokens, its keys, and the audiences it names."""

    issuers: frozenset[str]
    keys: KeySet
    audience: frozenset[str] = frozenset()

    def issued(self, claims: Mapping[str, Any]) -> bool:
        """Whether verified claims are of this issuer; others may sign with keys of the same URL."""
        return any(claims["iss"] == name for name in self.issuers)


@dataclass(frozen=True, slots=True)
class Token:
    """A token that was verified, all but its audience."""

    claims: Mapping[str, Any]
    expires: float
    audiences: frozenset[str]
    expected: frozenset[str]
    """Audiences its issuer was told to write; empty for the default."""


class Verifier:
    """Verifies signatures and claims. A key is good for the tokens of its own issuer only."""

    def __init__(self, authorities: Sequence[Authority], lifetime: float) -> None:
        self._authorities = authorities
        self._lifetime = lifetime

    async def verify(self, token: str) -> Token:
        """What a token says. Raises `Unauthorized`, or `KeysUnavailable` if no key was ever fetched."""
        algorithm, kid = _header(token)
        for authority in self._authorities:
            for key in await authority.keys.find(kid):
                if algorithm in key.algorithms:
                    claims = _verified(token, algorithm, key)
                    if claims is not None and authority.issued(claims):
                        return self._checked(claims, authority)
        if not any(authority.keys.known for authority in self._authorities):
            raise KeysUnavailable
        raise Unauthorized("unauthorized")

    def _checked(self, claims: dict[str, Any], authority: Authority) -> Token:
        expires, now = claims["exp"], time.time()
        sound = (
            isinstance(claims["sub"], str)
            and 0 < len(claims["sub"]) <= KID_MAX
            and isinstance(expires, int | float)
            and math.isfinite(expires)
            and expires - now <= self._lifetime + LEEWAY
        )
        if not sound:
            raise Unauthorized("unauthorized")
        return Token(claims, float(expires), _audiences(claims.get("aud")), authority.audience)


def _header(token: str) -> tuple[str, str | None]:
    """The algorithm and key id a token names; `jku`, `jwk`, `x5u` and `x5c` are never looked at."""
    try:
        header = jwt.get_unverified_header(token)
    except (PyJWTError, ValueError, RecursionError):
        raise Unauthorized("invalid_token", "invalid token") from None
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or not (kid is None or isinstance(kid, str)):
        raise Unauthorized("invalid_token", "invalid token")
    if kid is not None and (len(kid) > KID_MAX or not kid.isprintable()):
        raise Unauthorized("unauthorized")
    return algorithm, kid


def _verified(token: str, algorithm: str, key: Key) -> dict[str, Any] | None:
    try:
        claims: dict[str, Any] = jwt.decode(
            token, key.public, algorithms=[algorithm], options=_OPTIONS, leeway=LEEWAY
        )
    except (PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
        return None
    return claims


def _audiences(value: Any) -> frozenset[str]:
    if isinstance(value, str):
        return frozenset((value,))
    if isinstance(value, list):
        return frozenset(each for each in value if isinstance(each, str))
    return frozenset()
