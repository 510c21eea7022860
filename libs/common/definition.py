"""The digest of a tool's definition: what an audit names, and what tells one version from another. Pure."""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import Raw

from libs.common.codec import UNREADABLE, decode

_sorted = msgspec.json.Encoder(order="sorted").encode


def definition_digest(tool: Raw) -> str:
    """SHA-256 over the whole definition with its members sorted, so that their order does not count.

    64 hex digits. Of what is no JSON it is that of the bytes.
    """
    try:
        text = _sorted(decode(tool))
    except UNREADABLE:
        text = bytes(tool)
    return hashlib.sha256(text).hexdigest()
