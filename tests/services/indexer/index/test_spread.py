"""The first page belongs to no server alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import groupby, product

import pytest

from benchmarks.search.corpus import Catalogue
from services.indexer.index import Index, hybrid
from services.indexer.index.spread import COMPARABLE, DEPTH, spread
from tests.services.indexer.index.catalogue import document, index

FLOOD = [
    document("flood", f"forecast_weather_{place}", "Forecast weather, weather forecast")
    for place in range(60)
]
HONEST = [
    document(server, "forecast", "Gives the weather forecast of a place")
    for server in ("alpha", "beta", "gamma", "delta")
]


def test_a_server_with_sixty_alike_tools_has_three_of_the_first_ten_places() -> None:
    made = index([*FLOOD, *HONEST])
    servers = [match.server for match in made.search("weather forecast", limit=10)]
    assert {"alpha", "beta", "gamma", "delta"} < set(servers)
    assert servers[:7].count("flood") <= 3


def test_alike_tools_have_no_more_places_where_meaning_counts() -> None:
    made = hybrid()
    made.replace("flood", FLOOD)
    for tool in HONEST:
        made.replace(tool.server, [tool])
    for text in ("weather forecast", "will it rain tomorrow", "get the forecast of the weather in a place"):
        servers = [match.server for match in made.search(text, limit=10)]
        assert {"alpha", "beta", "gamma", "delta"} < set(servers)


def test_who_asks_for_a_server_is_given_its_tools_alone() -> None:
    made = index([*FLOOD, *HONEST])
    matches = made.search("weather forecast", limit=10, server="flood")
    assert [match.server for match in matches] == ["flood"] * 10
    assert {match.server for match in made.search("weather forecast", limit=10, server="beta")} == {"beta"}
    assert made.search("weather forecast", limit=10, server="nobody") == []


@pytest.mark.parametrize("empty", [Index, hybrid])
def test_a_search_of_one_server_is_that_of_a_caller_who_sees_no_other(empty: Callable[[], Index]) -> None:
    catalogue = Catalogue(400)
    made = empty()
    for documents in catalogue.servers:
        made.replace(documents[0].server, documents)
    names = [documents[0].server for documents in catalogue.servers[:5]]
    hits = 0
    for query, name in product([catalogue.query() for _ in range(20)], names):
        found = made.search(query, limit=10, server=name)
        assert found == made.search(query, limit=10, visible=partial(_is_of, name))
        hits += len(found)
    assert hits > 100


def _is_of(name: str, key: str, tool: str) -> bool:
    return key == name


def test_who_names_a_server_in_words_may_be_given_more_than_three_of_it() -> None:
    made = index([*FLOOD, *HONEST])
    servers = [match.server for match in made.search("weather forecast by flood", limit=10)]
    assert servers[:7] == ["flood"] * 7


def test_lists_of_one_server_for_single_callers_count_as_one_server() -> None:
    lists = [document(f"flood#{digest}", f"weather_forecast_{digest}", "Forecasts") for digest in "abcdef"]
    made = index([*lists, *HONEST])
    servers = [match.server.partition("#")[0] for match in made.search("weather forecast", limit=7)]
    assert servers.count("flood") == 3
    assert len(made.search("weather forecast", limit=10, server="flood")) == 6


def test_a_tool_that_is_far_worse_displaces_nothing() -> None:
    ranked = [(1.0, "a1"), (1.0, "a2"), (1.0, "a3"), (1.0, "a4"), (COMPARABLE, "b1"), (0.1, "c1")]
    found = spread(ranked, [name[0] for _, name in ranked])
    assert [name for _, name in found] == ["a1", "a2", "a3", "b1", "a4", "c1"]


def test_without_other_servers_the_order_stays() -> None:
    ranked = [(1 - place / 200, place) for place in range(120)]
    assert spread(ranked, ["one"] * 120) == ranked
    assert spread(ranked, [None] * 120) == ranked
    assert spread([], []) == []


def test_nobody_is_lost_and_each_server_keeps_its_own_order() -> None:
    ranked = [(1 - place / 500, place) for place in range(200)]
    groups = ["many" if place % 7 else f"few{place}" for place in range(200)]
    found = spread(ranked, groups[:DEPTH])
    assert sorted(found) == sorted(ranked)
    assert [groups[place] for _, place in found[:10]].count("many") == 3
    for _, places in groupby(
        sorted(found[:10], key=lambda item: groups[item[1]]), lambda item: groups[item[1]]
    ):
        listed = [place for _, place in places]
        assert listed == sorted(listed)
