"""Opaque tokens: state that a client carries for us and can neither read nor change.

Before base64url: format (1) ‖ key id (4) ‖ nonce (12) ‖ AES-256-GCM of [expiry (8) ‖ payload] ‖ tag (16).
Nonces are random: NIST SP 800-38D §8.3 allows 2³² tokens per key, so keys are to be rotated.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import struct
from collections.abc import Iterable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_SIZE = 32
TOKEN_MAX = 8192
"""Characters of a token that is looked at; proxies cut headers at about this size."""

_FORMAT = b"\x01"
_ID = 4
_NONCE = 12
_HEAD = len(_FORMAT) + _ID + _NONCE
_EXPIRY = struct.Struct(">Q")


class SealBroken(ValueError):
    """The token cannot be used here and now; never says why, so that it teaches nothing."""

    def __init__(self) -> None:
        super().__init__("the token is not valid here")


class Keyring:
    """Seals with its first key, opens with any: a new key goes first, an old one when its tokens expired.

    Tokens of more than `limit` characters are not looked at. Keys are 32 bytes; raises `ValueError`
    otherwise, or when there is none.
    """

    def __init__(self, keys: Sequence[bytes], limit: int = TOKEN_MAX) -> None:
        if not keys or any(len(key) != KEY_SIZE for key in keys):
            raise ValueError(f"a key ring holds at least one key, each of {KEY_SIZE} bytes")
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._first = _key_id(keys[0])
        self._limit = limit

    def seal(self, payload: bytes, *, binding: Iterable[str], expires: float) -> str:
        """`payload` as visible ASCII, usable only with the same `binding` until `expires` (epoch seconds)."""
        nonce = os.urandom(_NONCE)
        plain = _EXPIRY.pack(int(expires * 1000)) + payload
        sealed = self._ciphers[self._first].encrypt(nonce, plain, _bound(binding))
        return base64.urlsafe_b64encode(_FORMAT + self._first + nonce + sealed).rstrip(b"=").decode()

    def open(self, token: str, *, binding: Iterable[str], now: float) -> bytes:
        """The payload. Raises `SealBroken` if forged, foreign, expired or of a dropped key, all alike."""
        if len(token) > self._limit:
            raise SealBroken
        data = _decoded(token)
        cipher = self._ciphers.get(data[len(_FORMAT) : len(_FORMAT) + _ID])
        if cipher is None or data[: len(_FORMAT)] != _FORMAT:
            raise SealBroken
        try:
            plain = cipher.decrypt(data[len(_FORMAT) + _ID : _HEAD], data[_HEAD:], _bound(binding))
        except InvalidTag:
            raise SealBroken from None
        if len(plain) < _EXPIRY.size or _EXPIRY.unpack_from(plain)[0] <= now * 1000:
            raise SealBroken
        return plain[_EXPIRY.size :]


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"nexus key id\0" + key).digest()[:_ID]


def _bound(binding: Iterable[str]) -> bytes:
    """Length-prefixed, so that ("ab", "c") and ("a", "bc") differ."""
    parts = [part.encode("utf-8", "surrogatepass") for part in binding]
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def _decoded(token: str) -> bytes:
    """Only the one canonical spelling: a token must not exist in two forms."""
    if not token.isascii():
        raise SealBroken
    padded = token.encode() + b"=" * (-len(token) % 4)
    try:
        data = base64.b64decode(padded, altchars=b"-_", validate=True)
    except binascii.Error:
        raise SealBroken from None
    if len(data) <= _HEAD or base64.urlsafe_b64encode(data).rstrip(b"=") != token.encode():
        raise SealBroken
    return data
