"""What words mean: a table of vectors, and texts as weighted sums of them.

The table beside this module, `words.npz`, holds `words` (lower case, by line feeds, as UTF-8 bytes),
`vectors` (int8, a row a word) and `scales` (float16, one a row). `words.txt` says what it was made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.indexer.index import tokens
from services.indexer.index.repair import Vocabulary

TABLE = Path(__file__).with_name("words.npz")

Vector = NDArray[np.float32]


class Words:
    """The vectors of words; of words it lacks, that of another one of the same stem."""

    def __init__(self, words: list[str], vectors: NDArray[np.int8], scales: NDArray[np.float16]) -> None:
        self._rows = {word: row for row, word in enumerate(words)}
        self._stems = {tokens.stem(word): row for row, word in reversed(list(enumerate(words)))}
        self._vectors = vectors
        self._scales = scales.astype(np.float32)
        self._initials: dict[str, Vocabulary] = {}
        for word in words:
            self._initials.setdefault(word[0], Vocabulary(lambda word: -self._rows[word])).add([word])
        self.width = vectors.shape[1]

    def __contains__(self, word: str) -> bool:
        """Whether a word, or that of which it is the plural, is one of the table."""
        return word in self._rows or word.removesuffix("s") in self._rows

    def mend(self, word: str) -> str | None:
        """The word of the same first letter that a misspelt one comes closest to, frequent ones first."""
        spellings = self._initials.get(word[:1])
        return spellings.mend(word, lambda choice: True) if spellings else None

    def embed(self, weights: Mapping[str, float]) -> Vector | None:
        """The sum of the words' vectors times their weights, of length 1; None if no word is known."""
        known = [(row, weight) for word, weight in weights.items() if (row := self._row(word)) is not None]
        if not known:
            return None
        rows, worth = zip(*known, strict=True)
        found = np.array(rows)
        scales = self._scales[found] * np.array(worth, np.float32)
        whole = np.einsum("i,ij->j", scales, self._vectors[found].astype(np.float32))
        length = float(np.linalg.norm(whole))
        return whole / np.float32(length) if length > 0 else None

    def _row(self, word: str) -> int | None:
        row = self._rows.get(word)
        return self._stems.get(tokens.stem(word)) if row is None else row


@cache
def load(path: Path = TABLE) -> Words:
    """The table of a file, read once."""
    with np.load(path, allow_pickle=False) as held:
        words = bytes(held["words"]).decode().split("\n")
        return Words(words, held["vectors"], held["scales"])
