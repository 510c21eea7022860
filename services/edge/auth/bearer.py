"""The credentials in an `Authorization` header."""

from __future__ import annotations

from services.edge.auth.refusal import Unauthorized

TOKEN_MAX = 8 * 1024
"""Characters of a token; a longer one is refused before anything of it is read."""


def bearer_token(header: str) -> str:
    """The token of `Bearer TOKEN` (RFC 6750 §2.1; the scheme in any case). Raises `Unauthorized`."""
    if not header:
        raise Unauthorized("invalid_token", "missing token", sent=False)
    scheme, space, token = header.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized("invalid_token", "token must be prefixed with Bearer")
    if not space or not token:
        raise Unauthorized("invalid_token", "missing token", sent=False)
    if len(token) > TOKEN_MAX or not token.isascii() or token.split() != [token]:
        raise Unauthorized("invalid_token", "invalid token")
    return token
