"""From exposed names to servers and their own tool names, current with the catalog."""

from __future__ import annotations

import structlog
from msgspec import Struct

from libs.common import naming
from libs.common.policy import Policy

log = structlog.get_logger("names")


class ToolName(Struct, frozen=True):
    """A tool definition, of which only the name is read."""

    name: str


class NamedListing(Struct, frozen=True):
    """A catalog value, of which only the names are read."""

    server: str
    tools: tuple[ToolName, ...] = ()


class Names:
    """Every exposed name, by server: a server's name never holds `__`, so its prefix tells whose a name is.

    Names that two tools of a server share belong to neither.
    """

    def __init__(
        self, configured: frozenset[str], policy: Policy, delegated: frozenset[str] = frozenset()
    ) -> None:
        self._configured = configured - delegated
        self._delegated = delegated
        self._policy = policy
        self._names: dict[str, dict[str, tuple[str, str]]] = {}

    def update(self, key: str, listing: NamedListing | None) -> None:
        """Take one change of the catalog bucket; a server that is not configured is not there."""
        if listing is None or listing.server not in self._configured:
            self._names.pop(key, None)
            return
        names, collided = naming.resolve((listing.server, tool.name) for tool in listing.tools)
        if collided:
            log.warning("tool names collide and are not offered", server=key, names=collided[:20])
        self._names[key] = names
        misspelt = self._policy.unknown_tools(key, (tool.name for tool in listing.tools))
        if misspelt:
            log.warning("rules name tools that are not there", server=key, tools=misspelt[:20])

    def unlisted(self, name: str) -> str:
        """The configured server `name` belongs to if it has not listed anything yet; else empty."""
        server = name.partition(naming.SEPARATOR)[0]
        return server if server in self._configured and server not in self._names else ""

    def delegated(self, server: str) -> bool:
        """Whether it lists to each caller by himself."""
        return server in self._delegated

    def find(self, name: str, own: str = "") -> tuple[str, str] | None:
        """(server, its own tool name) of an exposed name.

        `own` is what a server calls it that lists to each caller by himself, so that only the edge knows.
        """
        server = name.partition(naming.SEPARATOR)[0]
        if own and server in self._delegated:
            return server, own
        return self._names.get(server, {}).get(name)
