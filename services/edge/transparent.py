"""One server behind its own path: its own names, and whatever else it speaks, untouched."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from msgspec import Raw
from msgspec.structs import replace

from libs.common.codec import UNREADABLE, members, raw
from libs.common.errors import (
    NULL,
    CallFailed,
    InvalidParams,
    MethodNotFound,
    ServerUnavailable,
    ServerUnknown,
)
from libs.common.identity import ANONYMOUS, Principal
from libs.common.messages.calls import CallServer, NotifyServer
from libs.common.messages.catalog import Listing
from libs.common.naming import is_server
from services.edge import tasks
from services.edge.era import LISTEN, MODERN
from services.edge.gateway import Catalog, Gateway
from services.edge.headers import Headers
from services.edge.params import Mirrored
from services.edge.parked import Parked
from services.edge.permitted import Listed, permitted
from services.edge.settings import Settings
from services.edge.surface import Ask, Description
from services.edge.tasks import Tickets

_CARRIED = ("tools", "prompts", "resources", "completions", "logging")
_UNSHARED = frozenset({"logging/setLevel", "resources/subscribe", "resources/unsubscribe"})
"""They would change, for everybody, the one session that all clients of a server share."""
NAME_SHOWN = 64
"""Characters of an unknown server's name that are repeated to who asked for it."""
_NOTIFICATION = "notifications/"
_OWN_HOP = frozenset({"notifications/initialized", "notifications/cancelled", "notifications/progress"})
"""They name requests of the client's hop by ids and tokens that mean nothing, or another call, further on."""


