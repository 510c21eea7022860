"""The best documents for weighted posting lists, without looking at most of the rest.

MaxScore (Turtle, Flood 1995) term at a time: rare words first; once what is left could not lift a new
document into the answer, common words are only looked up in the documents that can still win.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heapify, heappop

from services.indexer.index.postings import Posting

COVERAGE = 0.25
"""How much a fully named tool gains over one that only mentions the words."""

GROWTH = 1 + COVERAGE

Admit = Callable[[int], bool]
Cover = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Weighted:
    """One posting list, its weight in this query, and the most it can add to a document."""

    posting: Posting
    weight: float
    bound: float


def rank(lists: list[Weighted], limit: int, admit: Admit, cover: Cover) -> list[tuple[float, int]]:
    """The `limit` best admitted documents and all that tie with the last, best first, with their scores.

    `cover` gives the share (0 to 1) of a document's name that the query holds.
    """
    found: list[tuple[float, int]] = []
    floor = 0.0
    for base, doc in _descending(_gather(lists, limit, admit)):
        if base * GROWTH < floor:
            break
        if admit(doc):
            found.append((base * (1 + COVERAGE * cover(doc)), doc))
            if len(found) >= limit:
                floor = _last(found, limit)
    return [pair for pair in sorted(found, reverse=True) if pair[0] >= floor]


def _last(found: list[tuple[float, int]], limit: int) -> float:
    return sorted(found, reverse=True)[limit - 1][0]


def _descending(scores: dict[int, float]) -> Iterator[tuple[float, int]]:
    heap = [(-score, doc) for doc, score in scores.items()]
    heapify(heap)
    while heap:
        score, doc = heappop(heap)
        yield -score, doc


def _gather(lists: list[Weighted], limit: int, admit: Admit) -> dict[int, float]:
    """Scores of every document that can be among the first `limit`."""
    scores: dict[int, float] = {}
    left = sum(item.bound for item in lists)
    ordered = sorted(lists, key=lambda item: -item.bound)
    for place, item in enumerate(ordered):
        if len(item.posting) > len(scores) / 4 and _settled(scores, left, limit):
            floor = _floor(scores, limit, admit)
            if left * GROWTH < floor:
                return _finish(scores, ordered[place:], left, floor)
        _add(scores, item)
        left -= item.bound
    return scores


def _settled(scores: dict[int, float], left: float, limit: int) -> bool:
    return len(scores) >= limit and max(scores.values()) > left * GROWTH


def _floor(scores: dict[int, float], limit: int, admit: Admit) -> float:
    """The score of the admitted document at place `limit`; 0 if there are fewer."""
    for base, doc in _descending(scores):
        if admit(doc):
            limit -= 1
            if limit == 0:
                return base
    return 0.0


def _add(scores: dict[int, float], item: Weighted) -> None:
    weight, get = item.weight, scores.get
    for doc, impact in zip(item.posting.docs, item.posting.impacts, strict=True):
        scores[doc] = get(doc, 0.0) + weight * impact


def _finish(scores: dict[int, float], rest: list[Weighted], left: float, floor: float) -> dict[int, float]:
    """The remaining lists, looked up only for documents that can still reach `floor`."""
    for item in rest:
        least = floor / GROWTH - left
        scores = {doc: score for doc, score in scores.items() if score >= least}
        get = item.posting.get
        for doc in scores:
            scores[doc] += item.weight * get(doc)
        left -= item.bound
    return scores
