"""Search stays as good as it is: a suite of our own, with floors a little below what was measured."""

from __future__ import annotations

import random

import pytest

from benchmarks.search.suites import MODES, Figures, Suite, build, macro, measure
from services.indexer.index import Index, hybrid
from tests.benchmarks.questions import suite

# What was measured for r@1, r@5 and nDCG@10, less two points.
HYBRID = {
    "clean": (50.5, 84.5, 69.5),
    "typo": (48.5, 82.0, 67.5),
    "kw": (83.0, 95.0, 90.0),
    "kwtypo": (80.0, 92.0, 87.0),
}
LEXICAL = {
    "clean": (29.0, 52.0, 41.0),
    "typo": (29.0, 52.0, 41.0),
    "kw": (50.0, 55.0, 54.0),
    "kwtypo": (50.0, 55.0, 54.0),
}


def reached(figures: dict[str, Figures], floors: dict[str, tuple[float, float, float]]) -> bool:
    found = {mode: tuple(figures[mode][key] for key in ("r1", "r5", "n10")) for mode in MODES}
    return all(one >= least for mode in MODES for one, least in zip(found[mode], floors[mode], strict=True))


@pytest.fixture(scope="module")
def by_meaning() -> dict[str, Figures]:
    return measure(suite(), build(suite().documents, hybrid))


@pytest.fixture(scope="module")
def by_words() -> dict[str, Figures]:
    return measure(suite(), build(suite().documents, Index))


def test_search_by_meaning_is_as_good_as_it_was(by_meaning: dict[str, Figures]) -> None:
    assert reached(by_meaning, HYBRID), by_meaning


def test_search_by_words_alone_is_as_good_as_it_was(by_words: dict[str, Figures]) -> None:
    assert reached(by_words, LEXICAL), by_words


def test_meaning_finds_what_words_do_not(
    by_meaning: dict[str, Figures], by_words: dict[str, Figures]
) -> None:
    for mode in MODES:
        assert by_meaning[mode]["r5"] > by_words[mode]["r5"] + 10


def test_every_name_is_found_first_and_with_a_slip_among_the_first_five(
    by_meaning: dict[str, Figures], by_words: dict[str, Figures]
) -> None:
    for figures in (by_meaning, by_words):
        assert figures["names"]["r1"] == 100
        assert figures["names"]["r5"] >= 99.5


def test_a_ranking_by_chance_does_not_reach_the_floors() -> None:
    asked = suite()
    answers = [query["relevant"] for query in asked.queries]
    random.Random(1).shuffle(answers)
    for query, answer in zip(asked.queries, answers, strict=True):
        query["relevant"] = answer
    figures = measure(asked, build(asked.documents, hybrid))
    assert not reached(figures, HYBRID)
    assert not reached(figures, LEXICAL)


def test_the_macro_is_the_mean_over_the_suites_of_the_family() -> None:
    one, two = ({mode: {"r1": value} for mode in MODES} for value in (10.0, 30.0))
    assert macro({"azure": one, "metatool": two, "elsewhere": one})["kw"] == {"r1": 20.0}
    assert macro({"elsewhere": one}) == {}


def test_a_suite_of_plain_questions_alone_is_measured() -> None:
    whole = suite()
    bare = [{key: line[key] for key in ("query", "relevant")} for line in whole.queries]
    figures = measure(Suite("own", whole.documents, bare), build(whole.documents, Index))
    assert set(figures) == {"clean", "names"}
