"""The index itself: tools come and go by server, queries find them.

Nothing is ever rebuilt: a server's tools are entered into and taken out of the inverted lists. Whoever asks
is given only what `visible` admits, and words that only hidden tools know count as unknown. What follows a
`#` in the name of a server tells its lists apart and is no part of the name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from services.indexer.index import tokens, verbs
from services.indexer.index.fields import CEILING, Document, plain, weigh
from services.indexer.index.phrases import LEADING, Phrases, lift
from services.indexer.index.postings import Postings, rarity
from services.indexer.index.query import Query, Reader, Term
from services.indexer.index.scoring import Admit, Cover, Ranking, Weighted
from services.indexer.index.spread import DEPTH, spread
from services.indexer.index.store import Store

if TYPE_CHECKING:  # numpy is optional
    from services.indexer.index.meaning import Meanings

FORM = 0.4
"""Weight of the exact form beside the stem."""

VERB = 0.35
"""Weight of a shared verb class."""

CLASH = 0.5
"""Share of its name that a tool loses which changes what the query only wants to see."""

STRANGE = 4.0
"""Rarity an unknown word is taken to have when a score is set against the attainable one."""

SLIPPED_MAX = 5
"""So many tools lead that a misspelt name may mean."""

LEAST = 6.0
"""What a query can reach is taken to be no less beside its meaning: one frequent word says little."""

Visible = Callable[[str, str], bool]
Among = Sequence[int] | None
"""The only documents that are asked for; None for all."""


@dataclass(frozen=True, slots=True)
class Match:
    """A tool found: `score` is 0 to 1, the share of what the query could have scored at best.

    `matched` holds the query's words found in the tool, `repaired` those of them that were mended, with the
    word they were taken for.
    """

    name: str
    server: str
    tool: str
    score: float
    matched: tuple[str, ...] = ()
    repaired: tuple[tuple[str, str], ...] = ()


class Index:
    """Searches the tools of many servers, by words and, with `meanings`, by what they mean.

    Not for several threads at once.
    """

    def __init__(self, meanings: Meanings | None = None) -> None:
        self._meanings = meanings
        self._store = Store(meanings)
        self._servers: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self._store)

    @property
    def hybrid(self) -> bool:
        """Whether tools are found by what they mean, too."""
        return self._meanings is not None

    def replace(self, server: str, documents: Sequence[Document]) -> None:
        """Make `documents` all that `server` has; of several with one name the last counts."""
        last = {document.name: document for document in documents}
        entries = [(document, weigh(document)) for document in last.values()]
        self.remove(server)
        if entries:
            self._servers[server] = [self._store.enter(document, entry) for document, entry in entries]

    def remove(self, server: str) -> None:
        """Forget the tools of `server`; an unknown server has none."""
        for doc in self._servers.pop(server, ()):
            self._store.leave(doc)

    def search(
        self, text: str, *, limit: int, server: str | None = None, visible: Visible | None = None
    ) -> list[Match]:
        """The best `limit` tools, best first, equals by name; a tool named outright leads.

        Only tools of `server`, if one is given, be it by name or as one of its lists. If none is, other
        servers have a share of the first places (`spread`), so that there a score may be a little higher
        than the one before it.
        """
        limit = min(limit, len(self))
        if limit <= 0:
            return []
        admit = self._admit(visible, server)
        among = None if server is None else self._tools(server, admit)
        query = self._reader(admit, among).read(text)
        depth = max(limit, LEADING if server else DEPTH)
        found = self._ordered(self._best(query, depth, admit, among))
        found = self._ordered(lift(found, self._phrases(query)))
        if server is None:
            found = spread(found, self._crowds(found[:DEPTH], query))
        scores = self._named(text, admit)
        for score, doc in found:
            scores.setdefault(doc, min(round(score, 4), 1.0))
        return [self._match(doc, score, query) for doc, score in islice(scores.items(), limit)]

    def nearest(self, name: str, *, limit: int = 3, visible: Visible | None = None) -> list[str]:
        """Exposed names closest to a misspelt `server__tool` or `tool`, closest first, equals by name."""
        admit = self._admit(visible)
        close = sorted(
            (-closeness, self._store.tools[doc].name, doc)
            for doc, closeness in self._store.names.near(name).items()
        )
        shown = (exposed for _, exposed, doc in close if admit(doc))
        return list(islice(shown, max(limit, 0)))

    def _tools(self, server: str, admit: Admit) -> list[int]:
        """The admitted documents of all lists of a server, in order: few, so that each can be looked up."""
        lists = (docs for key, docs in self._servers.items() if server in (key, plain(key)))
        return sorted(doc for docs in lists for doc in docs if admit(doc))

    def _best(self, query: Query, limit: int, admit: Admit, among: Among) -> list[tuple[float, int]]:
        """The best admitted documents, in no order, with scores up to about 1."""
        lists, cover, most = self._lists(query, among), self._cover(query), self._attainable(query)
        if self._meanings is None:
            return [(score / most, doc) for score, doc in Ranking(limit, admit, cover).best(lists)]
        return self._meanings.best(
            lists, query.words, self._store.size, max(most, LEAST), limit, admit, cover, among
        )

    def _ordered(self, found: Iterable[tuple[float, int]]) -> list[tuple[float, int]]:
        return sorted(found, key=lambda pair: (-round(pair[0], 6), self._store.tools[pair[1]].name))

    def _phrases(self, query: Query) -> Callable[[int], float]:
        """The share of what the query says in a row that a tool says in its name or first sentence."""
        known = {term.stem for term in query.terms}
        phrases = Phrases(map(tokens.stem, query.words), known, self._store.siblings)

        def share(doc: int) -> float:
            tool = self._store.tools[doc]
            return phrases.share(tool.server, (tool.words, tool.first))

        return share

    def _admit(self, visible: Visible | None, server: str | None = None) -> Admit:
        """Whether a document may be shown, asked once a document and query."""
        if server is not None:
            return self._admit(_within(server, visible))
        if visible is None:
            return lambda doc: True
        seen: dict[int, bool] = {}

        def admit(doc: int) -> bool:
            answer = seen.get(doc)
            if answer is None:
                tool = self._store.tools[doc]
                answer = seen[doc] = visible(tool.server, tool.tool)
            return answer

        return admit

    def _reader(self, admit: Admit, among: Among) -> Reader:
        def known(form: str) -> bool:
            posting = self._store.stems.get(tokens.stem(form))
            if posting is None:
                return False
            return any(map(admit, posting.docs) if among is None else map(posting.get, among))

        def mend(word: str) -> str | None:
            """A word that has a meaning is no slip, even if no tool uses it, but may be what a slip meant."""
            if self._meanings is None:
                return self._store.vocabulary.mend(word, known)
            return (
                None
                if word in self._meanings
                else self._meanings.mend(word, self._store.vocabulary.mend(word, known))
            )

        return Reader(known, mend)

    def _lists(self, query: Query, among: Among) -> list[Weighted]:
        weights: dict[str, float] = {}
        for term in query.terms:
            weights[term.stem] = max(weights.get(term.stem, 0.0), term.weight)
        lists = []
        for term in query.terms:
            stem, form = self._store.stems.count(term.stem), self._store.forms.count(term.form)
            if stem == form:  # the only form of its stem: one list serves both
                weights[term.stem] += FORM * term.weight
            elif form:
                lists.append(self._weighted(self._store.forms, term.form, FORM * term.weight))
        lists.extend(self._weighted(self._store.stems, stem, weight) for stem, weight in weights.items())
        lists.extend(self._weighted(self._store.verbs, verb, VERB) for verb in query.verbs)
        known = [item for item in lists if item is not None]
        if among is None:
            return known
        return [Weighted(item.posting.within(among), item.weight, item.bound) for item in known]

    def _weighted(self, postings: Postings, word: str, weight: float) -> Weighted | None:
        posting = postings.get(word)
        if posting is None:
            return None
        worth = weight * rarity(len(self._store), len(posting))
        return Weighted(posting, worth, worth * posting.peak)

    def _cover(self, query: Query) -> Cover:
        """The share of a tool's name, by rarity of words, that the query holds; less if it does too much."""
        asked = {term.stem for term in query.terms}
        worth: dict[str, float] = {}

        def cover(doc: int) -> float:
            held = whole = 0.0
            tool = self._store.tools[doc]
            for word in tool.words:
                if word not in worth:
                    worth[word] = self._store.rarity(word)
                whole += worth[word]
                held += worth[word] if word in asked else 0.0
            share = held / whole if whole else 0.0
            return share - CLASH if verbs.clash(query.verbs, tool.verbs) else share

        return cover

    def _crowds(self, found: Sequence[tuple[float, int]], query: Query) -> list[str | None]:
        """The server of each; none if the query names it, as only its operator can have called it so."""
        servers = [plain(self._store.tools[doc].server) for _, doc in found]
        asked = {term.stem for term in query.terms}
        crowd = {
            server: None if asked.issuperset(map(tokens.stem, tokens.flat(server))) else server
            for server in set(servers)
        }
        return [crowd[server] for server in servers]

    def _attainable(self, query: Query) -> float:
        """What a tool that is all about the query would score."""
        rare = sum(self._store.rarity(stem) for stem in dict.fromkeys(term.stem for term in query.terms))
        return CEILING * (rare + STRANGE * query.unknown) or 1.0

    def _named(self, text: str, admit: Admit) -> dict[int, float]:
        """Tools named outright, by name; else those a misspelt name comes closest to."""
        tools, names = self._store.tools, self._store.names
        exact = names.exact(text, admit)
        if exact:
            written = text.strip()
            exact.sort(key=lambda doc: (written not in (tools[doc].name, tools[doc].tool), tools[doc].name))
            return dict.fromkeys(self._single(exact), 1.0)
        near = names.slipped(text, admit)
        best = self._single(sorted(near, key=lambda doc: (-near[doc], tools[doc].name)))
        return {doc: near[doc] for doc in best[:SLIPPED_MAX]}

    def _single(self, docs: Sequence[int]) -> list[int]:
        """Without those that differ from an earlier one of their server in nothing but capitals."""
        tools = self._store.tools
        first: dict[tuple[str, str], int] = {}
        for doc in docs:
            first.setdefault((tools[doc].server, tools[doc].tool.casefold()), doc)
        return list(first.values())

    def _match(self, doc: int, score: float, query: Query) -> Match:
        tool = self._store.tools[doc]
        terms = [term for term in query.terms if self._holds(term, doc)]
        repaired = tuple((term.asked, term.form) for term in terms if term.asked != term.form)
        matched = tuple(dict.fromkeys(term.asked for term in terms))
        return Match(tool.name, tool.server, tool.tool, score, matched, repaired)

    def _holds(self, term: Term, doc: int) -> bool:
        posting = self._store.stems.get(term.stem)
        return posting is not None and posting.get(doc) > 0


def _within(server: str, visible: Visible | None) -> Visible:
    """Narrows `visible` to the tools of one server, or of one of its lists."""
    return lambda key, tool: server in (key, plain(key)) and (visible is None or visible(key, tool))
