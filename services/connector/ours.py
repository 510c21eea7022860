"""Members of `_meta` that are ours: what a server writes under such a name does not pass for our word."""

from __future__ import annotations

from msgspec import Raw

from libs.common.codec import UNREADABLE, members, raw

PREFIX = "nexus/"
_MARK = PREFIX.encode()


def stripped(result: Raw) -> Raw:
    """A server's result without them."""
    if _MARK not in bytes(result):
        return result
    try:
        parts = members(result)
        meta = members(parts["_meta"])
    except (*UNREADABLE, KeyError):
        return result
    kept = {name: value for name, value in meta.items() if not name.startswith(PREFIX)}
    if len(kept) == len(meta):
        return result
    return raw({**parts, "_meta": kept})
