"""Misspelt words find what was meant; words spelt right are left alone."""

from __future__ import annotations

import pytest

from services.indexer.index.repair import Vocabulary, tolerance
from tests.services.indexer.index.catalogue import EVERY, document, found, index


@pytest.mark.parametrize("text", ["processer", "procesor", "rpocessor", "processsor", "text procsesor"])
def test_a_misspelt_word_finds_the_tool(text: str) -> None:
    assert found(index(), text)[0] == "text_processor"


def test_a_match_says_which_word_was_repaired_and_how() -> None:
    (match,) = index().search("togehter", limit=10)
    assert match.repaired == (("togehter", "together"),)
    assert match.matched == ("togehter",)


def test_a_word_that_exists_is_not_repaired() -> None:
    made = index([document("a", "form", "A form"), document("b", "from_date", "A farm")])
    (match,) = made.search("farm", limit=10)
    assert match.repaired == ()
    assert match.tool == "from_date"


def test_a_repaired_word_counts_less_than_one_spelt_right() -> None:
    made = index([document("a", "alpha", "Plays music"), document("b", "beta", "Plays video")])
    right, wrong = (made.search(text, limit=1)[0].score for text in ("video", "vidoe"))
    assert wrong < right


@pytest.mark.parametrize("text", ["adx", "tokkkkker", "4dd3r"])
def test_short_distant_and_numbered_words_are_not_repaired(text: str) -> None:
    assert found(index(EVERY), text) == []


@pytest.mark.parametrize(("word", "slips"), [("mail", 1), ("video", 2), ("calendar", 2), ("processor", 3)])
def test_longer_words_may_hold_more_slips(word: str, slips: int) -> None:
    assert tolerance(word) == slips


def test_the_nearest_word_wins_then_the_first_letter_then_the_frequent_one() -> None:
    counts = {"mailer": 9, "nails": 9, "mails": 1, "malls": 2, "maids": 2}
    vocabulary = Vocabulary(lambda word: counts[word])
    vocabulary.add(counts)
    assert vocabulary.mend("mailss", lambda word: True) == "mails"
    assert vocabulary.mend("maixs", lambda word: True) == "maids"
    assert vocabulary.mend("maixs", lambda word: word != "maids") == "mails"
    assert vocabulary.mend("xails", lambda word: True) == "nails"


def test_a_word_that_left_the_index_is_no_longer_a_repair() -> None:
    made = index()
    assert found(made, "processer") == ["text_processor"]
    made.remove("text_service")
    assert found(made, "processer") == []
    made.replace("text_service", [EVERY[2]])
    assert found(made, "processer") == ["text_processor"]
