"""All servers behind one path: their tools through `search` and `execute`, their prompts and resources."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from msgspec import Raw

from libs.common.codec import raw
from libs.common.errors import MethodNotFound
from libs.common.identity import Principal
from libs.common.seal import Keyring
from services.edge.completion import Completion
from services.edge.cursors import Cursors
from services.edge.era import LISTEN, MODERN
from services.edge.exposed import Exposed
from services.edge.fanin import Fanin
from services.edge.forward import Forward
from services.edge.gateway import Catalog, Gateway
from services.edge.headers import Headers
from services.edge.hints import Hints
from services.edge.introduction import Introduction
from services.edge.metatools import MetaTools
from services.edge.offers import Offers
from services.edge.params import Mirrored
from services.edge.parked import Parked
from services.edge.prompts import Prompts
from services.edge.resources import Resources
from services.edge.settings import Settings
from services.edge.shelf import RESOURCES, TEMPLATES, Shelf
from services.edge.surface import Ask, Description

NAME = "nexus"


class Aggregate:
    """Puts the parts together; each answers some methods, and what none of them knows is not offered."""

    def __init__(
        self,
        gateway: Gateway,
        catalog: Catalog,
        settings: Settings,
        keys: Keyring,
        schemas: Mirrored,
        parked: Parked,
        closing: asyncio.Event,
    ) -> None:
        self.route = settings.mcp_path
        self._catalog = catalog
        self._info = raw({"name": NAME, "version": settings.version})
        forward = Forward(gateway, catalog, settings, parked, self.route)
        offers, cursors = Offers(catalog, settings.policy), Cursors(keys, self.route)
        meta = MetaTools(gateway, catalog, settings, forward)
        self._tools = tools = Exposed(catalog, settings, schemas, cursors, forward, meta)
        prompts = Prompts(catalog, settings.policy, cursors, forward)
        shelf = Shelf(catalog, settings.policy, RESOURCES)
        templates = Shelf(catalog, settings.policy, TEMPLATES)
        resources = Resources(shelf, templates, offers, cursors, forward)
        changing = {"prompts": [prompts.shelf], "resources": [shelf, templates]}
        if tools.changing:
            changing["tools"] = [tools.shelf]
        self._introduction = Introduction(catalog, offers, self._info, changing=tools.changing)
        self._hints = Hints(catalog, settings.policy, offers)
        self._lists = {
            "tools/list": (tools.list, tools.shelf),
            "prompts/list": (prompts.list, prompts.shelf),
            "resources/list": (resources.list, shelf),
            "resources/templates/list": (resources.list_templates, templates),
        }
        self._answers = {
            "tools/call": tools.call,
            "prompts/get": prompts.get,
            "resources/read": resources.read,
            "completion/complete": Completion(prompts, resources, offers, forward).complete,
            LISTEN: Fanin(gateway, catalog, settings, changing, resources, offers, closing).listen,
        }

    @property
    def server(self) -> str:
        return ""

    @property
    def logs(self) -> bool:
        return True

    @property
    def stands(self) -> bool:
        return True

    @property
    def extensions(self) -> Mapping[str, Raw]:
        return {}

    async def prepare(self, principal: Principal) -> None:
        await self._catalog.prepare(self._catalog.names(), principal)

    def describe(self, principal: Principal) -> Description:
        return self._introduction.describe(principal)

    def info(self) -> Raw:
        return self._info

    def mirrored(self, tool: object, principal: Principal) -> Any | None:
        return self._tools.mirrored(tool, principal)

    async def answer(self, ask: Ask) -> Raw:
        if (listed := self._lists.get(ask.method)) is not None:
            page, shelf = listed
            modern = ask.client.version in MODERN
            return raw({**page(ask), **(self._hints.of(shelf, ask.principal) if modern else {})})
        if (answered := self._answers.get(ask.method)) is not None:
            return await answered(ask)
        raise MethodNotFound(f"the method {ask.method[:64]!r} is not offered here")

    async def notify(
        self, method: str, params: dict[str, Any], principal: Principal, headers: Headers
    ) -> None:
        """Nothing here listens to notifications."""
