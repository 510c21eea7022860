from __future__ import annotations

from typing import Any

import pytest

from libs.common.codec import decode, encode
from libs.common.messages.calls import SearchTools
from services.edge import found
from tests.services.edge.conftest import Edge, running

pytestmark = pytest.mark.anyio


async def called(edge: Edge, name: str, arguments: Any) -> Any:
    answer = await edge.modern("tools/call", name=name, arguments=arguments)
    assert answer.status_code == 200
    return answer.json()["result"]


async def search(edge: Edge, **arguments: Any) -> Any:
    return await called(edge, "search", arguments)


def refused(result: Any) -> None:
    """What a model can read and mend, of a tool that was not run."""
    assert (result["isError"], result["_meta"]["nexus/executed"]) == (True, "no")
    assert "do not fit the schema" in result["content"][0]["text"]


async def test_the_aggregate_lists_search_then_execute(edge: Edge) -> None:
    result = (await edge.modern("tools/list")).json()["result"]
    found, run = result["tools"]
    assert "nextCursor" not in result
    assert (found["name"], run["name"]) == ("search", "execute")
    assert found["annotations"] == {"readOnlyHint": True}
    assert run["annotations"] == {"destructiveHint": True, "openWorldHint": True}
    taken = {"query", "keywords", "limit", "server", "read_only", "detail"}
    assert set(found["inputSchema"]["properties"]) == taken
    assert run["inputSchema"]["required"] == ["name", "arguments"]
    assert found["outputSchema"]["required"] == ["results"]
    assert "outputSchema" not in run


async def test_the_schemas_use_no_keyword_that_tool_calling_apis_refuse(edge: Edge) -> None:
    text = (await edge.modern("tools/list")).text
    assert not [word for word in ('"$schema"', '"format"', '"anyOf"', '"$ref"') if word in text]


async def test_search_returns_one_text_per_hit_and_the_same_structured(edge: Edge) -> None:
    result = await search(edge, query="echo", keywords=["slow"], limit=7)
    echo, slow = result["structuredContent"]["results"]
    assert [decode(item["text"]) for item in result["content"]] == [echo, slow]
    assert echo["name"] == "demo__echo"
    assert echo["annotations"] == {"readOnlyHint": True}
    assert set(slow) == {"name", "description", "input_schema", "score"}
    (asked,) = edge.gateway.seen
    assert isinstance(asked, SearchTools)
    assert (asked.query, asked.keywords, asked.limit) == ("echo", ("slow",), 7)
    assert (asked.server, asked.read_only, asked.detail) == ("", False, "")


async def test_filters_and_detail_reach_the_indexer(edge: Edge) -> None:
    await search(edge, query="echo", server="demo", read_only=True, detail="full")
    (asked,) = edge.gateway.seen
    assert isinstance(asked, SearchTools)
    assert (asked.server, asked.read_only, asked.detail) == ("demo", True, "full")


async def test_the_promised_schema_wants_no_more_than_the_shortest_hit_has(edge: Edge) -> None:
    listed = (await edge.modern("tools/list")).json()["result"]["tools"][0]
    item = listed["outputSchema"]["properties"]["results"]["items"]
    assert set(item["required"]) == set(found.Named.__struct_fields__)


async def test_a_search_without_hits_offers_the_nearest_names(edge: Edge) -> None:
    result = await search(edge, keywords=["nothing"])
    (item,) = result["content"]
    assert "demo__echo, demo__slow" in item["text"]
    near = ["demo__echo", "demo__slow"]
    assert result["structuredContent"] == {"results": [], "did_you_mean": {"tools": near}}


async def test_structured_content_and_its_schema_can_be_switched_off() -> None:
    async with running(structured_content=False) as edge:
        assert "structuredContent" not in await search(edge, query="echo")
        tools = (await edge.modern("tools/list")).json()["result"]["tools"]
        assert not [tool["name"] for tool in tools if "outputSchema" in tool]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"query": "", "keywords": []},
        {"query": 1},
        {"keywords": "git"},
        {"keywords": [1]},
        {"keywords": ["x"] * 33},
        {"query": "x" * 1025},
        {"query": "x", "limit": 0},
        {"query": "x", "limit": 51},
        {"query": "x", "limit": "10"},
        {"query": "x", "limit": True},
        {"query": "x", "server": 7},
        {"query": "x", "server": "x" * 65},
        {"query": "x", "read_only": "yes"},
        {"query": "x", "detail": "all"},
        {"query": "x", "details": "full"},
        [],
    ],
)
async def test_a_search_with_odd_arguments_says_so_to_the_model(edge: Edge, arguments: Any) -> None:
    refused(await called(edge, "search", arguments))
    assert edge.gateway.seen == []


async def test_an_argument_that_does_not_fit_is_named_with_what_is_expected(edge: Edge) -> None:
    result = await search(edge, query="x", limit=51)
    said = 'nothing was run. "limit" must be a whole number from 1 to 50; it was 51.'
    assert result["content"][0]["text"].endswith(said)


@pytest.mark.parametrize(
    "arguments", [{}, {"name": 1}, {"arguments": {}}, {"name": "demo__echo", "arguments": "{}"}, None]
)
async def test_an_execute_with_odd_arguments_says_so_to_the_model(edge: Edge, arguments: Any) -> None:
    refused(await called(edge, "execute", arguments))
    assert edge.gateway.seen == []


async def test_execute_without_arguments_passes_an_empty_object(edge: Edge) -> None:
    answer = await edge.modern("tools/call", name="execute", arguments={"name": "demo__echo"})
    assert answer.json()["result"]["content"][0]["text"] == "demo__echo {}"


@pytest.mark.parametrize("name", ["demo__echo", "Search", "nothing"])
async def test_a_tool_called_by_its_bare_name_is_unknown_and_told_the_way(edge: Edge, name: str) -> None:
    answer = await edge.modern("tools/call", name=name, arguments={})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, -32602)
    assert "`execute`" in error["message"]
    assert edge.gateway.seen == []


async def test_a_call_without_a_name_is_refused(edge: Edge) -> None:
    headers = await edge.session()
    answer = await edge.legacy(headers, "tools/call", arguments={})
    assert answer.json()["error"]["code"] == -32602


async def test_trailing_slash_and_other_spellings_of_the_path_are_404(edge: Edge) -> None:
    for path in ("/mcp/", "//mcp", "/MCP", "/mcp/demo/", "/mcp/a/b", "/", "/docs", "/openapi.json"):
        answer = await edge.http.post(path, content=encode({}))
        assert answer.status_code == 404, path
