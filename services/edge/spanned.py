"""A surface whose answers are recorded, by the semantic conventions for MCP (OpenTelemetry GenAI 1.40)."""

from __future__ import annotations

import hashlib
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Raw
from msgspec.structs import replace

from libs.common.errors import NULL
from libs.common.naming import exposed
from libs.common.policy import Policy
from libs.common.telemetry.current import sampled
from libs.common.telemetry.methods import failed, named
from services.edge.arrival import HERE
from services.edge.gateway import Catalog
from services.edge.shelf import PROMPTS, TOOLS, Shelf
from services.edge.surface import Ask, Surface
from services.edge.tools import EXECUTE, SEARCH

if TYPE_CHECKING:
    from libs.common.telemetry.spans import Value
    from libs.common.telemetry.tracing import Tracing

ID_MAX = 64
_COMMON: Mapping[str, Value] = {"network.transport": "tcp", "network.protocol.name": "http"}


class Describing:
    """What spans say of a question. Names that no server lists are somebody's text, and left out."""

    def __init__(self, catalog: Catalog, policy: Policy) -> None:
        self._catalog = catalog
        self._tools = Shelf(catalog, policy, TOOLS)
        self._prompts = Shelf(catalog, policy, PROMPTS)

    def describe(self, ask: Ask, server: str) -> tuple[str, dict[str, Value]]:
        """The name of the span, and its attributes; `server` is empty for the aggregate."""
        method = named(ask.method)
        about = {**_COMMON, "mcp.method.name": method, **_client(ask)}
        target = ""
        if method == "tools/call":
            target = self._tool(ask, server, about)
        elif method == "prompts/get" and self._prompts.find(
            shown := _name(ask.params, server), ask.principal
        ):
            target = about["gen_ai.prompt.name"] = shown
        if server in self._catalog.names():
            about["nexus.server"] = server
        return (f"{method} {target}" if target else method), about

    def _tool(self, ask: Ask, server: str, about: dict[str, Value]) -> str:
        called = ask.params.get("name")
        about["gen_ai.operation.name"] = "execute_tool"
        own = not server and called in (SEARCH, EXECUTE)
        if own:
            about["mcp.tool.name"] = str(called)
        if own and called == SEARCH:
            about.update({"mcp.tool.type": "builtin", "gen_ai.tool.name": SEARCH, **_search(ask)})
            return SEARCH
        name = _name(_arguments(ask) if own else ask.params, server)
        entry = self._tools.find(name, ask.principal)
        if entry is None:
            about["mcp.tool.type"] = "unknown"
            return EXECUTE if own else ""
        about.update({"mcp.tool.type": "downstream", "gen_ai.tool.name": name, "nexus.server": entry.server})
        return name


class Spanned:
    """`Surface` before another one."""

    def __init__(self, surface: Surface, tracing: Tracing, describing: Describing) -> None:
        self._surface = surface
        self._tracing = tracing
        self._describing = describing
        self.server, self.route = surface.server, surface.route
        self.logs, self.stands = surface.logs, surface.stands
        self.prepare, self.describe, self.info = surface.prepare, surface.describe, surface.info
        self.mirrored, self.notify = surface.mirrored, surface.notify

    @property
    def extensions(self) -> Mapping[str, Raw]:
        return self._surface.extensions

    def answer(self, ask: Ask) -> Coroutine[Any, Any, Raw]:
        """As the surface answers; a coroutine of its own only where that is recorded, for each one costs."""
        here = HERE.get()
        # On a stream of 2024-11-05 each message is a request of its own.
        ask.trace = here.settle(ask.trace) if here else self._tracing.sampler.decide(ask.trace, ask.headers)
        return self._recorded(ask) if sampled(ask.trace.own) else self._surface.answer(ask)

    async def _recorded(self, ask: Ask) -> Raw:
        name, attributes = self._describing.describe(ask, self.server)
        span = self._tracing.span(ask.trace.own, name, "server", attributes)
        ask.trace = replace(ask.trace, own=span.own)
        with span.active():
            result = await self._surface.answer(ask)
            if failed(ask.method, result):
                span.fail("tool_error")
            return result


def _client(ask: Ask) -> dict[str, Value]:
    client = ask.client
    found: dict[str, Value] = {}
    if client.version:
        found["mcp.protocol.version"] = client.version
    if client.session:
        found["mcp.session.id"] = hashlib.sha256(client.session.encode()).hexdigest()[:32]
    if ask.principal.client:
        found["client.id"] = ask.principal.client
    if ask.id != NULL:
        found["jsonrpc.request.id"] = bytes(ask.id).decode().strip('"')[:ID_MAX]
    return found


def _arguments(ask: Ask) -> dict[str, Any]:
    arguments = ask.params.get("arguments")
    return arguments if isinstance(arguments, dict) else {}


def _name(params: Mapping[str, Any], server: str) -> str:
    """As the aggregate shows it."""
    name = params.get("name")
    if not isinstance(name, str):
        return ""
    return exposed(server, name) if server else name


def _search(ask: Ask) -> dict[str, Value]:
    arguments = _arguments(ask)
    keywords, query = arguments.get("keywords"), arguments.get("query")
    count = len(keywords) if isinstance(keywords, list) else 0
    return {"mcp.search.keyword_count": count + len(str(query or "").split())}
