"""Which of the protocol's two eras a request belongs to, by its `MCP-Protocol-Version` header."""

from __future__ import annotations

import re
from typing import Final

from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION, MODERN_PROTOCOL_VERSIONS

LEGACY: Final = HANDSHAKE_PROTOCOL_VERSIONS
"""Revisions with `initialize` and sessions, oldest first."""
MODERN: Final = MODERN_PROTOCOL_VERSIONS
"""Revisions in which every request stands alone."""

BATCHING: Final = ("2024-11-05", "2025-03-26")
"""Revisions in which one POST may bring several messages."""

RESUMING: Final = LEGACY[LEGACY.index("2025-03-26") :]
"""Revisions in which a client may take up a broken stream again."""
PRIMED: Final = LEGACY[LEGACY.index("2025-11-25") :]
"""Revisions whose clients know events without data: an id to come back with before anything was said."""

LISTEN: Final = "subscriptions/listen"
"""How a modern server is asked for its news; sessions have a GET stream instead."""

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)


def is_modern(version: str | None) -> bool:
    """Unknown revisions count as modern, unless dated earlier: that era can tell what it serves."""
    if version is None or version in LEGACY:
        return False
    return not (_DATE.match(version) and version < MODERN[0])


def negotiate(requested: str) -> str:
    """The revision to answer `initialize` with: the requested one, or the newest we have."""
    return requested if requested in LEGACY else LATEST_HANDSHAKE_VERSION
