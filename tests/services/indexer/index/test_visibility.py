"""What a caller may not see is not found, not suggested, and not betrayed by what is."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from benchmarks.search.corpus import Catalogue
from services.indexer.index import Index, hybrid
from tests.services.indexer.index.catalogue import ADDER, CALCULATOR, document, index


def test_hidden_tools_are_not_found_even_by_their_exact_name() -> None:
    made = index([ADDER, CALCULATOR])
    assert (
        made.search("math_service__adder", limit=10, visible=lambda server, tool: server != "math_service")
        == []
    )
    assert made.search("adder", limit=10, visible=lambda server, tool: tool != "adder") == []


def test_hidden_names_are_not_suggested() -> None:
    made = index([ADDER, document("other", "adders")])
    assert made.nearest("addr", visible=lambda server, tool: server == "other") == ["other__adders"]


def test_places_of_hidden_tools_are_filled_by_visible_ones() -> None:
    tools = [document("a", f"mail{place}", "mail mail mail") for place in range(20)]
    made = index([*tools, document("b", "letters", "Sends letters, for example by mail, to friends")])
    matches = made.search("mail", limit=5, visible=lambda server, tool: server == "b")
    assert [match.tool for match in matches] == ["letters"]


def test_a_word_only_hidden_tools_know_is_repaired_like_an_unknown_one() -> None:
    made = index(
        [document("secret", "vault", "Opens the valut"), document("open", "door", "Opens the vault")]
    )
    (match,) = made.search("valut", limit=10, visible=lambda server, tool: server == "open")
    assert match.repaired == (("valut", "vault"),)


def test_a_word_is_never_repaired_to_one_only_hidden_tools_know() -> None:
    made = index([document("secret", "x", "projectzeus"), document("open", "door", "Opens doors")])
    assert made.search("projectzeos", limit=10, visible=lambda server, tool: server == "open") == []


@pytest.mark.parametrize("text", ["secret__get_forecast", "secret__get_forecst", "secrt__get_forecast"])
@pytest.mark.parametrize("empty", [Index, hybrid])
def test_a_name_only_a_hidden_tool_has_is_answered_like_one_that_nobody_has(
    empty: Callable[[], Index], text: str
) -> None:
    found = []
    for hidden in ("get_forecast", "other"):
        made = empty()
        made.replace("open", [document("open", "get_forecast"), document("open", "door")])
        made.replace("secret", [document("secret", hidden)])
        (first, *_) = made.search(text, limit=5, visible=lambda server, tool: server == "open")
        found.append((first.name, first.score))
    assert found[0] == found[1]
    assert found[0][1] > 0.8


def test_hidden_words_do_not_crowd_out_what_a_slip_is_taken_for() -> None:
    words = [f"vault{letter}" for letter in "abcdefghijklmnopqrstuvwx"]
    made = index(
        [*(document("secret", word, word) for word in words), document("open", "door", "Opens zaulty")]
    )
    (match,) = made.search("vaulty", limit=5, visible=lambda server, tool: server == "open")
    assert match.repaired == (("vaulty", "zaulty"),)


def test_the_first_places_do_not_depend_on_how_many_are_asked_for() -> None:
    catalogue = Catalogue(400)
    made = index(tool for tools in catalogue.servers for tool in tools)
    hidden = set(random.Random(3).sample([tools[0].server for tools in catalogue.servers], 10))
    for _ in range(20):
        query = catalogue.query()
        every, first = (
            made.search(query, limit=limit, visible=lambda server, tool: server not in hidden)
            for limit in (len(made), 10)
        )
        assert first == every[:10]
        assert not hidden.intersection(match.server for match in every)


def test_visibility_is_asked_at_most_once_a_tool() -> None:
    catalogue = Catalogue(400)
    made = index(tool for tools in catalogue.servers for tool in tools)
    asked: list[tuple[str, str]] = []

    def visible(server: str, tool: str) -> bool:
        asked.append((server, tool))
        return len(asked) % 2 == 0

    made.search(catalogue.query(), limit=10, visible=visible)
    assert len(asked) == len(set(asked)) > 0


def test_a_search_in_one_list_of_a_server_asks_about_no_tool_of_its_others() -> None:
    made = index([document("git", "log"), document("git#mine", "log"), document("git#other", "log")])
    asked: list[str] = []

    def visible(server: str, tool: str) -> bool:
        asked.append(server)
        return True

    assert [hit.server for hit in made.search("log", limit=5, server="git#mine", visible=visible)] == [
        "git#mine"
    ]
    assert set(asked) == {"git#mine"}
