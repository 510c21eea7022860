"""Everything a server lists, all pages of it, as one value for the catalog."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator

import msgspec
import structlog
from msgspec import Raw, Struct

from libs.common import codec
from libs.common.errors import NexusError, ResultInvalid
from libs.common.messages.calls import Client
from libs.common.messages.catalog import Hint, Listing
from services.connector.session import Opened, Params, Session

PAGES_MAX = 1000
"""Pages of one list; what a server would list beyond them is left out."""
ITEMS_MAX = 10_000
"""Entries of one list, likewise."""
DEPTH_MAX = 100
"""How deep one entry nests; what is deeper no reader of the catalog need be able to take."""

log = structlog.get_logger()


class _Kind(Struct, frozen=True):
    method: str
    member: str
    """Where the result has the entries."""
    key: str
    """What an entry is told apart by."""
    capability: str


_TOOLS = _Kind("tools/list", "tools", "name", "tools")
_PROMPTS = _Kind("prompts/list", "prompts", "name", "prompts")
_RESOURCES = _Kind("resources/list", "resources", "uri", "resources")
_TEMPLATES = _Kind("resources/templates/list", "resourceTemplates", "uriTemplate", "resources")

_HINTS = ("ttlMs", "cacheScope")
_hint = msgspec.json.Decoder(Hint).decode
_entries = msgspec.json.Decoder(list[Raw]).decode
_text = msgspec.json.Decoder(str).decode


async def collect(session: Session, opened: Opened, server: str, timeout: float) -> Listing:
    """What the server advertises and lists, within `timeout` seconds in all.

    Prompts or resources that cannot be listed are none; for tools, what the call raised is raised.
    """
    reader = _Reader(session, server, time.time() + timeout)
    offered = _offered(opened.capabilities)
    tools = await reader.read(_TOOLS) if _TOOLS.capability in offered else ()
    prompts, resources, templates = [
        await reader.attempt(kind) if kind.capability in offered else ()
        for kind in (_PROMPTS, _RESOURCES, _TEMPLATES)
    ]
    return Listing(
        server=server,
        digest=_digest(tools, prompts, resources, templates),
        tools=tools,
        prompts=prompts,
        resources=resources,
        templates=templates,
        hints=reader.hints(),
        version=opened.version,
        capabilities=opened.capabilities,
        info=opened.info,
        instructions=opened.instructions,
    )


class _Reader:
    def __init__(self, session: Session, server: str, deadline: float) -> None:
        self._session = session
        self._server = server
        self._deadline = deadline
        self._hints: dict[str, Hint] = {}

    async def attempt(self, kind: _Kind) -> tuple[Raw, ...]:
        try:
            return await self.read(kind)
        except NexusError as error:
            log.warning("list_failed", server=self._server, method=kind.method, error=error.message)
            return ()

    async def read(self, kind: _Kind) -> tuple[Raw, ...]:
        found: dict[str, Raw] = {}
        dropped = 0
        asked: set[str] = set()
        cursor: str | None = None
        while True:
            page = await self._page(kind, cursor)
            entries = _list(page.get(kind.member), kind)
            dropped += sum(not _keep(entry, kind.key, found) for entry in entries)
            self._hint(kind.member, _hinted(page))
            cursor = _next(page)
            if cursor is None:
                break
            if cursor in asked or len(asked) + 1 >= PAGES_MAX or len(found) >= ITEMS_MAX:
                log.warning("list_cut", server=self._server, method=kind.method, entries=len(found))
                break
            asked.add(cursor)
        if dropped:
            log.warning("entries_dropped", server=self._server, method=kind.method, entries=dropped)
        return tuple(found.values())[:ITEMS_MAX]

    def _hint(self, member: str, hint: Hint) -> None:
        """A list is good for as long as the shortest of its pages, and private if one is."""
        known = self._hints.get(member, hint)
        scope = "public" if known.cache_scope == hint.cache_scope == "public" else "private"
        self._hints[member] = Hint(min(known.ttl_ms, hint.ttl_ms), scope)

    def hints(self) -> dict[str, Hint]:
        """Of the lists that may be kept or shared at all."""
        return {member: hint for member, hint in self._hints.items() if hint != Hint()}

    async def _page(self, kind: _Kind, cursor: str | None) -> Params:
        params: Params = {} if cursor is None else {"cursor": codec.raw(cursor)}
        result = await self._session.call(kind.method, params, deadline=self._deadline, client=Client())
        return codec.members(result)


def _offered(capabilities: Raw) -> set[str]:
    try:
        members = codec.members(capabilities)
    except msgspec.DecodeError:
        return set()
    return {name for name, value in members.items() if bytes(value) not in (b"null", b"false")}


def _list(entries: Raw | None, kind: _Kind) -> list[Raw]:
    try:
        return _entries(entries or b"")
    except msgspec.DecodeError as error:
        raise ResultInvalid(f'the result of {kind.method} has no list "{kind.member}"') from error


def _next(page: Params) -> str | None:
    try:
        return _text(page["nextCursor"])
    except (msgspec.DecodeError, KeyError):
        return None


def _hinted(page: Params) -> Hint:
    """What a page says of keeping it; nothing that makes no sense."""
    try:
        hint = _hint(codec.raw({key: page[key] for key in _HINTS if key in page}))
    except msgspec.DecodeError:
        return Hint()
    return hint if hint.ttl_ms >= 0 else Hint()


def _keep(entry: Raw, key: str, found: dict[str, Raw]) -> bool:
    """Whether it went into `found`: it must be an object with a `key` nobody before it had."""
    try:
        name = _text(codec.members(entry)[key])
        deep = _depth(codec.decode(entry)) > DEPTH_MAX
    except (*codec.UNREADABLE, KeyError):
        return False
    return bool(name) and not deep and found.setdefault(name, entry) is entry


def _depth(value: object) -> int:
    """How deep objects and arrays nest."""
    depth, level = 0, [value]
    while level := [each for parent in level for each in _children(parent)]:
        depth += 1
    return depth


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _digest(*lists: Iterable[Raw]) -> str:
    """SHA-256 over the lists, whatever order their entries came in."""
    digest = hashlib.sha256()
    for part in _framed(lists):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _framed(lists: Iterable[Iterable[Raw]]) -> Iterator[bytes]:
    for entries in lists:
        encoded = sorted(bytes(entry) for entry in entries)
        yield str(len(encoded)).encode()
        yield from encoded
