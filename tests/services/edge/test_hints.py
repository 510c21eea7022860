"""How long a merged list may be kept."""

from __future__ import annotations

from typing import Any

import pytest

from libs.common.messages.catalog import Hint
from libs.common.policy import Policy, Rule, Rules
from services.edge.gateway import ServerStatus
from services.edge.hints import OWN_TTL
from tests.services.edge.conftest import Edge, running
from tests.services.edge.shelves import server, tool

pytestmark = pytest.mark.anyio

PUBLIC = {"tools": Hint(9000, "public"), "prompts": Hint(5000, "public")}
NOTHING: dict[str, Any] = {"tools": {}}


async def hinted(edge: Edge, method: str) -> tuple[int, str]:
    result = (await edge.modern(method)).json()["result"]
    return result["ttlMs"], result["cacheScope"]


@pytest.fixture(autouse=True)
def shelves(edge: Edge) -> None:
    stock(edge)


def stock(edge: Edge) -> None:
    """Every server has listed; two have prompts, one of them for a shorter time."""
    edge.catalog.list(server("demo", capabilities=NOTHING))
    edge.catalog.list(server("late", capabilities=NOTHING))
    edge.catalog.list(server("a", prompts=("p",), hints=PUBLIC))
    edge.catalog.list(server("b", prompts=("p",), hints={"prompts": Hint(700, "public")}))


async def test_the_shortest_time_and_the_narrowest_scope_count(edge: Edge) -> None:
    assert await hinted(edge, "prompts/list") == (700, "public")
    edge.catalog.list(server("b", prompts=("p",), hints={"prompts": Hint(8000)}))
    assert await hinted(edge, "prompts/list") == (5000, "private")


async def test_a_server_that_says_nothing_allows_nothing(edge: Edge) -> None:
    edge.catalog.list(server("old", prompts=("p",)))
    assert await hinted(edge, "prompts/list") == (0, "private")
    assert await hinted(edge, "resources/list") == (0, "private")
    assert await hinted(edge, "resources/templates/list") == (0, "private")


async def test_a_server_that_has_not_listed_yet_allows_nothing(edge: Edge) -> None:
    del edge.catalog.listings["late"]
    edge.catalog.others = [ServerStatus("late", "failed")]
    assert await hinted(edge, "prompts/list") == (0, "private")


async def test_the_two_tools_alone_may_be_kept_by_anybody(edge: Edge) -> None:
    assert await hinted(edge, "tools/list") == (OWN_TTL, "public")


async def test_of_pinned_tools_only_their_servers_count() -> None:
    async with running(pinned=("a__t",)) as edge:
        stock(edge)
        edge.catalog.list(server("a", tools=(tool("t"),), hints=PUBLIC))
        assert await hinted(edge, "tools/list") == (9000, "public")
    async with running(expose="all") as edge:
        stock(edge)
        assert await hinted(edge, "tools/list") == (0, "private")


async def test_what_depends_on_the_caller_is_private() -> None:
    async with running(policy=Policy({"b": Rules(Rule(frozenset()))})) as edge:
        stock(edge)
        assert await hinted(edge, "prompts/list") == (5000, "private")
        assert await hinted(edge, "tools/list") == (OWN_TTL, "private")
