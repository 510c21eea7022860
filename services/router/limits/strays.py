"""Limits on tools that do not exist: a mistake that only the catalog can show."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

log = structlog.get_logger("limits")


class Strays:
    """Compares what is limited with what servers list, and says each thing once."""

    def __init__(self, limited: Mapping[str, frozenset[str]]) -> None:
        self._limited = limited
        self._said: dict[str, frozenset[str]] = {}

    def check(self, server: str, tools: frozenset[str]) -> None:
        """Take the names that `server` has just listed."""
        missing = self._limited.get(server, frozenset()) - tools
        if missing - self._said.get(server, frozenset()):
            log.warning(
                "limits are on tools that the server does not list", server=server, tools=sorted(missing)
            )
        self._said[server] = missing
