"""One search from question to answer: filters, a tool named outright, what to offer when nothing matches."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rapidfuzz import process
from rapidfuzz.distance import OSA

from libs.common.identity import Principal
from libs.common.messages.calls import SearchTools
from libs.common.messages.search import ToolsFound
from libs.common.naming import SEPARATOR
from libs.common.policy import Policy
from services.indexer.catalog import Catalog, Entry
from services.indexer.details import FULL, bounded, detailed
from services.indexer.index import Match
from services.indexer.sight import Sight

LIMIT_MAX = 50
NEAREST = 3
SERVERS_MAX = 10
"""Servers that are offered where none has a name near to what was asked."""
WORDS_MAX = 32
NAMES_MAX = 2
"""Words that are looked up as names if the whole text is none: each costs milliseconds in a large catalog."""
CLOSENESS_MIN = 0.6

Admits = Callable[[str, str], bool]


class Finder:
    """Finds tools in a catalog; nothing that a caller may not see is shown, offered or counted."""

    def __init__(self, catalog: Catalog, policy: Policy) -> None:
        self._catalog = catalog
        self._policy = policy

    def find(self, query: SearchTools) -> ToolsFound:
        """The best tools the caller may see; the nearest names when nothing matches."""
        for listing in query.listings:
            self._catalog.learn(listing)
        if not self._catalog.knows(query.digests) and not query.listings:
            return ToolsFound(unknown=True)
        sight = Sight(self._catalog, self._policy, query.principal, query.digests)
        if query.server and not sight.knows(query.server):
            return ToolsFound(stranger=True, servers=_nearest_servers(query.server, sight))
        text = " ".join((query.query, *query.keywords)).strip()
        admits = self._filtered(query, sight)
        named = self._named(text, sight, admits)
        if named is not None:
            return ToolsFound((detailed(*named, query.detail or FULL),))
        limit = max(1, min(query.limit, LIMIT_MAX))
        server = sight.key(query.server) if query.server else None
        matches = self._catalog.index.search(text, limit=limit, server=server, visible=admits)
        if matches:
            return ToolsFound(tuple(bounded(self._entries(matches), query.detail)))
        return self._nothing(query, text, sight, admits)

    def near(self, name: str, principal: Principal) -> tuple[str, ...]:
        """The names closest to one that nobody has."""
        return self._nearest(name, Sight(self._catalog, self._policy, principal, {}))

    def _filtered(self, query: SearchTools, sight: Sight) -> Admits:
        """What the caller may see, of that what the query is about."""
        if not query.server and not query.read_only:
            return sight
        key, reads = sight.key(query.server), self._catalog.reads

        def admits(at: str, tool: str) -> bool:
            fits = (not query.server or at == key) and (not query.read_only or reads(at, tool))
            return fits and sight(at, tool)

        return admits

    def _named(self, text: str, sight: Sight, admits: Admits) -> tuple[Entry, Match] | None:
        """The tool of which the query is the exact name."""
        name = text.strip("`'\"")
        key = sight.key(name.partition(SEPARATOR)[0])
        entry = self._catalog.entry(key, name)
        if entry is None or not admits(key, entry.tool):
            return None
        return entry, Match(name, key, entry.tool, 1.0, (name,))

    def _entries(self, matches: list[Match]) -> Iterator[tuple[Entry, Match]]:
        for match in matches:
            entry = self._catalog.entry(match.server, match.name)
            if entry is not None:
                yield entry, match

    def _nothing(self, query: SearchTools, text: str, sight: Sight, admits: Admits) -> ToolsFound:
        """What would have been found without filters, else what is called nearly so."""
        if admits is not sight:
            others = self._catalog.index.search(text, limit=NEAREST, visible=sight)
            if others:
                return ToolsFound(elsewhere=tuple(match.name for match in others))
        return ToolsFound(nearest=self._nearest(text, admits), servers=_nearest_servers(text, sight))

    def _nearest(self, text: str, admits: Admits) -> tuple[str, ...]:
        """By the whole text, else by the first of its words that looks like a name."""
        names = [word for word in text.split() if SEPARATOR in word][:NAMES_MAX]
        for name in (text, *names):
            found = self._catalog.index.nearest(name, limit=NEAREST, visible=admits)
            if found:
                return tuple(found)
        return ()


def _nearest_servers(text: str, sight: Sight) -> tuple[str, ...]:
    """Servers with a name near to a word of `text`; the first of all where there is none."""
    known = list(sight.servers())
    near: dict[str, float] = {}
    for word in text.casefold().split()[:WORDS_MAX]:
        scorer = OSA.normalized_similarity
        for name, closeness, _ in process.extract(word, known, scorer=scorer, score_cutoff=CLOSENESS_MIN):
            near[name] = max(near.get(name, 0.0), closeness)
    best = sorted(near, key=lambda name: (-near[name], name))
    return tuple(best[:NEAREST] or known[:SERVERS_MAX])
