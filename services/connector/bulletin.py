"""News of a legacy session for all who listen: what `subscriptions/listen` is to a modern server.

A legacy server tells everything to its one client, which is this gateway; who hears what is decided here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress

import structlog
from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from libs.common import codec
from libs.common.errors import InvalidParams, NexusError, Overloaded
from libs.common.messages.calls import Client
from services.connector.session import EventSink, Params, Session

log = structlog.get_logger("bulletin")

LISTENERS_MAX = 2000
"""Listeners of one session; the next one is refused."""
URIS_MAX = 100
"""Resources that one listener may follow."""
TIMEOUT = 10.0
UPDATED = "notifications/resources/updated"
_TAG = "io.modelcontextprotocol/subscriptionId"
_LISTS = {
    "notifications/tools/list_changed": "tools_list_changed",
    "notifications/prompts/list_changed": "prompts_list_changed",
    "notifications/resources/list_changed": "resources_list_changed",
}


class Filter(Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a listener wants to hear."""

    tools_list_changed: bool = False
    prompts_list_changed: bool = False
    resources_list_changed: bool = False
    resource_subscriptions: tuple[str, ...] = ()


class _Updated(Struct):
    uri: str


_filter: Decoder[Filter] = codec.decoder(Filter)
_updated: Decoder[_Updated] = codec.decoder(_Updated)


class Bulletin:
    """The listeners of one session, and the resources they follow, each subscribed once."""

    def __init__(self, session: Session, *, now: Callable[[], float]) -> None:
        self._session = session
        self._now = now
        self._listeners: dict[int, tuple[Filter, EventSink]] = {}
        self._followed: Counter[str] = Counter()
        self._last = 0

    def __len__(self) -> int:
        return len(self._listeners)

    async def listen(self, params: Params, tell: EventSink) -> Raw:
        """Tell of what `params.notifications` asks for, until the session ends or nobody waits."""
        wanted = _wanted(params)
        if len(self._listeners) >= LISTENERS_MAX:
            raise Overloaded("too many clients listen to this server already; try again later")
        self._last = number = self._last + 1
        first = self._count(wanted.resource_subscriptions)
        try:
            for uri in first:
                await self._ask("resources/subscribe", uri)
            self._listeners[number] = (wanted, tell)
            honoured = codec.raw({"notifications": wanted, "_meta": {_TAG: 0}})
            tell(_notice("notifications/subscriptions/acknowledged", honoured))
            await asyncio.shield(self._session.lost)
        finally:
            self._listeners.pop(number, None)
            await asyncio.shield(self._unfollow(wanted.resource_subscriptions))
        return Raw(b"{}")

    def post(self, method: str, message: Raw) -> None:
        """Pass a notification of the server on to whoever asked for it."""
        if method not in _LISTS and method != UPDATED:
            return
        try:
            params = codec.members(codec.members(message).get("params", Raw(b"{}")))
            uri = _updated.decode(codec.raw(params)).uri if method == UPDATED else ""
        except DecodeError as error:
            log.warning("notification cannot be read", method=method, reason=str(error)[:200])
            return
        tagged = _notice(method, codec.raw({**params, "_meta": {_TAG: 0}}))
        for wanted, tell in list(self._listeners.values()):
            if _asked(wanted, method, uri):
                tell(tagged)

    def _count(self, uris: Iterable[str]) -> list[str]:
        """Note one more listener of each; those that had none before."""
        uris = list(dict.fromkeys(uris))
        self._followed.update(uris)
        return [uri for uri in uris if self._followed[uri] == 1]

    async def _unfollow(self, uris: Iterable[str]) -> None:
        for uri in dict.fromkeys(uris):
            self._followed[uri] -= 1
            if self._followed[uri] <= 0:
                del self._followed[uri]
                await self._ask("resources/unsubscribe", uri)

    async def _ask(self, method: str, uri: str) -> None:
        """A server that refuses tells nothing; its refusal is no reason to end the stream."""
        params = {"uri": codec.raw(uri)}
        deadline = self._now() + TIMEOUT
        with suppress(NexusError):
            await self._session.call(method, params, deadline=deadline, client=Client(), progress=False)


def _asked(wanted: Filter, method: str, uri: str) -> bool:
    if method == UPDATED:
        return any(uri == each or (each and uri.startswith(each)) for each in wanted.resource_subscriptions)
    return bool(getattr(wanted, _LISTS[method]))


def _wanted(params: Params) -> Filter:
    try:
        wanted = _filter.decode(params.get("notifications", Raw(b"null")))
    except DecodeError as error:
        raise InvalidParams(f'"notifications" must say what to listen to: {error}') from None
    if len(wanted.resource_subscriptions) > URIS_MAX:
        raise InvalidParams(f"at most {URIS_MAX} resources can be followed by one stream")
    return wanted


def _notice(method: str, params: Raw) -> Raw:
    return codec.raw({"jsonrpc": "2.0", "method": method, "params": params})
