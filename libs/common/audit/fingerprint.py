"""Keyed digests: equal things look equal in the audit, and nobody can guess what they were. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Raw

from libs.common.audit.events import Payload
from libs.common.codec import UNREADABLE, members

DIGITS = 16
"""Hex digits of a fingerprint."""


def derived(key: bytes, purpose: str) -> bytes:
    """32 bytes for one purpose, from a key of the fleet (HKDF-SHA256, RFC 5869)."""
    return HKDF(SHA256(), 32, None, b"nexus audit " + purpose.encode()).derive(key)


class Fingerprints:
    """Digests of tokens, sessions, arguments and results: HMAC-SHA256, the same all over the fleet."""

    def __init__(self, key: bytes) -> None:
        block = derived(key, "fingerprint").ljust(hashlib.sha256().block_size, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def of(self, secret: str | bytes) -> str:
        """Sixteen hex digits.

        HMAC as RFC 2104 has it, from both halves of the key digested once: `hmac` takes four times as long.
        """
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret)
        outer.update(inner.digest())
        return outer.hexdigest()[:DIGITS]

    def payload(self, raw: Raw | bytes, fields: Collection[str] = ()) -> Payload:
        """Size, digest and member names of a JSON object; and `fields` that a rule allows, with values."""
        data = bytes(raw)
        digest = self.of(data)
        try:
            found = members(raw)
        except UNREADABLE:
            return Payload(len(data), digest)
        if not fields:
            return Payload(len(data), digest, tuple(found))
        shown = tuple((name, _text(found[name])) for name in fields if name in found)
        return Payload(len(data), digest, tuple(found), shown)


def _text(value: Raw) -> str:
    """A value as one would read it: a string without its quotes, anything else as JSON."""
    text = bytes(value).decode()
    return str(json.loads(text)) if text.startswith('"') else text
