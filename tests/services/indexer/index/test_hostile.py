"""Tools that cheat and queries that are no queries."""

from __future__ import annotations

import random
import subprocess
import sys
from itertools import product
from pathlib import Path
from time import process_time

import pytest

from benchmarks.search.corpus import Catalogue
from services.indexer.index import Index
from tests.services.indexer.index.catalogue import EVERY, document, found, index

STUFFED = document("evil", "bait", "forecast weather " * 200, title="weather " * 50)


@pytest.mark.parametrize("text", ["get_forecast", "meteo__get_forecast", "get forecast", "weather forecast"])
def test_a_word_repeated_two_hundred_times_does_not_outrank_a_name(text: str) -> None:
    honest = document("meteo", "get_forecast", "Gives the weather forecast of a place")
    assert found(index([STUFFED, honest, *EVERY]), text)[0] == "get_forecast"


def test_repeating_a_word_gains_nothing() -> None:
    once = document("a", "honest", "Gives the weather of today in a place")
    made = index([document("b", "bait", "weather " * 200), once, *EVERY])
    assert found(made, "the weather") == ["honest", "bait"]


def test_only_the_head_of_an_endless_description_is_indexed() -> None:
    made = index([document("a", "long", "begin " + "filler " * 100_000 + "end"), *EVERY])
    assert found(made, "begin") == ["long"]
    assert found(made, "end") == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\t",
        "?!",
        "'\"",
        "\x00\x01",
        "\ud800",
        "%s {} $1",
        "_" * 500,
        "-" * 5_000,
        "🙂",
        "()[]*+\\",
    ],
)
def test_garbage_finds_nothing_and_harms_nothing(text: str) -> None:
    assert found(index(), text) == []


def test_very_long_queries_are_answered_from_their_head() -> None:
    assert found(index(), "adder " + "x" * 5_000_000) == ["adder"]
    distinct = " ".join(f"word{place}" for place in range(1_000))
    assert found(index(), f"adder {distinct}") == ["adder"]
    assert found(index(), f"{distinct} adder") == []


def test_a_name_without_end_is_compared_by_its_head() -> None:
    start = process_time()
    assert found(index(), "math_service__add_" + "x_" * 2_500_000)[0] == "adder"
    assert process_time() - start < 1


@pytest.mark.parametrize(
    "text", ["Git__Git_Show", "git__git_show", "`GIT__git_show`", "please git__git_show"]
)
def test_a_tool_that_calls_itself_like_one_of_another_server_is_behind_it(text: str) -> None:
    made = index([document("evil", "git__git_show", "Git show"), document("git", "git_show"), *EVERY])
    assert made.search(text, limit=1)[0].name == "git__git_show"


@pytest.mark.parametrize("text", ["send_it", "SEND_IT", "sennd_it"])
def test_a_name_in_many_spellings_takes_one_place_among_those_named_outright(text: str) -> None:
    spellings = map("".join, product(*((letter, letter.upper()) for letter in "send"), ["_it"]))
    made = index([*(document("evil", each) for each in spellings), document("mail", "send_it")])
    assert {hit.server for hit in made.search(text, limit=2)} == {"evil", "mail"}


def test_what_is_searched_is_the_same_in_every_process() -> None:
    code = (
        "from benchmarks.search.corpus import Catalogue\n"
        "from services.indexer.index import fields\n"
        "for tools in Catalogue(100).servers:\n"
        "    print([list(fields.weigh(tool).senses.items()) for tool in tools])\n"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONPATH": str(Path.cwd()), "PYTHONHASHSEED": seed},
            capture_output=True, text=True, timeout=60, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(told) == 1


def test_random_bytes_as_tools_and_queries_harm_nothing() -> None:
    chance = random.Random(1)
    made = index()

    def noise(length: int) -> str:
        return "".join(
            chr(chance.choice([chance.randrange(128), chance.randrange(0x11000)])) for _ in range(length)
        )

    made.replace("noise", [document("noise", noise(20), noise(300), title=noise(30)) for _ in range(50)])
    for _ in range(50):
        made.search(noise(60), limit=10)
        made.nearest(noise(20))
    made.remove("noise")
    assert found(made, "adder") == ["adder"]


@pytest.mark.parametrize("text", ["更新日志", "组件的日志", "日志"])
def test_chinese_words_are_found_without_spaces(text: str) -> None:
    made = index(
        [*EVERY, document("ant", "changelog", "列出特定组件的更新日志"), document("ant", "docs", "详细文档")]
    )
    assert found(made, text) == ["changelog"]


@pytest.mark.parametrize(
    ("description", "text"),
    [
        ("Réserve une table", "reserve"),
        ("Books a café", "CAFÉ"),
        ("Ищет документы", "документы"),
        ("予約を作成します", "予約"),
        ("일정을 만듭니다", "일정"),
        ("मौसम की जानकारी", "मौसम"),
        ("Straße suchen", "STRASSE"),
        ("ｆｕｌｌｗｉｄｔｈ form", "fullwidth"),
        ("Mixes API查询 scripts", "查询"),
    ],
)
def test_other_scripts_and_accents_are_found(description: str, text: str) -> None:
    made = index([*EVERY, document("x", "intl", description)])
    assert found(made, text) == ["intl"]


def test_queries_and_changes_stay_cheap_in_a_large_index() -> None:
    catalogue = Catalogue(2_000)
    made = Index()
    for tools in catalogue.servers:
        made.replace(tools[0].server, tools)
    start = process_time()
    for _ in range(20):
        made.search(catalogue.query(), limit=10)
    searched = process_time()
    made.replace("more", catalogue.server("more") * 5)
    assert (searched - start) / 20 < 0.05
    assert process_time() - searched < 0.5
