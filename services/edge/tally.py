"""What is counted of JSON-RPC requests: how many, how long, how they ended, for whom."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Any, NamedTuple

from msgspec import Raw

from libs.common.identity import Principal
from libs.common.meters import OTHER, families
from libs.common.meters.cells import Family, Spread
from libs.common.meters.outcomes import CANCELLED, Cause, cause
from services.edge import tasks
from services.edge.body import ClientGone
from services.edge.era import LISTEN
from services.edge.exchange import Exchange
from services.edge.gateway import Catalog
from services.edge.known import Known, Tool
from services.edge.message import INITIALIZE, Message
from services.edge.settings import Settings
from services.edge.tools import EXECUTE, SEARCH

ACTIVE = 300.0
"""Seconds without a request after which a client is not active."""
CLIENTS_MAX = 10_000
"""Clients that are remembered; the one heard of longest ago makes room."""
LABELLED_MAX = 100
"""Ids of clients that become labels; every further one is `other`."""
COUNT_MAX = 10
"""Keywords and hits that are told apart; this stands for more, too."""

hits: ContextVar[int] = ContextVar("hits")
"""How many tools the search of this request has found."""

_LISTS: dict[str, tuple[Family[Spread], str]] = {
    "tools/list": (families.TOOL_LISTS, "list_tools"),
    "prompts/list": (families.PROMPTS, "list_prompts"),
    "prompts/get": (families.PROMPTS, "get_prompt"),
    "resources/list": (families.RESOURCES, "list_resources"),
    "resources/templates/list": (families.RESOURCES, "list_resource_templates"),
    "resources/read": (families.RESOURCES, "read_resource"),
}
_CALL = "tools/call"
_METHODS = frozenset(
    {
        *_LISTS,
        *tasks.METHODS,
        _CALL,
        INITIALIZE,
        LISTEN,
        "ping",
        "server/discover",
        "completion/complete",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
    }
)


class _Called(NamedTuple):
    tool: Tool
    kind: str
    keywords: str = ""
    found: str = ""


class Tally:
    """Counts for this replica; whatever a caller writes, labels stay few."""

    def __init__(self, catalog: Catalog, settings: Settings) -> None:
        self._known = Known(catalog)
        self._identified = settings.identified
        self._groups = settings.groups
        self._labelled: dict[str, str] = {}
        self._heard: OrderedDict[tuple[str, ...], float] = OrderedDict()

    async def answered(self, exchange: Exchange, message: Message, work: Awaitable[Raw]) -> Raw:
        """The result of `work`, which answers `message`; whatever it raises."""
        began, why = time.perf_counter(), Cause()
        try:
            return await work
        except BaseException as raised:
            why = CANCELLED if isinstance(raised, ClientGone) else cause(raised)
            raise
        finally:
            self.count(exchange, message, time.perf_counter() - began, why)

    def count(self, exchange: Exchange, message: Message, seconds: float, why: Cause) -> None:
        """Count one request that took `seconds`; `why` is empty if it did not fail."""
        method = message.method if message.method in _METHODS else OTHER
        error = why.type
        status = "error" if error else "success"
        families.REQUESTS.cell(method, status).add()
        if error:
            families.ERRORS.cell(method, *why).add()
        self._hear(exchange)
        if method == LISTEN:
            return
        families.LATENCY.cell(method).observe(seconds)
        labels = self._client(exchange.principal)
        if method == _CALL:
            called = self._called(exchange, message.params, -1 if error else hits.get(-1))
            self._tool(called, status, error, labels).observe(seconds)
        elif (timed := _LISTS.get(method)) is not None:
            family, name = timed
            family.cell(name, status, error, *labels).observe(seconds)

    def look(self) -> None:
        """Set how many clients are active."""
        since = time.monotonic() - ACTIVE
        while self._heard and next(iter(self._heard.values())) < since:
            self._heard.popitem(last=False)
        families.CLIENTS.cell().set(len(self._heard))

    def _hear(self, exchange: Exchange) -> None:
        who = exchange.principal
        key = (who.issuer, who.subject, who.client, exchange.address)
        self._heard[key] = time.monotonic()
        self._heard.move_to_end(key)
        if len(self._heard) > CLIENTS_MAX:
            self._heard.popitem(last=False)

    def _tool(self, called: _Called, status: str, error: str, client: tuple[str, str]) -> Spread:
        tool, kind, keywords, found = called
        return families.TOOL_CALLS.cell(tool.name, kind, tool.server, status, error, keywords, found, *client)

    def _called(self, exchange: Exchange, params: dict[str, Any], found: int) -> _Called:
        name, server = params.get("name"), exchange.surface.server
        if server:
            return _Called(self._known.own(server, name, exchange.principal), "downstream")
        if name == SEARCH:
            return _Called(Tool("", SEARCH), "builtin", _keywords(params), _counted(found))
        if name == EXECUTE:
            arguments = params.get("arguments")
            name = arguments.get("name") if isinstance(arguments, dict) else None
        return _Called(self._known.exposed(name, exchange.principal), "downstream")

    def _client(self, principal: Principal) -> tuple[str, str]:
        """Its id and its group, where the configuration says what they are."""
        if not self._identified:
            return "", ""
        group = next((each for each in principal.groups if each in self._groups), "")
        known = self._labelled.get(principal.client)
        if known is None and len(self._labelled) < LABELLED_MAX:
            known = self._labelled[principal.client] = principal.client
        return OTHER if known is None else known, group


def _keywords(params: dict[str, Any]) -> str:
    arguments = params.get("arguments")
    keywords = arguments.get("keywords") if isinstance(arguments, dict) else None
    return _counted(len(keywords) if isinstance(keywords, list) else 0)


def _counted(number: int) -> str:
    return str(min(number, COUNT_MAX)) if number >= 0 else ""
