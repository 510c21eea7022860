"""The best documents for weighted posting lists, without looking at most of the rest.

MaxScore (Turtle, Flood 1995) term at a time: rare words first; once what is left could not lift a new
document into the answer, common words are only looked up in the documents that can still win.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappushpop
from itertools import islice

from services.indexer.index.postings import Posting

COVERAGE = 0.4
"""How much a fully named tool gains over one that only mentions the words."""

GROWTH = 1 + COVERAGE

LOOKUP = 6
"""Walking past a document of a list costs a sixth of looking one up."""


Admit = Callable[[int], bool]
Cover = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Weighted:
    """One posting list, its weight in this query, and the most it can add to a document."""

    posting: Posting
    weight: float
    bound: float


def pick(
    bounds: Iterable[tuple[float, int]], exact: Callable[[int], float], admit: Admit, limit: int
) -> list[tuple[float, int]]:
    """The `limit` best admitted documents and all that tie with the last; scores, in no order.

    `bounds` come best first; no document scores more than its bound, so most are never scored.
    """
    found: list[tuple[float, int]] = []
    top = [0.0] * limit
    for bound, doc in bounds:
        if bound < top[0]:
            break
        if admit(doc):
            score = exact(doc)
            found.append((score, doc))
            heappushpop(top, score)
    return [pair for pair in found if pair[0] >= top[0]]


@dataclass(frozen=True, slots=True)
class Ranking:
    """One question: how many are wanted, who may be shown, and how much of a name (0 to 1) was asked for."""

    limit: int
    admit: Admit
    cover: Cover

    def best(self, lists: list[Weighted]) -> list[tuple[float, int]]:
        """The `limit` best admitted documents and all that tie with the last; scores, in no order."""
        scores = self._gather(lists)
        bounds = ((score * GROWTH, doc) for score, doc in _descending(scores))
        return pick(bounds, lambda doc: self._lifted(scores[doc], doc), self.admit, self.limit)

    def _gather(self, lists: list[Weighted]) -> dict[int, float]:
        """Scores, before names are looked at, of every document that can be among the best."""
        scores: dict[int, float] = {}
        closed = False
        left = sum(item.bound for item in lists)
        for item in sorted(lists, key=lambda item: -item.weight):
            if closed or (len(item.posting) > len(scores) / 4 and self._settled(scores, left)):
                floor = self._floor(scores)
                closed = closed or left * GROWTH < floor
                least = floor / GROWTH - left
                scores = {doc: score for doc, score in scores.items() if score >= least}
            (_lift if closed else _add)(scores, item)
            left -= item.bound
        return scores

    def _settled(self, scores: dict[int, float], left: float) -> bool:
        """Whether it is worth looking if no new document can win any more."""
        return len(scores) >= self.limit and max(scores.values()) > left

    def _floor(self, scores: dict[int, float]) -> float:
        """What the first `limit` admitted documents reach at least; 0 if there are fewer."""
        admitted = (pair for pair in _descending(scores) if self.admit(pair[1]))
        found = [self._lifted(base, doc) for base, doc in islice(admitted, self.limit)]
        return min(found) if len(found) == self.limit else 0.0

    def _lifted(self, base: float, doc: int) -> float:
        return base * (1 + COVERAGE * self.cover(doc))


def _descending(scores: dict[int, float]) -> Iterator[tuple[float, int]]:
    heap = [(-score, doc) for doc, score in scores.items()]
    heapify(heap)
    while heap:
        score, doc = heappop(heap)
        yield -score, doc


def _add(scores: dict[int, float], item: Weighted) -> None:
    weight, get = item.weight, scores.get
    for doc, impact in zip(item.posting.docs, item.posting.impacts, strict=True):
        scores[doc] = get(doc, 0.0) + weight * impact


def _lift(scores: dict[int, float], item: Weighted) -> None:
    """Add the list to documents that already have a score, and to no others."""
    weight, posting = item.weight, item.posting
    if len(posting) > LOOKUP * len(scores):
        for doc in scores:
            scores[doc] += weight * posting.get(doc)
        return
    for doc, impact in zip(posting.docs, posting.impacts, strict=True):
        if doc in scores:
            scores[doc] += weight * impact
