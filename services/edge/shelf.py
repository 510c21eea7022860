"""What all servers list of one kind, as one list for each caller.

It is sorted by server, then by the server's own name for the entry. Names get the server's in front; URIs
stay as they are, unless a server before lists the same.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog
from msgspec import Raw

from libs.common import naming
from libs.common.codec import UNREADABLE, decode, encode, members, raw
from libs.common.identity import Principal
from libs.common.messages.catalog import Listing
from libs.common.policy import Kind as Sort
from libs.common.policy import Policy
from services.edge.gateway import Catalog

log = structlog.get_logger("edge")

VIEWS_MAX = 64
"""Kinds of callers whose lists are kept made up."""
TABLES_MAX = 1000
"""Versions of lists, of all servers, whose entries are kept."""
FRESH = 5.0
"""Seconds that a list made for some callers is good for: rules may have changed."""
KEY_MAX = 4096
"""Bytes of JSON of a name or a URI: it has to fit into a cursor."""


class Entry(NamedTuple):
    """One thing that a server lists."""

    server: str
    own: str
    """What the server calls it."""
    shown: str
    """What clients of the aggregate call it."""
    item: Raw
    """Its definition, under the name that is shown."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One of MCP's lists: the member of the result that holds it, and its entries' `key`."""

    method: str
    member: str
    capability: str
    key: str
    listed: Callable[[Listing], tuple[Raw, ...]]
    sort: Sort = "resource"
    """What rules take it for."""

    @property
    def named(self) -> bool:
        return self.key == "name"


TOOLS = Kind("tools/list", "tools", "tools", "name", lambda listing: listing.tools, "tool")
PROMPTS = Kind("prompts/list", "prompts", "prompts", "name", lambda listing: listing.prompts, "prompt")
RESOURCES = Kind("resources/list", "resources", "resources", "uri", lambda listing: listing.resources)
TEMPLATES = Kind(
    "resources/templates/list",
    "resourceTemplates",
    "resources",
    "uriTemplate",
    lambda listing: listing.templates,
)


@dataclass(frozen=True, slots=True)
class View:
    """One caller's list."""

    entries: tuple[Entry, ...] = ()
    keys: Sequence[tuple[str, str]] = ()
    """(server, own name) of each entry, ascending."""
    shown: Mapping[str, Entry] = field(default_factory=dict)
    digest: bytes = b""
    """Of all that is shown."""


class _Made(NamedTuple):
    listings: list[Listing | None]
    until: float
    view: View


