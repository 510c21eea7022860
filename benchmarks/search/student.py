"""Vectors of words, learnt so that their sum points where the teacher's vector of the sentence does.

Frequent words that say little come out short, telling ones long: no weights beside the vectors are needed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Rows = NDArray[np.int32]

SEEN_MIN = 3
PULL = 3
"""A word starts at the mean of its sentences, drawn to nothing as if by three sentences about nothing."""

CENTRED = 0.5
"""How much of what all sentences have in common is taken away before the others count."""

RATE = 0.01
MOMENTUM, SPREAD = 0.9, 0.98

_WORD = re.compile(r"[a-z][a-z0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class Course:
    """How long to learn: passes over the sentences, sentences a step, and the seed of their order."""

    passes: int
    seed: int
    batch: int = 1024


def vocabulary(texts: Sequence[Sequence[str]], size: int) -> list[str]:
    """The words of most sentences, most frequent first."""
    counts = Counter(word for words in texts for word in set(words))
    usual = [word for word, count in counts.items() if count >= SEEN_MIN and _WORD.fullmatch(word)]
    return sorted(usual, key=lambda word: (-counts[word], word))[:size]


def targets(taught: Matrix, width: int) -> Matrix:
    """The teacher's vectors in the `width` directions that tell most, of length 1."""
    centred = _unit(taught - CENTRED * taught.mean(axis=0))
    _, directions = np.linalg.eigh(centred.T @ centred / np.float32(len(centred)))
    return _unit(centred @ directions[:, ::-1][:, :width].astype(np.float32))


def learn(texts: Sequence[Sequence[str]], wanted: Matrix, words: Sequence[str], course: Course) -> Matrix:
    """A vector for each of `words`; `texts` are the words of the sentences, `wanted` their targets."""
    places = {word: place for place, word in enumerate(words)}
    rows = [np.array(sorted({places[w] for w in text if w in places}), np.int32) for text in texts]
    pupil = _Pupil(_begin(rows, wanted, len(words)))
    taught = [place for place, found in enumerate(rows) if len(found)]
    steps = list(_batches(taught, course))
    for place, batch in enumerate(steps):
        pupil.step([rows[each] for each in batch], wanted[batch], RATE * (1 - (place + 1) / len(steps)))
    return pupil.vectors


def _begin(rows: Sequence[Rows], wanted: Matrix, size: int) -> Matrix:
    sums, counts = np.zeros((size, wanted.shape[1]), np.float32), np.zeros((size, 1), np.float32)
    common = wanted.mean(axis=0)
    for found, target in zip(rows, wanted, strict=True):
        sums[found] += target - common
        counts[found] += 1
    return sums / (counts + PULL)


def _batches(places: Sequence[int], course: Course) -> Iterator[NDArray[np.intp]]:
    chance = np.random.default_rng(course.seed)
    for _ in range(course.passes):
        order = chance.permutation(np.array(places))
        for start in range(0, len(order) - course.batch + 1, course.batch):
            yield order[start : start + course.batch]


class _Pupil:
    """The vectors, and Adam over them with one spread a word (Kingma, Ba 2015), touching only words met."""

    def __init__(self, vectors: Matrix) -> None:
        self.vectors = vectors
        self._drift = np.zeros_like(vectors)
        self._spread = np.zeros((len(vectors), 1), np.float32)

    def step(self, rows: Sequence[Rows], wanted: Matrix, rate: float) -> None:
        met, lengths = np.concatenate(rows), np.array([len(each) for each in rows])
        words, slope = _summed(met, np.repeat(self._slopes(met, lengths, wanted), lengths, axis=0))
        self._drift[words] = MOMENTUM * self._drift[words] + (1 - MOMENTUM) * slope
        size = (slope**2).mean(axis=1, keepdims=True)
        self._spread[words] = SPREAD * self._spread[words] + (1 - SPREAD) * size
        self.vectors[words] -= np.float32(rate) * self._drift[words] / (np.sqrt(self._spread[words]) + 1e-6)

    def _slopes(self, met: Rows, lengths: NDArray[np.intp], wanted: Matrix) -> Matrix:
        """Where each sentence's sum has to go for its cosine with the target to grow."""
        sums = np.add.reduceat(self.vectors[met], np.cumsum(lengths) - lengths, axis=0)
        size = np.linalg.norm(sums, axis=1, keepdims=True) + np.float32(1e-6)
        said = sums / size
        return np.asarray(((wanted * said).sum(axis=1, keepdims=True) * said - wanted) / size, np.float32)


def _summed(met: Rows, slopes: Matrix) -> tuple[Rows, Matrix]:
    """Each word once, with the sum of its slopes."""
    words, counts = np.unique(met, return_counts=True)
    order = np.argsort(met, kind="stable")
    return words, np.add.reduceat(slopes[order], np.cumsum(counts) - counts, axis=0)


def _unit(vectors: Matrix) -> Matrix:
    return np.asarray(vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9), np.float32)
