"""The index itself: tools come and go by server, queries find them.

Nothing is ever rebuilt: a server's tools are entered into and taken out of the inverted lists. Whoever asks
is given only what `visible` admits, and words that only hidden tools know count as unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from services.indexer.index import tokens
from services.indexer.index.fields import CEILING, Document, Entry, weigh
from services.indexer.index.names import Names
from services.indexer.index.postings import Postings, rarity
from services.indexer.index.query import Query, Reader, Term
from services.indexer.index.repair import Vocabulary
from services.indexer.index.scoring import Ranking, Weighted

FORM = 0.4
"""Weight of the exact form beside the stem."""

VERB = 0.35
"""Weight of a shared verb class."""

STRANGE = 4.0
"""Rarity an unknown word is taken to have when a score is set against the attainable one."""

Visible = Callable[[str, str], bool]
Admit = Callable[[int], bool]


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


@dataclass(frozen=True, slots=True)
class Tool:
    """What is kept of a document: its identity, and the words to take it out by."""

    name: str
    server: str
    tool: str
    words: tuple[str, ...]
    stems: tuple[str, ...]
    forms: tuple[str, ...]
    verbs: tuple[str, ...]


class Index:
    """Searches the tools of many servers; not for several threads at once."""

    def __init__(self) -> None:
        self._tools: dict[int, Tool] = {}
        self._servers: dict[str, list[int]] = {}
        self._free: list[int] = []
        self._stems = Postings()
        self._forms = Postings()
        self._verbs = Postings()
        self._names = Names()
        self._vocabulary = Vocabulary(self._forms.count)

    def __len__(self) -> int:
        return len(self._tools)

    def replace(self, server: str, documents: Sequence[Document]) -> None:
        """Make `documents` all that `server` has; of several with one name the last counts."""
        self.remove(server)
        last = {document.name: document for document in documents}
        if last:
            self._servers[server] = [self._enter(document) for document in last.values()]

    def remove(self, server: str) -> None:
        """Forget the tools of `server`; an unknown server has none."""
        for doc in self._servers.pop(server, ()):
            self._leave(doc)

    def search(self, text: str, *, limit: int, visible: Visible | None = None) -> list[Match]:
        """The best `limit` tools, best first, equals by name; a tool named outright leads."""
        limit = min(limit, len(self))
        if limit <= 0:
            return []
        admit = self._admit(visible)
        query = self._reader(admit).read(text)
        found = Ranking(limit, admit, self._cover(query)).best(self._lists(query))
        scores = {doc: round(score / self._attainable(query), 4) for score, doc in found}
        order = sorted(found, key=lambda pair: (-round(pair[0], 6), self._tools[pair[1]].name))
        pinned = self._pinned(text, admit)
        best = dict.fromkeys([*pinned, *(doc for _, doc in order)])
        return [
            self._match(doc, 1.0 if doc in pinned else min(scores[doc], 1.0), query)
            for doc in list(best)[:limit]
        ]

    def nearest(self, name: str, *, limit: int = 3, visible: Visible | None = None) -> list[str]:
        """Exposed names closest to a misspelt `server__tool` or `tool`, closest first, equals by name."""
        admit = self._admit(visible)
        close = sorted(
            (-closeness, self._tools[doc].name, doc) for doc, closeness in self._names.near(name).items()
        )
        found: list[str] = []
        for _, exposed, doc in close:
            if len(found) >= limit:
                break
            if admit(doc):
                found.append(exposed)
        return found

    def _enter(self, document: Document) -> int:
        doc = heappop(self._free) if self._free else len(self._tools)
        entry = weigh(document)
        self._tools[doc] = _kept(document, entry)
        self._stems.add(doc, entry.stems)
        self._vocabulary.add(self._forms.add(doc, entry.forms))
        self._verbs.add(doc, dict.fromkeys(entry.verbs, 1.0))
        self._names.add(doc, document.name, document.tool)
        return doc

    def _leave(self, doc: int) -> None:
        tool = self._tools.pop(doc)
        self._stems.remove(doc, tool.stems)
        self._vocabulary.remove(self._forms.remove(doc, tool.forms))
        self._verbs.remove(doc, tool.verbs)
        self._names.remove(doc, tool.name, tool.tool)
        heappush(self._free, doc)

    def _admit(self, visible: Visible | None) -> Admit:
        """Whether a document may be shown, asked once a document and query."""
        if visible is None:
            return lambda doc: True
        seen: dict[int, bool] = {}

        def admit(doc: int) -> bool:
            answer = seen.get(doc)
            if answer is None:
                tool = self._tools[doc]
                answer = seen[doc] = visible(tool.server, tool.tool)
            return answer

        return admit

    def _reader(self, admit: Admit) -> Reader:
        def known(form: str) -> bool:
            posting = self._stems.get(tokens.stem(form))
            return posting is not None and any(map(admit, posting.docs))

        return Reader(known, lambda word: self._vocabulary.mend(word, known))

    def _lists(self, query: Query) -> list[Weighted]:
        weights: dict[str, float] = {}
        for term in query.terms:
            weights[term.stem] = max(weights.get(term.stem, 0.0), term.weight)
        lists = []
        for term in query.terms:
            stem, form = self._stems.count(term.stem), self._forms.count(term.form)
            if stem == form:  # the only form of its stem: one list serves both
                weights[term.stem] += FORM * term.weight
            elif form:
                lists.append(self._weighted(self._forms, term.form, FORM * term.weight))
        lists.extend(self._weighted(self._stems, stem, weight) for stem, weight in weights.items())
        lists.extend(self._weighted(self._verbs, verb, VERB) for verb in query.verbs)
        return [item for item in lists if item is not None]

    def _weighted(self, postings: Postings, word: str, weight: float) -> Weighted | None:
        posting = postings.get(word)
        if posting is None:
            return None
        worth = weight * rarity(len(self._tools), len(posting))
        return Weighted(posting, worth, worth * posting.peak)

    def _cover(self, query: Query) -> Callable[[int], float]:
        """The share of a tool's name, by rarity of its words, that the query holds."""
        asked = {term.stem for term in query.terms}
        worth: dict[str, float] = {}

        def cover(doc: int) -> float:
            held = whole = 0.0
            for word in self._tools[doc].words:
                if word not in worth:
                    worth[word] = rarity(len(self._tools), self._stems.count(word))
                whole += worth[word]
                held += worth[word] if word in asked else 0.0
            return held / whole if whole else 0.0

        return cover

    def _attainable(self, query: Query) -> float:
        total = len(self._tools)
        stems = {term.stem for term in query.terms}
        rare = sum(rarity(total, self._stems.count(stem)) for stem in stems)
        return CEILING * (rare + STRANGE * query.unknown) or 1.0

    def _pinned(self, text: str, admit: Admit) -> list[int]:
        exact = [doc for doc in self._names.exact(text) if admit(doc)]
        return sorted(exact, key=lambda doc: self._tools[doc].name)

    def _match(self, doc: int, score: float, query: Query) -> Match:
        tool = self._tools[doc]
        terms = [term for term in query.terms if self._holds(term, doc)]
        repaired = tuple((term.asked, term.form) for term in terms if term.asked != term.form)
        matched = tuple(dict.fromkeys(term.asked for term in terms))
        return Match(tool.name, tool.server, tool.tool, score, matched, repaired)

    def _holds(self, term: Term, doc: int) -> bool:
        posting = self._stems.get(term.stem)
        return posting is not None and posting.get(doc) > 0


def _kept(document: Document, entry: Entry) -> Tool:
    words = (tuple(entry.stems), tuple(entry.forms), tuple(sorted(entry.verbs)))
    return Tool(document.name, document.server, document.tool, entry.name, *words)
