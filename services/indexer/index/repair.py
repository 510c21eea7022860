"""Misspelt words, mended from the vocabulary of the index.

Only words that occur nowhere are mended: matching every word loosely was measured to add nothing but noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rapidfuzz import process
from rapidfuzz.distance import OSA

LENGTH_MIN = 4
CACHE_MAX = 1 << 16
"""Choices that are kept. All are: were only the first, hidden words could crowd out those of a caller."""


def tolerance(word: str) -> int:
    """How many slips (OSA: insert, delete, replace, swap) a word of this length may hold."""
    return 1 if len(word) < 5 else 2 if len(word) < 9 else 3


class Vocabulary:
    """The known words by length, and what was mended since they last changed."""

    def __init__(self, count: Callable[[str], int]) -> None:
        self._count = count
        self._lengths: dict[int, dict[str, str]] = {}
        self._mended: dict[tuple[str, int], tuple[str, ...]] = {}
        self._kept = 0

    def add(self, words: Iterable[str]) -> None:
        for word in words:
            self._lengths.setdefault(len(word), {})[word] = word
        self._forget()

    def remove(self, words: Iterable[str]) -> None:
        for word in words:
            del self._lengths[len(word)][word]
        self._forget()

    def mend(self, word: str, known: Callable[[str], bool]) -> str | None:
        """The nearest word that `known` accepts: fewest slips, same first letter, most frequent, by name."""
        if len(word) < LENGTH_MIN or not word.isalpha():
            return None
        for slips in range(1, tolerance(word) + 1):
            for choice in self._near(word, slips):
                if known(choice):
                    return choice
        return None

    def _near(self, word: str, slips: int) -> tuple[str, ...]:
        key = (word, slips)
        if key not in self._mended:
            if self._kept >= CACHE_MAX:
                self._forget()
            self._mended[key] = self._find(word, slips)
            self._kept += 1 + len(self._mended[key])
        return self._mended[key]

    def _find(self, word: str, slips: int) -> tuple[str, ...]:
        found = [
            hit[0]
            for length in range(len(word) - slips, len(word) + slips + 1)
            for hit in process.extract(
                word, self._lengths.get(length, {}), scorer=OSA.distance, processor=None,
                score_cutoff=slips, limit=None,
            )
        ]  # fmt: skip
        found.sort(key=lambda choice: (choice[0] != word[0], -self._count(choice), choice))
        return tuple(found)

    def _forget(self) -> None:
        self._mended.clear()
        self._kept = 0
