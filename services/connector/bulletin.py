"""Who listens to the news of a server, and what they follow together.

To its server the gateway is one client: what that is asked for is the union of all wishes (`changes` and
`subscribed` see to it), and who hears what is decided here. So listeners outlive the session they began on.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import suppress

import structlog
from msgspec import Raw, Struct
from msgspec.json import Decoder
from msgspec.structs import replace

from libs.common import codec
from libs.common.errors import Overloaded
from libs.common.messages.calls import EMPTY
from services.connector.session import EventSink, Params
from services.connector.wishes import Filter, Interest, wanted_by, within

log = structlog.get_logger("bulletin")

LISTENERS_MAX = 2000
"""Listeners of one session; the next one is refused."""
FOLLOWED_MAX = 5000
"""Resources and tasks that all of them together may follow: they travel in one message."""
WAITING_MAX = 256
"""News that wait for a slow listener; then the oldest is dropped."""
WAITING_BYTES = 8 * 1024 * 1024
"""Bytes of these; the newest is kept whatever its size."""
PATIENCE = 10.0
"""Seconds the server has to take a new wish; whatever it takes later is still told of."""
UPDATED = "notifications/resources/updated"
TASK = "notifications/tasks"
_TAG = "io.modelcontextprotocol/subscriptionId"
LISTS = {
    "notifications/tools/list_changed": "tools_list_changed",
    "notifications/prompts/list_changed": "prompts_list_changed",
    "notifications/resources/list_changed": "resources_list_changed",
}


class _About(Struct, rename="camel"):
    uri: str = ""
    task_id: str = ""


_about: Decoder[_About] = codec.decoder(_About)


class _Listener:
    """One stream. What waits for it is the newest of its kind: all of these are hints to look again."""

    __slots__ = ("_size", "acknowledged", "ready", "tasks", "uris", "waiting", "wanted")

    def __init__(self, wanted: Filter) -> None:
        self.wanted = wanted
        self.uris = frozenset(wanted.resource_subscriptions)
        self.tasks = frozenset(wanted.task_ids)
        self.waiting: dict[tuple[str, str], Raw] = {}
        self._size = 0
        self.ready = asyncio.Event()
        self.acknowledged = False

    def put(self, method: str, name: str, message: Raw) -> None:
        size = len(bytes(message))
        self._drop((method, name))
        while self.waiting and (len(self.waiting) >= WAITING_MAX or self._size + size > WAITING_BYTES):
            self._drop(next(iter(self.waiting)))
        self.waiting[method, name] = message
        self._size += size
        self.ready.set()

    def _drop(self, key: tuple[str, str]) -> None:
        if (dropped := self.waiting.pop(key, None)) is not None:
            self._size -= len(bytes(dropped))

    def take(self) -> list[Raw]:
        self.ready.clear()
        messages = list(self.waiting.values())
        self.waiting.clear()
        self._size = 0
        return messages


class Bulletin:
    """The listeners to one server. `altered` is set when `interest` has changed."""

    def __init__(self) -> None:
        self.altered = asyncio.Event()
        self.interest = Interest()
        self._listeners: dict[int, _Listener] = {}
        self._uris: Counter[str] = Counter()
        self._tasks: Counter[str] = Counter()
        self._last = 0
        self._covered = -1
        self._refused: frozenset[str] = frozenset()
        self._cover = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._listeners)

    async def listen(
        self, params: Params, deadline: float, tell: EventSink, flushed: Callable[[], Awaitable[None]]
    ) -> Raw:
        """Tell of what `params.notifications` asks for, until `deadline` or `close`.

        `flushed` returns when what was told has left: a listener is told no faster than it takes it.
        """
        listener = self._admit(wanted_by(params))
        self._last = number = self._last + 1
        self._listeners[number] = listener
        self._count(listener, 1)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, deadline - time.time())):
                    await self._acknowledge(listener, tell)
                    while not self._closed:
                        await listener.ready.wait()
                        for message in listener.take():
                            tell(message)
                        await flushed()
        finally:
            del self._listeners[number]
            self._count(listener, -1)
        return EMPTY

    def post(self, method: str, message: Raw) -> None:
        """Pass a notification of the server on to whoever asked for it."""
        if method not in LISTS and method not in (UPDATED, TASK):
            return
        try:
            params = codec.members(codec.members(message).get("params", EMPTY))
            about = _about.decode(codec.raw(params))
        except codec.UNREADABLE as error:
            log.warning("notification cannot be read", method=method, reason=str(error)[:200])
            return
        name = about.uri if method == UPDATED else about.task_id if method == TASK else ""
        self._spread(method, name, params, self._listeners.values())

    def hint(self, lists: Iterable[str] = ()) -> None:
        """Tell who listened before that anything they follow, and these lists, may have changed unheard."""
        before = [each for each in self._listeners.values() if each.acknowledged]
        self.change(lists, before)
        for uri in self.interest.uris if before else ():
            self._spread(UPDATED, uri, {"uri": codec.raw(uri)}, before)

    def change(self, lists: Iterable[str], among: Collection[_Listener] | None = None) -> None:
        """Tell that these lists changed, although the server has not said so."""
        for method in lists:
            self._spread(method, "", {}, self._listeners.values() if among is None else among)

    def cover(self, interest: Interest, refused: frozenset[str]) -> None:
        """The server tells of this interest from now on, except of what it `refused`."""
        self._covered, self._refused = interest.number, refused
        waiting, self._cover = self._cover, asyncio.Event()
        waiting.set()

    def close(self) -> None:
        """End every stream: this worker will hear no more of the server."""
        self._closed = True
        for listener in self._listeners.values():
            listener.ready.set()
        self.cover(self.interest, frozenset())

    def _admit(self, wanted: Filter) -> _Listener:
        listener = _Listener(wanted)
        fresh = len(listener.uris - self._uris.keys()) + len(listener.tasks - self._tasks.keys())
        followed = len(self._uris) + len(self._tasks) + fresh
        if len(self._listeners) >= LISTENERS_MAX or (fresh and followed > FOLLOWED_MAX):
            raise Overloaded("too many clients listen to this server already; try again later")
        return listener

    def _count(self, listener: _Listener, step: int) -> None:
        altered = False
        for counts, names in ((self._uris, listener.uris), (self._tasks, listener.tasks)):
            for name in names:
                counts[name] += step
                altered = altered or counts[name] == max(step, 0)
                if not counts[name]:
                    del counts[name]
        if altered:
            uris, tasks = frozenset(self._uris), frozenset(self._tasks)
            self.interest = Interest(self.interest.number + 1, uris, tasks)
            self.altered.set()

    async def _acknowledge(self, listener: _Listener, tell: EventSink) -> None:
        """Say what the server was asked for, and took: MCP wants the honoured part of the filter."""
        number = self.interest.number
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while self._covered < number:
                    await self._cover.wait()
        refused = self._refused if self._covered >= number else listener.uris | listener.tasks
        wanted = listener.wanted
        honoured = replace(
            wanted,
            resource_subscriptions=tuple(
                each for each in wanted.resource_subscriptions if each not in refused
            ),
            task_ids=tuple(each for each in wanted.task_ids if each not in refused),
        )
        tell(_notice("notifications/subscriptions/acknowledged", {"notifications": codec.raw(honoured)}))
        listener.acknowledged = True

    def _spread(self, method: str, name: str, params: Params, among: Collection[_Listener]) -> None:
        told = _notice(method, params)
        for listener in self._concerned(method, name, among):
            listener.put(method, name, told)

    def _concerned(self, method: str, name: str, among: Collection[_Listener]) -> Iterator[_Listener]:
        if method in LISTS:
            return (each for each in among if getattr(each.wanted, LISTS[method]))
        if method == TASK:
            return (each for each in among if name in each.tasks)
        followed = {each for each in self._uris if within(name, each)}
        return (each for each in among if not each.uris.isdisjoint(followed))


def _notice(method: str, params: Params) -> Raw:
    """As a listener gets it: with a tag, in whose place the edge puts the id of the client's own request."""
    tagged = {**params, "_meta": codec.raw({_TAG: 0})}
    return codec.raw({"jsonrpc": "2.0", "method": method, "params": tagged})
