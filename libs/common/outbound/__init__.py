"""Requests to addresses that others named: checked, pinned, bounded. For metadata, keys and tokens."""

from __future__ import annotations

from libs.common.outbound.fetching import FetchFailed, Reply, fetch, host_of

__all__ = ["FetchFailed", "Reply", "fetch", "host_of"]
