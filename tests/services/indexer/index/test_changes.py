"""Servers come, change and go; the index is always as if built at once."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from benchmarks.search.corpus import Catalogue
from services.indexer.index import Document, Index, Match, hybrid
from tests.services.indexer.index.catalogue import ADDER, FAILING, PROCESSOR, document, found, index

SERVERS = 12


def answers(made: Index, queries: list[str]) -> list[list[Match]]:
    return [made.search(query, limit=10) for query in queries]


@pytest.mark.parametrize("empty", [Index, hybrid])
@pytest.mark.parametrize("seed", range(5))
def test_any_history_of_changes_equals_an_index_built_at_once(seed: int, empty: Callable[[], Index]) -> None:
    chance = random.Random(seed)
    catalogue = Catalogue(20, seed)
    made, held = empty(), dict[str, list[Document]]()
    for _ in range(60):
        server = f"server-{chance.randrange(SERVERS)}"
        tools = catalogue.server(server)[: chance.choice([0, 3, 20])]
        made.replace(server, tools)
        held[server] = tools
        if chance.random() < 0.3:
            made.remove(server)
            del held[server]
    queries = [catalogue.query() for _ in range(15)]
    queries += [catalogue.misspelt(query) for query in queries]
    fresh = empty()
    for server in sorted(held):
        fresh.replace(server, held[server])
    assert len(made) == len(fresh) == sum(map(len, held.values()))
    assert answers(made, queries) == answers(fresh, queries)
    assert made.nearest("get_accuont") == fresh.nearest("get_accuont")


def test_an_empty_index_holds_nothing_after_everything_left() -> None:
    made = index()
    for server in ("math_service", "text_service", "calc"):
        made.remove(server)
    assert len(made) == 0
    assert found(made, "adder") == []
    assert made.nearest("adder") == []


def test_replacing_a_server_leaves_the_others_alone() -> None:
    made = index([ADDER, PROCESSOR])
    made.replace("math_service", [FAILING])
    assert found(made, "adder") == []
    assert found(made, "fails") == ["failing_tool"]
    assert found(made, "sentences") == ["text_processor"]


def test_replacing_with_nothing_removes_the_server() -> None:
    made = index([ADDER])
    made.replace("math_service", [])
    assert len(made) == 0


def test_removing_an_unknown_server_changes_nothing() -> None:
    made = index([ADDER])
    made.remove("elsewhere")
    assert found(made, "adder") == ["adder"]


def test_of_two_tools_with_one_name_the_last_counts() -> None:
    made = Index()
    made.replace("s", [document("s", "twice", "Early"), document("s", "twice", "Late")])
    assert len(made) == 1
    assert found(made, "late") == ["twice"]
    assert found(made, "early") == []