class Transparent:
    """Introduces the server from what it last said of itself, and passes everything else on."""

    def __init__(
        self,
        server: str,
        gateway: Gateway,
        catalog: Catalog,
        settings: Settings,
        schemas: Mirrored,
        tickets: Tickets,
        parked: Parked,
        listed: Listed,
    ) -> None:
        self._listed = listed
        self.server = server
        self._schemas = schemas
        self._tickets = tickets
        self._parked = parked
        self._gateway = gateway
        self._catalog = catalog
        self._settings = settings
        # Whatever a client writes there goes into headers and events. A name that is one stays as it is.
        self.route = f"{settings.mcp_path}/{quote(server[:NAME_SHOWN], safe='')}"

    @property
    def logs(self) -> bool:
        return True

    @property
    def stands(self) -> bool:
        return True

    @property
    def extensions(self) -> Mapping[str, Raw]:
        """None of a server that lists to each caller by himself."""
        listing = self._listing(ANONYMOUS)
        return {} if listing is None else tasks.offered(listing)

    async def prepare(self, principal: Principal) -> None:
        await self._catalog.prepare((self.server,), principal)

    def describe(self, principal: Principal) -> Description:
        listing = self._listing(principal)
        if listing is None or not self._visible(principal):
            raise self._unavailable(principal)
        info = raw({"name": self.server, "version": ""}) if listing.info == NULL else listing.info
        return Description(_carried(listing.capabilities), info, listing.instructions)

    def info(self) -> Raw | None:
        listing = self._listing(ANONYMOUS)
        return None if listing is None or listing.info == NULL else listing.info

    def mirrored(self, tool: object, principal: Principal) -> Any | None:
        listing = self._listing(principal)
        if listing is None or not isinstance(tool, str):
            return None
        schema = self._schemas.schema(listing, tool)
        return schema if schema is not None and self._visible(principal, tool) else None

    async def answer(self, ask: Ask) -> Raw:
        self._check_known(ask.principal)
        if ask.method in _UNSHARED:
            raise MethodNotFound(f"the method {ask.method!r} is not offered here")
        if ask.client.version not in MODERN:
            if self.extensions and ask.method in tasks.METHODS:
                raise MethodNotFound(f"the method {ask.method!r} is not offered here")
            return await self._send(ask, ask.params)
        if ask.method in tasks.METHODS:
            return await self._task(ask)
        if ask.method == LISTEN:
            return await self._listen(ask)
        result = await self._send(ask, ask.params)
        if not tasks.takes_tasks(ask.client):
            return result
        return self._tickets.issue(result, ask.principal, self.route)

    async def _listen(self, ask: Ask) -> Raw:
        if not self.extensions:
            return await self._send(ask, tasks.unlistened(ask.params))
        params, tickets = self._tickets.listened(ask.params, ask.principal, self.route)
        if params is not ask.params:
            tasks.check_declared(ask.client)
        return await self._send(dataclasses.replace(ask, on_event=tasks.told(ask.on_event, tickets)), params)

    async def _task(self, ask: Ask) -> Raw:
        if not self.extensions:
            raise MethodNotFound(f"the method {ask.method!r} is not offered here")
        tasks.check_declared(ask.client)
        ticket = ask.params.get("taskId")
        known = self._tickets.redeem(ticket, ask.principal, self.route)
        return tasks.renamed(await self._send(ask, {**ask.params, "taskId": known}), ticket)

    async def _send(self, ask: Ask, params: Mapping[str, Any]) -> Raw:
        worker, params = self._parked.redeem(params, ask.principal, self.route)
        message = CallServer(
            server=self.server,
            method=ask.method,
            deadline=self._deadline(ask.method),
            params=raw(params),
            principal=ask.principal,
            client=ask.client,
            progress=ask.progress,
            worker=worker,
            trace=ask.trace,
            headers=self._settings.carried(self.server, ask.headers),
            tool=self._tool(ask),
        )
        result = await self._gateway.request(message, on_event=ask.on_event)
        if ask.method == "tools/list":
            result = permitted(result, self.server, ask.principal, self._settings.policy)
        return self._parked.issue(result, ask.principal, self.route)

    def _tool(self, ask: Ask) -> str:
        """The tool that is called. One the caller may not see is unknown, like those that are not there."""
        name = ask.params.get("name")
        if ask.method != "tools/call":
            return ""
        if not isinstance(name, str):
            # A server may take a list of one name for that name; rules and limits would not.
            raise InvalidParams('tools/call needs the name of a tool in "name"')
        if self._settings.policy.ruled(self.server) and not self._offered(ask.principal, name):
            raise InvalidParams(f"unknown tool {name[:64]!r}: tools/list has the names")
        return name

    def _offered(self, principal: Principal, tool: str) -> bool:
        listing = self._listing(principal)
        return self._listed.has(listing, tool) and self._visible(principal, tool)

    def _visible(self, principal: Principal, tool: str = "") -> bool:
        return self._settings.policy.allows(principal, self.server, tool)

    def _deadline(self, method: str) -> float:
        if method == LISTEN:
            return time.time() + self._settings.listen_ttl
        return self._settings.deadline(self.server)

    async def notify(
        self, method: str, params: dict[str, Any], principal: Principal, headers: Headers
    ) -> None:
        self._check_known(principal)
        # A request without an id is no notification: a careless server would run it, past rules and limits.
        if method in _OWN_HOP or not method.startswith(_NOTIFICATION):
            return
        deadline = self._settings.deadline(self.server)
        carried = self._settings.carried(self.server, headers)
        await self._gateway.request(
            NotifyServer(self.server, method, deadline, raw(params), principal, headers=carried)
        )

    def _listing(self, principal: Principal) -> Listing | None:
        return self._catalog.listing(self.server, principal)

    def _check_known(self, principal: Principal) -> None:
        if not self._visible(principal) or (self._listing(principal) is None and not self._configured()):
            raise self._unavailable(principal)

    def _configured(self) -> bool:
        return is_server(self.server) and any(
            status.name == self.server for status in self._catalog.servers()
        )

    def _unavailable(self, principal: Principal) -> CallFailed:
        for status in self._catalog.servers():
            if status.name == self.server and self._visible(principal):
                why = f": {status.error}" if status.error else ""
                text = f'the server "{self.server}" is configured but not ready ({status.state}{why})'
                return CallFailed(ServerUnavailable(text).failure())
        unknown = ServerUnknown(f'there is no server "{self.server[:NAME_SHOWN]}" behind this gateway')
        return CallFailed(replace(unknown.failure(), http=404))


def _carried(capabilities: Raw) -> Raw:
    """Only what this path brings to the client; a promise nobody keeps is worse than none."""
    offered = _object(capabilities)
    return raw({name: _object(offered[name]) for name in _CARRIED if name in offered})


def _object(value: Raw) -> dict[str, Raw]:
    """What is no object says nothing: the server wrote it, and only that server is shown by it."""
    try:
        return members(value)
    except UNREADABLE:
        return {}
