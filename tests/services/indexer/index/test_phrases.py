"""What stands side by side in a question and in a tool decides between siblings."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from services.indexer.index import Index, hybrid
from services.indexer.index.phrases import LEADING, WORTH, Phrases, Siblings, lift
from tests.services.indexer.index.catalogue import document, found

CROSSED = [document("files", "item_group_list"), document("files", "group_item_list")]


def siblings() -> Siblings:
    made = Siblings()
    for words in (["disk", "list"], ["disk", "resize"], ["disk", "snapshot", "list"], ["disk", "delete"]):
        made.enter("azure", words)
    return made


@pytest.mark.parametrize("empty", [hybrid, Index])
@pytest.mark.parametrize("asked", ["group item list", "item group list"])
def test_of_siblings_with_the_same_words_the_one_that_says_them_in_order_leads(
    empty: Callable[[], Index], asked: str
) -> None:
    made = empty()
    made.replace("files", CROSSED)
    assert found(made, asked)[0] == asked.replace(" ", "_")


def test_a_first_sentence_counts_like_a_name() -> None:
    made = Index()
    first = document("files", "one", "Copies a shared group of an item")
    other = document("files", "two", "Copies an item of a shared group")
    made.replace("files", [first, other])
    assert found(made, "item shared group")[0] == "two"
    assert found(made, "group item")[0] == "one"


def test_a_misspelt_phrase_is_one_all_the_same() -> None:
    made = Index()
    made.replace("files", CROSSED)
    assert found(made, "itme grop list")[0] == "item_group_list"
    assert found(made, "grop itme list")[0] == "group_item_list"


def test_words_that_few_siblings_have_count_more() -> None:
    phrases = Phrases(["list", "disk", "snapshot"], {"list", "disk", "snapshot"}, siblings())
    usual, telling = (phrases.share("azure", [text]) for text in (["list", "disk"], ["disk", "snapshot"]))
    assert 0 < usual < telling < 1


def test_a_share_is_nothing_without_a_pair_and_never_reaches_one() -> None:
    phrases = Phrases(["disk", "snapshot", "list"], {"disk", "snapshot", "list"}, siblings())
    assert phrases.share("azure", [["snapshot", "disk"], ["list"]]) == 0
    part, whole = (phrases.share("azure", [["disk", "snapshot", *more]]) for more in ([], ["list"]))
    assert 0 < part < whole < 1


def test_a_pair_does_not_reach_from_the_name_into_the_sentence() -> None:
    phrases = Phrases(["disk", "list"], {"disk", "list"}, siblings())
    assert phrases.share("azure", [["disk"], ["list"]]) == 0


def test_words_nobody_knows_are_worth_nothing() -> None:
    assert Phrases(["disk", "list"], set(), siblings()).share("azure", [["disk", "list"]]) == 0


def test_siblings_that_left_are_forgotten() -> None:
    kept, brief = siblings(), siblings()
    brief.enter("azure", ["vault", "list", "list"])
    brief.enter("git", ["log"])
    assert brief.rarity("azure", "list") != kept.rarity("azure", "list")
    brief.leave("git", ["log"])
    brief.leave("azure", ["vault", "list", "list"])
    assert vars(brief) == vars(kept)


def test_only_the_leading_documents_are_lifted() -> None:
    ranked = [(1 - place / 100, place) for place in range(LEADING + 5)]
    lifted = list(lift(ranked, lambda doc: 1.0))
    assert lifted == [(score + WORTH * (doc < LEADING), doc) for score, doc in ranked]


def test_the_first_places_of_a_server_do_not_depend_on_how_many_are_wanted() -> None:
    made = Index()
    made.replace("files", [*CROSSED, *(document("files", f"group_list_{n}") for n in range(30))])
    whole = made.search("item group list", limit=32, server="files")
    for limit in (1, 3, 10):
        assert made.search("item group list", limit=limit, server="files") == whole[:limit]
