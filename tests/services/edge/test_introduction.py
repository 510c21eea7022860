"""What the aggregate says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from libs.common.codec import raw
from libs.common.policy import Policy, Rule, Rules
from services.edge.gateway import ServerStatus
from services.edge.introduction import NAMED_MAX
from tests.services.edge.conftest import Edge, running
from tests.services.edge.shelves import server

pytestmark = pytest.mark.anyio


async def described(edge: Edge) -> dict[str, Any]:
    modern = (await edge.modern("server/discover")).json()["result"]
    legacy = (await edge.initialize()).json()["result"]
    assert modern["capabilities"] == legacy["capabilities"]
    assert modern["instructions"] == legacy["instructions"]
    return dict(legacy)


async def test_the_capabilities_are_those_of_all_servers_together(edge: Edge) -> None:
    edge.catalog.list(server("demo", capabilities={"tools": {}, "experimental": {}}))
    assert (await described(edge))["capabilities"] == {"tools": {}}
    edge.catalog.list(server("a", capabilities={"prompts": {}, "resources": {}}))
    changing = {"listChanged": True}
    first = {"tools": {}, "prompts": changing, "resources": changing}
    assert (await described(edge))["capabilities"] == first
    edge.catalog.list(
        server("b", capabilities={"resources": {"subscribe": True}, "completions": {}, "logging": {}})
    )
    assert (await described(edge))["capabilities"] == {
        **first,
        "resources": {**changing, "subscribe": True},
        "completions": {},
        "logging": {},
    }


@pytest.mark.parametrize("odd", [b"5", b"{", b'{"prompts": 1, "resources": null}'])
async def test_a_server_whose_capabilities_make_no_sense_has_none(edge: Edge, odd: bytes) -> None:
    plain = server("demo")
    edge.catalog.list(type(plain)("demo", "1", capabilities=type(raw(1))(odd)))
    assert (await described(edge))["capabilities"] == {"tools": {}}


async def test_a_server_that_starts_for_the_first_time_may_turn_out_to_do_anything(edge: Edge) -> None:
    edge.catalog.list(server("demo", capabilities={"tools": {}}))
    edge.catalog.others = [ServerStatus("late", "starting")]
    assert set((await described(edge))["capabilities"]) == {
        "tools",
        "prompts",
        "resources",
        "completions",
        "logging",
    }


async def test_the_instructions_name_the_servers(edge: Edge) -> None:
    assert "The servers are: demo, late." in (await described(edge))["instructions"]
    for number in range(NAMED_MAX):
        edge.catalog.list(server(f"a{number}"))
    assert (await described(edge))["instructions"].endswith(" and 2 more.")


async def test_a_server_that_the_caller_may_not_see_is_not_named() -> None:
    nobody = Policy({"demo": Rules(Rule(frozenset()))})
    async with running(policy=nobody) as edge:
        found = await described(edge)
        assert "The servers are: late." in found["instructions"]
        assert found["capabilities"] == {"tools": {}}
