"""Tools that are meant, not named."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.search.corpus import Catalogue
from services.indexer.index import Index, hybrid
from services.indexer.index.meaning import Meanings
from services.indexer.index.words import TABLE, Words, load
from tests.services.indexer.index.catalogue import EVERY, document, found

TABLE_MAX = 4_000_000

TOOLS = [
    document("meteo", "get_forecast", "Gives the weather of the next days in a place"),
    document("films", "find_movie", "Finds a movie by its title or its actors"),
    document("mail", "send_email", "Sends an email to somebody"),
    document("git", "create_branch", "Creates a branch in a repository"),
    document("trips", "book_flight", "Books a flight between two airports"),
    document("bank", "convert_currency", "Converts an amount from one currency to another"),
]


def filled() -> Index:
    made = hybrid()
    for each in [*TOOLS, *EVERY]:
        made.replace(each.name, [each])
    return made


@pytest.mark.parametrize(
    ("text", "tool"),
    [
        ("will it rain tomorrow", "get_forecast"),
        ("cinema", "find_movie"),
        ("mailbox", "send_email"),
        ("airline tickets", "book_flight"),
        ("how many dollars are ten euros", "convert_currency"),
    ],
)
def test_a_question_that_shares_no_word_with_a_tool_finds_it(text: str, tool: str) -> None:
    assert found(filled(), text)[0] == tool


@pytest.mark.parametrize("text", ["", "?!", "qqqq xxxx", "的", "\x00"])
def test_what_means_nothing_finds_nothing(text: str) -> None:
    assert found(filled(), text) == []


def test_a_slip_is_mended_before_the_meaning_is_looked_up() -> None:
    made = filled()
    (first, *_) = made.search("forecsat", limit=3)
    assert (first.tool, first.repaired) == ("get_forecast", (("forecsat", "forecast"),))


def test_a_word_of_its_own_is_not_mended_into_another() -> None:
    made = hybrid()
    made.replace("s", [document("s", "move", "Moves a thing")])
    assert made.search("movie", limit=1) == [] or made.search("movie", limit=1)[0].repaired == ()


def test_an_exact_name_leads_whatever_the_others_mean() -> None:
    made = filled()
    made.replace("evil", [document("evil", "bait", "Finds a movie film cinema actor title")])
    assert found(made, "films__find_movie")[0] == "find_movie"
    assert found(made, "find_movie")[0] == "find_movie"


def test_hidden_tools_are_not_found_by_what_they_mean() -> None:
    made = filled()
    hits = made.search("cinema", limit=10, visible=lambda server, tool: tool != "find_movie")
    assert "find_movie" not in [hit.tool for hit in hits]


def test_any_history_of_changes_equals_an_index_built_at_once() -> None:
    chance, catalogue = random.Random(5), Catalogue(20, 5)
    made, held = hybrid(), {}
    for _ in range(40):
        server = f"server-{chance.randrange(8)}"
        held[server] = catalogue.server(server)[: chance.choice([0, 3, 20])]
        made.replace(server, held[server])
    fresh = hybrid()
    for server in sorted(held):
        fresh.replace(server, held[server])
    for query in (catalogue.query() for _ in range(15)):
        one, other = made.search(query, limit=10), fresh.search(query, limit=10)
        assert [hit.name for hit in one] == [hit.name for hit in other]
        assert [hit.score for hit in one] == pytest.approx([hit.score for hit in other], abs=2e-4)


def test_the_first_places_do_not_depend_on_how_many_are_asked_for() -> None:
    catalogue = Catalogue(1_000)
    made = hybrid()
    for tools in catalogue.servers:
        made.replace(tools[0].server, tools)
    for _ in range(10):
        query = catalogue.query()
        assert made.search(query, limit=1_000)[:10] == made.search(query, limit=10)


def test_words_lead_to_vectors_and_unknown_ones_to_those_of_their_stem() -> None:
    words = Words(["cat", "dogs"], np.array([[127, 0], [0, 127]], np.int8), np.ones(2, np.float16))
    assert words.embed({"cat": 3.0}) == pytest.approx([1, 0])
    assert words.embed({"dog": 1.0}) == pytest.approx([0, 1])
    assert words.embed({"cat": 1.0, "dog": 1.0, "fish": 9.0}) == pytest.approx([0.5**0.5] * 2)
    assert words.embed({"fish": 1.0}) is None
    assert words.embed({}) is None


def test_a_document_that_left_means_nothing_any_more() -> None:
    meanings = Meanings(Words(["cat"], np.array([[127]], np.int8), np.ones(1, np.float16)))
    meanings.enter(300, {"cat": 1.0})
    assert meanings.near(["cat"], 301)[300] == pytest.approx(1)
    meanings.leave(300)
    assert not meanings.near(["cat"], 301).any()


def test_the_table_is_small_and_its_licence_is_beside_it() -> None:
    assert TABLE.stat().st_size < TABLE_MAX
    assert "Apache License" in TABLE.with_suffix(".txt").read_text()
    assert "weather" in load()


def test_without_numpy_words_alone_are_searched(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['numpy'] = None\n")
    code = (
        "from services.indexer.index import Document, hybrid\n"
        "made = hybrid()\n"
        "made.replace('s', [Document('s__adder', 's', 'adder')])\n"
        "print([hit.name for hit in made.search('s adder', limit=3)])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("['s__adder']", "")