class Shelf:
    """The lists of one kind. `only` are the shown names that are wanted, None for all."""

    def __init__(
        self, catalog: Catalog, policy: Policy, kind: Kind, only: Collection[str] | None = None
    ) -> None:
        self._policy = policy
        self.kind = kind
        self._catalog = catalog
        self._only = only
        self._tables: OrderedDict[tuple[str, str], tuple[Listing, dict[str, Entry]]] = OrderedDict()
        self._views: OrderedDict[Hashable, _Made] = OrderedDict()

    def find(self, shown: str, principal: Principal) -> Entry | None:
        """What the caller knows by this name, if anything."""
        if not self.kind.named:
            return self.view(principal).shown.get(shown)
        entry = self._table(shown.partition(naming.SEPARATOR)[0], principal).get(shown)
        if entry is None or not self._allowed(principal, entry):
            return None
        return entry

    def view(self, principal: Principal) -> View:
        """The caller's list, made again only when a server lists something else."""
        who = self._policy.ground(principal)
        now = time.monotonic()
        servers = self._catalog.names()
        listings = [self._catalog.listing(server, principal) for server in servers]
        made = self._views.get(who)
        if made is None or now >= made.until or not _same(made.listings, listings):
            until = now + FRESH if who is not None else float("inf")
            made = self._views[who] = _Made(listings, until, self._make(servers, principal))
            if len(self._views) > VIEWS_MAX:
                self._views.popitem(last=False)
        self._views.move_to_end(who)
        return made.view

    def _allowed(self, principal: Principal, entry: Entry) -> bool:
        return self._policy.allows(principal, entry.server, entry.own, self.kind.sort)

    def children(self) -> list[str]:
        """The servers whose entries are wanted, sorted."""
        names = self._catalog.names()
        return [each for each in names if self._only is None or _prefixed(self._only, each)]

    def _make(self, servers: Iterable[str], principal: Principal) -> View:
        visible = [
            entry
            for server in servers
            for entry in self._table(server, principal).values()
            if self._allowed(principal, entry)
        ]
        return _view(visible if self.kind.named else _told_apart(visible, self.kind.key))

    def _table(self, server: str, principal: Principal) -> dict[str, Entry]:
        listing = self._catalog.listing(server, principal)
        if listing is None:
            return {}
        key = server, listing.digest
        known = self._tables.get(key)
        if known is None or known[0] is not listing:
            known = self._tables[key] = listing, self._read(listing)
            if len(self._tables) > TABLES_MAX:
                self._tables.popitem(last=False)
        self._tables.move_to_end(key)
        return known[1]

    def _read(self, listing: Listing) -> dict[str, Entry]:
        """By what is shown, in the order of the server's own names."""
        if self._only is not None and not _prefixed(self._only, listing.server):
            return {}
        found = _keyed(self.kind, listing)
        names = _exposed(listing.server, found) if self.kind.named else {own: own for own in found}
        wanted = [(shown, own) for shown, own in names.items() if self._only is None or shown in self._only]
        entries = [Entry(listing.server, own, shown, found[own]) for shown, own in sorted(wanted, key=_own)]
        return {entry.shown: _renamed(entry, entry.shown, self.kind.key) for entry in entries}


def scheme(server: str) -> str:
    """What stands before the `+` in a URI that names its server.

    RFC 3986 §3.1 allows neither `_` nor a digit first. No two servers share it: no name has a `.` or `__`.
    """
    text = server.replace("_", ".")
    return f"x..{text}" if text[0].isdigit() else text


def _own(pair: tuple[str, str]) -> str:
    return pair[1]


def _prefixed(names: Iterable[str], server: str) -> bool:
    return any(name.partition(naming.SEPARATOR)[0] == server for name in names)


def _same(before: list[Listing | None], now: list[Listing | None]) -> bool:
    return len(before) == len(now) and all(old is new for old, new in zip(before, now, strict=True))


def _keyed(kind: Kind, listing: Listing) -> dict[str, Raw]:
    """The server's entries by its own names; what has none, or one of excessive length, is left out."""
    found: dict[str, Raw] = {}
    for item in kind.listed(listing):
        try:
            own = decode(members(item)[kind.key])
        except (*UNREADABLE, KeyError):
            continue
        if isinstance(own, str) and own and len(encode(own)) <= KEY_MAX:
            found.setdefault(own, item)
    if len(found) < len(kind.listed(listing)):
        log.warning("entries are not offered", server=listing.server, method=kind.method)
    return found


def _exposed(server: str, owns: Iterable[str]) -> dict[str, str]:
    names, collided = naming.resolve((server, own) for own in owns)
    if collided:
        log.warning("names collide and are not offered", server=server, names=collided[:20])
    return {shown: own for shown, (_, own) in names.items()}


def _told_apart(entries: Iterable[Entry], key: str) -> list[Entry]:
    """Entries of which no two show the same: the later ones name their server."""
    taken: set[str] = set()
    kept: list[Entry] = []
    for entry in entries:
        if entry.shown in taken:
            entry = _renamed(entry, f"{scheme(entry.server)}+{entry.own}", key)
        if entry.shown not in taken:
            taken.add(entry.shown)
            kept.append(entry)
    return kept


def _renamed(entry: Entry, shown: str, key: str) -> Entry:
    if shown == entry.own:
        return entry
    return entry._replace(shown=shown, item=raw({**members(entry.item), key: shown}))


def _view(entries: list[Entry]) -> View:
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(bytes(entry.item))
    return View(
        tuple(entries),
        [(entry.server, entry.own) for entry in entries],
        {entry.shown: entry for entry in entries},
        digest.digest(),
    )
