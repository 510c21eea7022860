"""Leaving documents out early never changes the answer."""

from __future__ import annotations

import random

import pytest

from services.indexer.index.postings import Posting, rarity
from services.indexer.index.scoring import COVERAGE, Ranking, Weighted

DOCUMENTS = 300


def lists(chance: random.Random) -> list[Weighted]:
    made = []
    for _ in range(chance.randrange(1, 12)):
        posting = Posting()
        for doc in chance.sample(range(DOCUMENTS), chance.choice([2, 20, 250])):
            posting.put(doc, chance.uniform(0.05, 2.0))
        weight = rarity(DOCUMENTS, len(posting))
        made.append(Weighted(posting, weight, weight * posting.peak))
    return made


@pytest.mark.parametrize("seed", range(100))
def test_the_best_are_those_of_scoring_every_document(seed: int) -> None:
    chance = random.Random(seed)
    given, limit = lists(chance), chance.choice([1, 5, 20])
    cover = [chance.random() for _ in range(DOCUMENTS)]
    hidden = set(chance.sample(range(DOCUMENTS), chance.choice([0, 100, 290])))
    ordered = sorted(given, key=lambda item: -item.weight)
    scores = {
        doc: sum(item.weight * item.posting.get(doc) for item in ordered) * (1 + COVERAGE * cover[doc])
        for doc in range(DOCUMENTS)
        if doc not in hidden
    }
    best = sorted((score for score in scores.values() if score > 0), reverse=True)[:limit]
    found = Ranking(limit, lambda doc: doc not in hidden, cover.__getitem__).best(given)
    assert sorted((score for score, _ in found), reverse=True)[:limit] == pytest.approx(best)
    assert all(score == pytest.approx(scores[doc]) for score, doc in found)


def test_documents_that_tie_with_the_last_are_all_given() -> None:
    posting = Posting()
    for doc in range(10):
        posting.put(doc, 1.0)
    found = Ranking(3, lambda doc: True, lambda doc: 0.0).best([Weighted(posting, 1.0, 1.0)])
    assert sorted(doc for _, doc in found) == list(range(10))


def test_a_word_in_fewer_documents_is_rarer_and_none_is_worth_less_than_nothing() -> None:
    worth = [rarity(100, count) for count in range(101)]
    assert worth == sorted(worth, reverse=True)
    assert worth[-1] > 0
