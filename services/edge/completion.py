"""Completion of arguments: the prompt or template under the name that its own server knows."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from libs.common.codec import raw
from libs.common.errors import InvalidParams
from libs.common.identity import Principal
from services.edge.forward import Forward
from services.edge.offers import Offers
from services.edge.prompts import Prompts
from services.edge.resources import Resources
from services.edge.surface import Ask

COMPLETIONS = "completions"
_NOTHING = raw({"completion": {"values": [], "total": 0, "hasMore": False}})


class Completion:
    """`completion/complete` of the aggregate."""

    def __init__(self, prompts: Prompts, resources: Resources, offers: Offers, forward: Forward) -> None:
        self._prompts = prompts
        self._resources = resources
        self._offers = offers
        self._forward = forward

    async def complete(self, ask: Ask) -> Raw:
        """A server that completes nothing proposes nothing. Raises `InvalidParams` for an unknown `ref`."""
        ref = ask.params.get("ref")
        if not isinstance(ref, dict):
            raise InvalidParams('completion/complete needs "ref", a reference to a prompt or a resource')
        server, own = self._place(ref, ask.principal)
        offers, who = self._offers, ask.principal
        if offers.known(server, who) and not offers.has(server, COMPLETIONS, who):
            return _NOTHING
        return await self._forward.call(ask, server, {**ask.params, "ref": {**ref, **own}})

    def _place(self, ref: dict[str, Any], principal: Principal) -> tuple[str, dict[str, str]]:
        match ref:
            case {"type": "ref/prompt", "name": name}:
                server, own = self._prompts.place(name, principal)
                return server, {"name": own}
            case {"type": "ref/resource", "uri": str(uri)}:
                place = self._resources.place(uri, principal)
                return place.server, {"uri": place.own}
            case _:
                raise InvalidParams(
                    '"ref" is {"type": "ref/prompt", "name"} or {"type": "ref/resource", "uri"}'
                )
