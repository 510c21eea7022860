"""What the index holds: the tools, their words, their names, and the vocabulary, always in step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Protocol

from services.indexer.index.fields import Document, Entry
from services.indexer.index.names import Names
from services.indexer.index.phrases import Siblings
from services.indexer.index.postings import Postings, rarity
from services.indexer.index.repair import Vocabulary


@dataclass(frozen=True, slots=True)
class Tool:
    """What is kept of a document: who it is, the stems of name and first sentence, all to take it out by."""

    name: str
    server: str
    tool: str
    words: tuple[str, ...]
    first: tuple[str, ...]
    stems: tuple[str, ...]
    forms: tuple[str, ...]
    verbs: tuple[str, ...]


class Senses(Protocol):
    """What keeps the meaning of documents."""

    def enter(self, doc: int, senses: Mapping[str, float]) -> None: ...
    def leave(self, doc: int) -> None: ...


class Store:
    """Documents by number; a number is used again once its document has left."""

    def __init__(self, senses: Senses | None = None) -> None:
        self._senses = senses
        self.tools: dict[int, Tool] = {}
        self.stems = Postings()
        self.forms = Postings()
        self.verbs = Postings()
        self.names = Names()
        self.siblings = Siblings()
        self.vocabulary = Vocabulary(self.forms.count)
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self.tools)

    @property
    def size(self) -> int:
        """Every number of a document is below this."""
        return len(self.tools) + len(self._free)

    def enter(self, document: Document, entry: Entry) -> int:
        """Add one document; gives its number."""
        doc = heappop(self._free) if self._free else len(self.tools)
        self.tools[doc] = _kept(document, entry)
        self.stems.add(doc, entry.stems)
        self.vocabulary.add(self.forms.add(doc, entry.forms))
        self.verbs.add(doc, dict.fromkeys(entry.verbs, 1.0))
        self.names.add(doc, document.name, document.tool)
        self.siblings.enter(document.server, (*entry.name, *entry.first))
        if self._senses:
            self._senses.enter(doc, entry.senses)
        return doc

    def leave(self, doc: int) -> None:
        """Take one document out of everything that knows it."""
        tool = self.tools.pop(doc)
        self.stems.remove(doc, tool.stems)
        self.vocabulary.remove(self.forms.remove(doc, tool.forms))
        self.verbs.remove(doc, tool.verbs)
        self.names.remove(doc, tool.name, tool.tool)
        self.siblings.leave(tool.server, (*tool.words, *tool.first))
        if self._senses:
            self._senses.leave(doc)
        heappush(self._free, doc)

    def rarity(self, stem: str) -> float:
        """Inverse document frequency of a stem."""
        return rarity(len(self.tools), self.stems.count(stem))


def _kept(document: Document, entry: Entry) -> Tool:
    words = (tuple(entry.stems), tuple(entry.forms), tuple(sorted(entry.verbs)))
    return Tool(document.name, document.server, document.tool, entry.name, entry.first, *words)
