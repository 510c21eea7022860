"""What one caller may see of the catalog: the policy's word, tool by tool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from libs.common.identity import Principal
from libs.common.policy import Policy
from services.indexer.catalog import Catalog, personal


class Sight:
    """Asked with the key of a list and a server's own name for a tool.

    Of lists for single callers, those that the query names by `digests`, each in place of the list that
    everybody else sees.
    """

    def __init__(
        self, catalog: Catalog, policy: Policy, principal: Principal, digests: Mapping[str, str]
    ) -> None:
        self._catalog = catalog
        self._policy = policy
        self._principal = principal
        self._keys = {server: personal(server, digest) for server, digest in digests.items()}
        self._servers = {key: server for server, key in self._keys.items()}

    def __call__(self, key: str, tool: str) -> bool:
        server = self.server(key)
        return bool(server) and self._policy.allows(self._principal, server, tool)

    def server(self, key: str) -> str:
        """Whose list this is; empty if it is not for the caller."""
        server = self._servers.get(key, key)
        return server if server in self._catalog.configured and key == self.key(server) else ""

    def key(self, server: str) -> str:
        """The list of this server that the caller sees."""
        return self._keys.get(server, server)

    def knows(self, server: str) -> bool:
        """Whether the caller may know of the server: by itself, or by one of its tools."""
        if server not in self._catalog.configured:
            return False
        if self._policy.allows(self._principal, server):
            return True
        key = self.key(server)
        return any(self(key, tool) for tool in self._catalog.tools(key))

    def servers(self) -> Iterator[str]:
        """All servers the caller may know of, by name."""
        return filter(self.knows, sorted(self._catalog.configured))
