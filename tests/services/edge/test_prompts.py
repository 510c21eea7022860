"""Prompts of all servers through the aggregate."""

from __future__ import annotations

import pytest

from libs.common.codec import decode
from libs.common.messages.calls import CallServer
from tests.services.edge.conftest import Edge
from tests.services.edge.shelves import server

pytestmark = pytest.mark.anyio


async def test_prompts_of_all_servers_are_listed_under_their_servers_names(edge: Edge) -> None:
    edge.catalog.list(server("zoo", prompts=("feed",)))
    edge.catalog.list(server("ark", prompts=("two", "animals", "two by two")))
    result = (await edge.modern("prompts/list")).json()["result"]
    names = [each["name"] for each in result["prompts"]]
    assert names[0] == "ark__animals"
    assert names[1:2] + names[3:] == ["ark__two", "zoo__feed"]
    assert names[2].startswith("ark__two_by_two_")
    assert result["prompts"][-1] == {"name": "zoo__feed", "title": "Feed", "x-kept": 1.5}


async def test_a_prompt_is_asked_of_its_server_under_its_own_name(edge: Edge) -> None:
    edge.catalog.list(server("ark", prompts=("two by two",)))
    (listed,) = (await edge.modern("prompts/list")).json()["result"]["prompts"]
    await edge.modern("prompts/get", name=listed["name"], arguments={"who": "cats"})
    (sent,) = edge.gateway.seen
    assert isinstance(sent, CallServer)
    assert (sent.server, sent.method) == ("ark", "prompts/get")
    assert decode(sent.params) == {"name": "two by two", "arguments": {"who": "cats"}}


@pytest.mark.parametrize("name", ["two", "ark__three", "nobody__two", "", "__", "demo__two"])
async def test_a_prompt_that_nobody_lists_is_unknown(edge: Edge, name: str) -> None:
    edge.catalog.list(server("ark", prompts=("two",)))
    answer = await edge.modern("prompts/get", name=name)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)
    assert edge.gateway.seen == []


async def test_a_prompt_of_a_server_that_has_not_listed_yet_is_asked_of_it(edge: Edge) -> None:
    await edge.modern("prompts/get", name="late__any")
    (sent,) = edge.gateway.seen
    assert isinstance(sent, CallServer)
    assert (sent.server, decode(sent.params)) == ("late", {"name": "any"})


async def test_a_prompt_needs_a_name(edge: Edge) -> None:
    headers = await edge.session()
    assert (await edge.legacy(headers, "prompts/get", name=5)).json()["error"]["code"] == -32602
