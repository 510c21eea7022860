"""Inverted lists that take and lose documents one by one.

Two parallel arrays a word, ordered by document: eight bytes a posting, where a dict takes sixty or more.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from math import log


class Posting:
    """The documents of one word, what the word is worth in each, and a bound of that."""

    __slots__ = ("docs", "impacts", "peak")

    def __init__(self) -> None:
        self.docs = array("I")
        self.impacts = array("f")
        self.peak = 0.0

    def __len__(self) -> int:
        return len(self.docs)

    def get(self, doc: int) -> float:
        """The impact in `doc`; 0.0 if the word is not in it."""
        place = bisect_left(self.docs, doc)
        return self.impacts[place] if place < len(self.docs) and self.docs[place] == doc else 0.0

    def within(self, docs: Iterable[int]) -> Posting:
        """The same list for some documents alone, given in their order."""
        part = Posting()
        for doc in docs:
            if impact := self.get(doc):
                part.docs.append(doc)
                part.impacts.append(impact)
        part.peak = self.peak
        return part

    def put(self, doc: int, impact: float) -> None:
        place = bisect_left(self.docs, doc)
        self.docs.insert(place, doc)
        self.impacts.insert(place, impact)
        self.peak = max(self.peak, self.impacts[place])

    def drop(self, doc: int) -> None:
        place = bisect_left(self.docs, doc)
        del self.docs[place]
        del self.impacts[place]


class Postings:
    """Lists of many words; a word without documents does not exist."""

    def __init__(self) -> None:
        self._lists: dict[str, Posting] = {}

    def __contains__(self, word: str) -> bool:
        return word in self._lists

    def __iter__(self) -> Iterator[str]:
        return iter(self._lists)

    def get(self, word: str) -> Posting | None:
        return self._lists.get(word)

    def count(self, word: str) -> int:
        """In how many documents `word` is."""
        posting = self._lists.get(word)
        return len(posting) if posting else 0

    def add(self, doc: int, impacts: Mapping[str, float]) -> list[str]:
        """Enter one document; gives the words that are new."""
        new = []
        for word, impact in impacts.items():
            posting = self._lists.get(word)
            if posting is None:
                posting = self._lists[word] = Posting()
                new.append(word)
            posting.put(doc, impact)
        return new

    def remove(self, doc: int, words: tuple[str, ...]) -> list[str]:
        """Take one document out; gives the words that are gone with it."""
        gone = []
        for word in words:
            posting = self._lists[word]
            posting.drop(doc)
            if not posting:
                del self._lists[word]
                gone.append(word)
        return gone


def rarity(total: int, count: int) -> float:
    """Inverse document frequency as BM25 takes it; never negative."""
    return log(1 + (total - count + 0.5) / (count + 0.5))
