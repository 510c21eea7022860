"""Scores by words and by meaning together, for every document at once.

A tool scores what its words do (BM25F), as a share of what the query could reach, plus how near its meaning
is to that of the query. So meaning takes over where the words are unknown, and hardly counts against a name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import OSA

from services.indexer.index.scoring import COVERAGE, GROWTH, Admit, Cover, Weighted, pick
from services.indexer.index.words import Vector, Words

NEARNESS = 0.6
"""What the nearness of meaning (a cosine) is worth beside the share of the words."""

KINDRED = 0.35
"""Nearness from which a tool is found that shares no word with the query."""

FIRST = 512
"""So many of the best are put in order before the rest is."""


class Meanings:
    """What each document means, by number; documents of no known word mean nothing."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._rows: Vector = np.zeros((0, words.width), np.float32)

    def __contains__(self, word: str) -> bool:
        return word in self._words

    def mend(self, word: str, used: str | None) -> str | None:
        """The word a misspelt one stands for: `used`, which tools use, unless one they do not is nearer."""
        other = self._words.mend(word)
        if other is None or (used is not None and OSA.distance(word, used) <= OSA.distance(word, other)):
            return used
        return other

    def enter(self, doc: int, senses: Mapping[str, float]) -> None:
        """Learn a document: its words with the weight of each."""
        if doc >= len(self._rows):
            room = np.zeros((max(256, 2 * doc), self._words.width), np.float32)
            room[: len(self._rows)] = self._rows
            self._rows = room
        vector = self._words.embed(senses)
        self._rows[doc] = 0 if vector is None else vector

    def leave(self, doc: int) -> None:
        self._rows[doc] = 0

    def near(self, words: Sequence[str], size: int, among: Sequence[int] | None = None) -> Vector:
        """How near (at most 1) each of the first `size` documents comes to these words.

        Those that are not in `among`, if it is given, count as not near. `einsum`, because a product by BLAS
        takes turns between threads: on busy cores that cost 5 times the CPU.
        """
        near: Vector = np.zeros(size, np.float32)
        vector = self._words.embed(dict.fromkeys(words, 1.0))
        if vector is None:
            return near
        if among is None:
            np.einsum("ij,j->i", self._rows[:size], vector, out=near)
        else:
            near[among] = np.einsum("ij,j->i", self._rows[among], vector)
        return near

    def best(
        self, lists: Sequence[Weighted], words: Sequence[str], size: int, most: float,
        limit: int, admit: Admit, cover: Cover, among: Sequence[int] | None = None,
    ) -> list[tuple[float, int]]:  # fmt: skip
        """The best admitted documents and all that tie with the last; scores up to 1, in no order.

        Of those in `among` alone, if it is given, to which `lists` are cut then.
        """
        spoken = _gather(lists, size) / np.float32(most)
        near = self.near(words, size, among)
        meant = np.float32(NEARNESS) * near
        bounds = np.where((spoken > 0) | (near >= KINDRED), spoken * np.float32(GROWTH) + meant, 0)

        def exact(doc: int) -> float:
            word = float(spoken[doc])
            return word * (1 + COVERAGE * cover(doc) if word else 1) + float(meant[doc])

        found = pick(_descending(bounds), exact, admit, limit)
        return [(score / (1 + NEARNESS), doc) for score, doc in found]


def _gather(lists: Sequence[Weighted], size: int) -> Vector:
    scores: Vector = np.zeros(size, np.float32)
    for item in lists:
        docs = np.frombuffer(item.posting.docs, np.uint32)
        impacts = np.frombuffer(item.posting.impacts, np.float32)
        scores[docs] += np.float32(item.weight) * impacts
    return scores


def _descending(bounds: Vector) -> Iterator[tuple[float, int]]:
    """Documents of a bound over 0, best first; most are never put in order."""
    if len(bounds) > FIRST:
        order = np.argpartition(-bounds, FIRST)
        yield from _positive(bounds, order[:FIRST])
        yield from _positive(bounds, order[FIRST:])
    else:
        yield from _positive(bounds, np.arange(len(bounds)))


def _positive(bounds: Vector, docs: NDArray[np.intp]) -> Iterator[tuple[float, int]]:
    order = docs[np.argsort(-bounds[docs], kind="stable")]
    for bound, doc in zip(bounds[order].tolist(), order.tolist(), strict=True):
        if bound <= 0:
            return
        yield bound, doc
