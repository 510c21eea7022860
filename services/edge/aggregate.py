"""All servers behind one path: `search` and `execute`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from msgspec import Raw, ValidationError, convert
from msgspec.json import Decoder

from libs.common.codec import decoder, encode, raw
from libs.common.errors import InvalidParams, MethodNotFound
from libs.common.identity import Principal
from libs.common.messages.calls import ExecuteTool, SearchTools
from libs.common.messages.search import ToolsFound
from libs.common.naming import SEPARATOR
from services.edge.gateway import Gateway
from services.edge.parked import Parked
from services.edge.settings import Settings
from services.edge.surface import Ask, Description
from services.edge.tools import EXECUTE, INSTRUCTIONS, SEARCH, ExecuteArguments, SearchArguments, tool_list

NAME = "nexus"
_found: Decoder[ToolsFound] = decoder(ToolsFound)
Arguments = TypeVar("Arguments")


class Aggregate:
    """Shows two tools and reaches all; nothing else is offered, so nothing else is known."""

    def __init__(self, gateway: Gateway, settings: Settings, parked: Parked) -> None:
        self._gateway = gateway
        self._parked = parked
        self._settings = settings
        self._structured = settings.structured_content
        self._tools = tool_list(structured=settings.structured_content)
        self._info = raw({"name": NAME, "version": settings.version})
        self.route = settings.mcp_path

    @property
    def logs(self) -> bool:
        return False

    @property
    def stands(self) -> bool:
        return False

    @property
    def extensions(self) -> Mapping[str, Raw]:
        return {}

    def describe(self) -> Description:
        return Description(raw({"tools": {}}), self._info, INSTRUCTIONS)

    def info(self) -> Raw:
        return self._info

    def mirrored(self, tool: object) -> None:
        """Neither of the two tools asks for headers."""

    async def answer(self, ask: Ask) -> Raw:
        if ask.method == "tools/call":
            return await self._call(ask)
        if ask.method == "tools/list":
            if "cursor" in ask.params:
                raise InvalidParams("tools/list has one page: there is no such cursor")
            return self._tools
        raise MethodNotFound(f"the method {ask.method[:64]!r} is not offered here")

    async def notify(self, method: str, params: dict[str, Any], principal: Principal) -> None:
        """Nothing here listens to notifications."""

    async def _call(self, ask: Ask) -> Raw:
        name = ask.params.get("name")
        if name == EXECUTE:
            return await self._execute(ask)
        if name == SEARCH:
            return await self._search(ask)
        if not isinstance(name, str):
            raise InvalidParams('tools/call needs the name of a tool in "name"')
        raise InvalidParams(
            f"unknown tool {name[:64]!r}: call `{EXECUTE}` with this name and its arguments, "
            f"or `{SEARCH}` to find the right name"
        )

    async def _execute(self, ask: Ask) -> Raw:
        wanted = _arguments(ask, ExecuteArguments)
        rest: Mapping[str, Any] = {key: value for key, value in ask.params.items() if key != "name"}
        worker, rest = self._parked.redeem(rest, ask.principal, self.route)
        message = ExecuteTool(
            name=wanted.name,
            deadline=self._settings.deadline(wanted.name.partition(SEPARATOR)[0]),
            params=raw({**rest, "arguments": wanted.arguments}),
            principal=ask.principal,
            client=ask.client,
            progress=ask.progress,
            worker=worker,
            trace=ask.trace,
        )
        result = await self._gateway.request(message, on_event=ask.on_event)
        return self._parked.issue(result, ask.principal, self.route)

    async def _search(self, ask: Ask) -> Raw:
        wanted = _arguments(ask, SearchArguments)
        if not wanted.query and not wanted.keywords:
            raise InvalidParams(f'{SEARCH} needs a "query" or "keywords"')
        message = SearchTools(
            deadline=self._settings.deadline(),
            query=wanted.query,
            keywords=tuple(wanted.keywords),
            limit=wanted.limit,
            principal=ask.principal,
        )
        return self._shown(_found.decode(await self._gateway.request(message)))

    def _shown(self, found: ToolsFound) -> Raw:
        """One text per hit, because some clients show a model only those."""
        texts = [encode(hit).decode() for hit in found.hits] or [_nothing(found)]
        result: dict[str, Any] = {"content": [{"type": "text", "text": text} for text in texts]}
        if self._structured:
            result["structuredContent"] = {"results": found.hits}
        return raw(result)


def _arguments(ask: Ask, kind: type[Arguments]) -> Arguments:
    try:
        return convert(ask.params.get("arguments", {}), kind)
    except ValidationError as error:
        raise InvalidParams(f"the arguments do not fit the tool's input schema: {error}"[:300]) from None


def _nothing(found: ToolsFound) -> str:
    near = f" The nearest names are: {', '.join(found.nearest)}." if found.nearest else ""
    return f"No tool matches.{near} Try other or fewer words."
