"""Calls that go on after their answer: the tasks extension (SEP-2663), for clients of 2026-07-28.

Whoever knows the id of a task may read it, answer for it and stop it. So clients see it sealed only, and a
sealed id is good for one principal on one path.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import structlog
from msgspec import Raw

from libs.common.codec import UNREADABLE, decode, members, raw
from libs.common.errors import NULL, CallFailed, Failure, HeaderMismatch, InvalidParams, ResultInvalid
from libs.common.identity import Principal
from libs.common.messages.calls import Client
from libs.common.messages.catalog import Listing
from libs.common.seal import Keyring, SealBroken
from services.edge.era import MODERN
from services.edge.gateway import OnEvent
from services.edge.inbound import decode_header_value
from services.edge.standing import ACKNOWLEDGED

log = structlog.get_logger("edge")

EXTENSION = "io.modelcontextprotocol/tasks"
NEWS = "notifications/tasks"
METHODS = frozenset({"tasks/get", "tasks/update", "tasks/cancel"})
LIFE = 7 * 24 * 3600.0
"""Seconds a task can be asked about through the gateway, however long its server keeps it."""
ID_MAX = 1024
"""Characters of a server's task id: sealed it travels in a header."""
LISTENED_MAX = 100
"""Tasks that one stream of `subscriptions/listen` can be asked for."""
_MISSING_CAPABILITY = -32021
_REQUIRED = raw({"requiredCapabilities": {"extensions": {EXTENSION: {}}}})


class Tickets:
    """Task ids as clients see them."""

    def __init__(self, keys: Keyring) -> None:
        self._keys = keys

    def issue(self, result: Raw, principal: Principal, route: str) -> Raw:
        """A result, its task id sealed if it is a task. Raises `ResultInvalid` for an id that is none."""
        if b'"task"' not in bytes(result):
            return result
        try:
            parts = members(result)
            if decode(parts.get("resultType", NULL)) != "task":
                return result
            task = decode(parts.get("taskId", NULL))
        except UNREADABLE:
            # What is no result is refused where all results are.
            return result
        if not isinstance(task, str) or len(task) > ID_MAX:
            raise ResultInvalid(f"the server started a task without an id of at most {ID_MAX} characters")
        expires = time.time() + LIFE
        parts["taskId"] = raw(
            self._keys.seal(task.encode(), binding=_binding(principal, route), expires=expires)
        )
        return raw(parts)

    def listened(
        self, params: Mapping[str, Any], principal: Principal, route: str
    ) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """A `subscriptions/listen` for the server's own ids, and the tickets they are known by.

        Tickets that are not good here are left out, as MCP has it: the acknowledgement names the others.
        """
        wanted = params.get("notifications")
        if not isinstance(wanted, dict) or "taskIds" not in wanted:
            return params, {}
        named = wanted["taskIds"]
        if not isinstance(named, list) or len(named) > LISTENED_MAX:
            raise InvalidParams(f'"taskIds" must be a list of at most {LISTENED_MAX} ids')
        tickets: dict[str, str] = {}
        for ticket in named:
            with suppress(InvalidParams):
                tickets[self.redeem(ticket, principal, route)] = str(ticket)
        return {**params, "notifications": {**wanted, "taskIds": list(tickets)}}, tickets

    def redeem(self, ticket: object, principal: Principal, route: str) -> str:
        """The server's own id. Raises `InvalidParams`, the same for a forged, a foreign and an old one."""
        try:
            opened = self._keys.open(str(ticket), binding=_binding(principal, route), now=time.time())
        except SealBroken:
            raise InvalidParams("there is no such task") from None
        return opened.decode()


def offered(listing: Listing) -> dict[str, Raw]:
    """Extensions of a server that reach clients, with its settings for them; a legacy one has other tasks."""
    if listing.version not in MODERN or EXTENSION.encode() not in bytes(listing.capabilities):
        return {}
    try:
        extensions = members(members(listing.capabilities)["extensions"])
    except (*UNREADABLE, KeyError):
        return {}
    return {EXTENSION: extensions[EXTENSION]} if EXTENSION in extensions else {}


def check_declared(client: Client) -> None:
    """Raises -32021 for a client that did not say, with this request, that it takes tasks."""
    if not takes_tasks(client):
        message = f"this request needs a client that declares {EXTENSION}"
        raise CallFailed(Failure(_MISSING_CAPABILITY, message, "no", 400, _REQUIRED))


def takes_tasks(client: Client) -> bool:
    """Whether a server may answer with a task. Its capabilities hold no extension that is not carried."""
    return EXTENSION.encode() in bytes(client.capabilities)


def check_named(params: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    """Raises `HeaderMismatch` unless `Mcp-Name`, which proxies route by, names the task."""
    if decode_header_value(headers.get("mcp-name")) != params.get("taskId"):
        raise HeaderMismatch('the Mcp-Name header must be the "taskId" of the body')


def renamed(result: Raw, ticket: object) -> Raw:
    """What a server said of a task, under the id the client knows."""
    try:
        parts = members(result)
    except UNREADABLE:
        return result
    return raw({**parts, "taskId": ticket}) if "taskId" in parts else result


def unlistened(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """A `subscriptions/listen` without tasks: the server would name them by ids the client does not know."""
    wanted = params.get("notifications")
    if not isinstance(wanted, dict) or "taskIds" not in wanted:
        return params
    return {**params, "notifications": {key: value for key, value in wanted.items() if key != "taskIds"}}


def told(on_event: OnEvent, tickets: Mapping[str, str]) -> OnEvent:
    """`on_event` for news of tasks: each under the id that the client knows, and of no other task."""

    def tell(message: Raw) -> None:
        if b'"taskId' not in bytes(message):
            return on_event(message)
        try:
            translated = _translated(message, tickets)
        except (*UNREADABLE, KeyError, TypeError) as error:
            log.warning("news of a task cannot be read and were dropped", reason=str(error)[:200])
            return None
        return on_event(translated) if translated is not None else None

    return tell


def _translated(message: Raw, tickets: Mapping[str, str]) -> Raw | None:
    parts = members(message)
    params = members(parts["params"])
    method = decode(parts["method"])
    if method == NEWS:
        ticket = tickets.get(decode(params["taskId"]))
        if ticket is None:
            return None
        params["taskId"] = raw(ticket)
    elif method == ACKNOWLEDGED:
        honoured = members(params["notifications"])
        known = decode(honoured.get("taskIds", Raw(b"[]")))
        honoured["taskIds"] = raw([tickets[each] for each in known if each in tickets])
        params["notifications"] = raw(honoured)
    parts["params"] = raw(params)
    return raw(parts)


def _binding(principal: Principal, route: str) -> tuple[str, ...]:
    return ("task", principal.key, route)
