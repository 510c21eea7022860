"""Tokens of callers on the bus: each sealed for one caller and one server, for the time of one call."""

from __future__ import annotations

import hashlib

from libs.common.identity import Principal
from libs.common.seal import Keyring

LIFE = 60.0
"""Seconds for a call to reach its connector; the call itself may take longer."""
SEALED_MAX = 12 * 1024
"""Characters of a sealed token: one of 8 KiB, and what sealing adds."""


def fingerprint(token: str) -> str:
    """What tells one token from another and says nothing else of it: 128 bits of SHA-256, hexadecimal."""
    return hashlib.sha256(b"nexus credential\0" + token.encode()).hexdigest()[:32]


def seal_token(keys: Keyring, token: str, principal: Principal, server: str, until: float) -> str:
    """`token`, for this caller's call of this server; good until `until` (seconds since the epoch)."""
    return keys.seal(token.encode(), binding=_binding(principal, server), expires=until)


def open_token(keys: Keyring, sealed: str, principal: Principal, server: str, now: float) -> str:
    """The token. Raises `SealBroken` for one of another caller or server, and for one that is over."""
    return keys.open(sealed, binding=_binding(principal, server), now=now).decode()


def _binding(principal: Principal, server: str) -> tuple[str, ...]:
    return ("delegated", principal.issuer, principal.subject, principal.credential, server)
