"""Prompts of all servers, each under its server's name."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from libs.common.errors import InvalidParams
from libs.common.identity import Principal
from libs.common.naming import SEPARATOR
from libs.common.policy import Policy
from services.edge.cursors import Cursors
from services.edge.forward import Forward
from services.edge.gateway import Catalog
from services.edge.shelf import PROMPTS, Shelf
from services.edge.surface import Ask


class Prompts:
    """`prompts/list` and `prompts/get` of the aggregate."""

    def __init__(self, catalog: Catalog, policy: Policy, cursors: Cursors, forward: Forward) -> None:
        self.shelf = Shelf(catalog, policy, PROMPTS)
        self._policy = policy
        self._catalog = catalog
        self._cursors = cursors
        self._forward = forward

    def list(self, ask: Ask) -> dict[str, Any]:
        return self._cursors.page(ask, self.shelf.view(ask.principal), PROMPTS.member)

    async def get(self, ask: Ask) -> Raw:
        """Raises `InvalidParams` for a prompt that nobody lists."""
        server, own = self.place(ask.params.get("name"), ask.principal)
        return await self._forward.call(ask, server, {**ask.params, "name": own})

    def place(self, name: object, principal: Principal) -> tuple[str, str]:
        """The server of a prompt, and what it calls it there. Raises `InvalidParams`."""
        if not isinstance(name, str):
            raise InvalidParams('the name of a prompt must be a string in "name"')
        entry = self.shelf.find(name, principal)
        if entry is not None:
            return entry.server, entry.own
        server, _, own = name.partition(SEPARATOR)
        if self._unlisted(server, principal) and self._policy.allows(principal, server, own, "prompt"):
            return server, own
        raise InvalidParams(f"there is no prompt {name[:64]!r}: prompts/list has their names")

    def _unlisted(self, server: str, principal: Principal) -> bool:
        return server in self._catalog.names() and self._catalog.listing(server, principal) is None
